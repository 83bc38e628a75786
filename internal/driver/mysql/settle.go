package mysql

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/fleet"
)

// settled looks at the cluster and returns its one primary. If no node is writable because the primary was restarted (every
// server of ours boots read-only, trap 2), and its standing says that it is the primary, it is opened again.
func (d *Driver) settled(ctx context.Context, c fleet.Cluster, term int64) (*scene, *view, error) {
	sc := d.look(ctx, c)
	if err := sc.unknown(); err != nil {
		return sc, nil, err
	}
	if len(sc.writable()) == 0 {
		if d.cfg.NoReopen {
			return sc, nil, fmt.Errorf("%w (no_reopen is set: it is left to your failover tool)", contested(sc, nil))
		}
		if err := d.reopen(ctx, sc, term); err != nil {
			return sc, nil, err
		}
		sc = d.look(ctx, c)
	}
	p, err := sc.primary()
	return sc, p, err
}

// Reopen makes the primary writable again after a restart, if its own standing and every other node's position
// prove which one it is. It does nothing if there is one primary, and answers ErrContested if it can't tell.
func (d *Driver) Reopen(ctx context.Context, c fleet.Cluster, term int64) error {
	_, _, err := d.settled(ctx, c, term)
	return err
}

// reopen is for a cluster of which every node was seen read-only, and no switch of ours is in the middle of it. The notes say which
// node was the primary; what else is seen must not speak against it, for somebody else may have moved the primary since: a failover tool
// writes no notes. Every node is fenced before it is judged, so that nobody of an older term opens another one behind our back.
func (d *Driver) reopen(ctx context.Context, sc *scene, term int64) error {
	v := sc.lastPrimary()
	if v == nil {
		return contested(sc, nil)
	}
	if err := sc.sourceOfAll(v); err != nil {
		return err
	}
	// Before the fence, whose own writes lift super_read_only for a moment.
	if err := d.booted(ctx, v); err != nil {
		return err
	}
	if err := d.Fence(ctx, sc.cluster, term); err != nil {
		return err
	}
	sc = d.look(ctx, sc.cluster)
	if err := sc.unknown(); err != nil {
		return err
	}
	if len(sc.writable()) > 0 {
		return nil // somebody was quicker; whoever asks looks again
	}
	now := sc.lastPrimary()
	if now == nil || now.node.Address != v.node.Address {
		return contested(sc, nil)
	}
	if err := sc.sourceOfAll(now); err != nil {
		return err
	}
	return d.openNoted(ctx, sc, now, term)
}

// sourceOfAll makes sure that the node replicates from nobody, and that every other node that replicates does so from it, if not at first hand.
func (sc *scene) sourceOfAll(v *view) error {
	if len(v.channels) > 0 {
		return fmt.Errorf("%w: %s was the primary by our note, and is a replica of %s now: somebody moved the primary. Nothing was changed. Open the right node by hand", ErrContested, v.place, v.channels[0].source)
	}
	for _, o := range sc.views {
		for at, hops := o, 0; at != v; hops++ {
			c, replicates := at.channel()
			if !replicates && at == o {
				break // a node that follows nobody claims nothing
			}
			next := sc.at(c.source)
			if !replicates || next == nil || hops > len(sc.views) {
				return fmt.Errorf("%w: %s was the primary by our note, and %s replicates from %s: somebody may have moved the primary. Nothing was changed. Open the right node by hand", ErrContested, v.place, o.place, sourceOf(o))
			}
			at = next
		}
	}
	return nil
}

func sourceOf(v *view) string {
	c, _ := v.channel()
	return c.source
}

// booted makes sure that the node is read-only because it was restarted. A person or a tool that set it by hand had a reason: only
// a restart is ours to mend.
func (d *Driver) booted(ctx context.Context, v *view) error {
	s, err := d.dialTo(ctx, v.place)
	if err != nil {
		return err
	}
	defer s.close()
	booted, err := s.fl.bootValue(ctx, s)
	if err != nil {
		return err
	}
	if !booted {
		return fmt.Errorf("%w: %s was the primary, and somebody set read_only=1 on it since. Set read_only=0 on it by hand if that is over", ErrContested, v.place)
	}
	return nil
}

// openNoted opens the node that the notes name, if no other has what it has not.
func (d *Driver) openNoted(ctx context.Context, sc *scene, v *view, term int64) error {
	s, err := d.dialTo(ctx, v.place)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.ahead(ctx, sc, v); err != nil {
		return err
	}
	if err := s.pin(ctx, term, sc, &detail{}); err != nil {
		return err
	}
	return s.open(ctx, term)
}

// lastPrimary is the node whose standing says primary, under the highest term of all standings that speak of one.
func (sc *scene) lastPrimary() *view {
	var best *view
	for _, v := range sc.views {
		if v.standing == nil || v.standing.Role != isPrimary {
			continue
		}
		if best == nil || v.standing.Term > best.standing.Term {
			best = v
		}
	}
	if best == nil {
		return nil
	}
	for _, v := range sc.views { // a later switch was in the middle of something
		if v == best || !v.opened() || v.standing.Term < best.standing.Term {
			continue
		}
		if v.standing.Role == isPromoting && v.standing.Switch == best.standing.Switch {
			continue // the undo of that switch made the other one primary again
		}
		return nil
	}
	return best
}

// ahead makes sure that no other node has executed what the node has not: it lost something in a crash if so.
func (s *session) ahead(ctx context.Context, sc *scene, v *view) error {
	now := s.look(ctx)
	if now.err != nil {
		return now.err
	}
	for _, o := range sc.views {
		if o.place == v.place {
			continue
		}
		ok, err := s.fl.reached(ctx, s, now.position, o.position)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("%w: %s was the primary and is at %s, but %s is at %s: the primary lost transactions, and stays read-only. Choose by hand which one to open", ErrContested, v.place, now.position, o.place, o.position)
		}
	}
	return nil
}

// open makes a node writable, and sees it so. An answer that is lost is settled by reading.
func (s *session) open(ctx context.Context, term int64) error {
	if err := s.act(ctx, term, "make it writable", s.fl.promote()); err != nil {
		return err
	}
	ro, err := s.readOnly(ctx)
	if err != nil {
		return err
	}
	if ro {
		return fmt.Errorf("%s is still read-only after %s", s.place, s.fl.promote())
	}
	for _, stmt := range s.fl.persistPromotion() {
		if err := s.act(ctx, term, "persist that it is writable", stmt); err != nil {
			return err
		}
	}
	return nil
}
