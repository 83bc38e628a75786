package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// What closeIn looks for, and for how long: an elect that is this close twice in a row. A replica's lag comes in waves, of the disk
// above all, and clients wait for whatever it is when the hold begins.
const (
	veryClose  = 25 * time.Millisecond
	closeInFor = 3 * time.Second
)

// closeIn waits for a moment at which the elect is very close behind, right before the hold. If there is none the elect is at least
// as close as catchUp saw it.
func (r *run) closeIn(ctx context.Context) error {
	so, se, err := r.both(ctx)
	if err != nil {
		return err
	}
	inARow, last := 0, closeBehind
	for from := time.Now(); inARow < 2 && (last >= closeBehind || time.Since(from) < closeInFor); {
		if time.Since(from) > r.b.maxLag {
			return fmt.Errorf("%w: the elect %s fell back: it is %v behind", ErrNotReady, r.elect.place, last.Round(time.Millisecond))
		}
		position, _, err := so.fl.stand(ctx, so)
		if err != nil {
			return err
		}
		began := time.Now()
		there, err := se.fl.wait(ctx, se, position, r.b.maxLag)
		if err != nil {
			return err
		}
		if !there {
			return fmt.Errorf("%w: the elect %s fell back: it did not reach %s within %v", ErrNotReady, r.elect.place, position, r.b.maxLag)
		}
		if last = time.Since(began); last < veryClose {
			inARow++
		} else {
			inARow = 0
		}
	}
	return nil
}

// hold makes every gateway hold at once. If one can't drain, all are released, and tried again after ten times the
// drain: a transaction that needs a second, held connection would wait for ever (trap 14).
func (r *run) hold(ctx context.Context) error {
	for try := 1; ; try++ {
		if err := r.closeIn(ctx); err != nil {
			return err
		}
		r.holdEnds = time.Now().Add(r.b.ttl)
		r.held = true
		began := time.Now()
		states, err := each(ctx, r.gs, func(ctx context.Context, g gate) (adminapi.SwitchStatus, error) {
			ctx, cancel := context.WithTimeout(ctx, r.b.drain+r.d.cfg.Query)
			defer cancel()
			return g.Hold(ctx, adminapi.HoldRequest{Switch: r.req.ID, Term: r.req.Term, TTLMS: millis(r.b.ttl), DrainMS: millis(r.b.drain), OnOpen: adminapi.OnOpen(r.req.Settings.OnOpenTransaction)})
		})
		r.log.Debug("part of a stride", "step", "hold: drain", "took", time.Since(began), "err", err)
		if err == nil {
			return r.allHeld(states)
		}
		var blocked *adminapi.BlockedError
		if !errors.As(err, &blocked) || try >= r.b.tries {
			return fmt.Errorf("%w: try %d of %d: %w", ErrNotReady, try, r.b.tries, err)
		}
		r.log.Warn("hold called off", "try", try, "err", err)
		if _, err := r.cancelGates(ctx); err != nil {
			return err
		}
		if err := sleep(ctx, 10*r.b.drain); err != nil {
			return err
		}
		if err := r.prepare(ctx); err != nil { // a called off hold has ended the switch at the gateway
			return err
		}
		if err := r.catchUp(ctx); err != nil {
			return err
		}
	}
}

// allHeld checks the answers: held, for this switch, under our term, with nothing in flight (trap 12), for long enough.
func (r *run) allHeld(states []adminapi.SwitchStatus) error {
	for i, st := range states {
		if st.Phase != adminapi.PhaseHeld || st.Switch != r.req.ID || st.Term != r.req.Term || st.InFlight != 0 {
			return fmt.Errorf("%w: gateway %s does not hold: it is %s for switch %q under term %d with %d in flight", ErrNotReady, r.gs[i], st.Phase, st.Switch, st.Term, st.InFlight)
		}
		left := time.Duration(st.TTLLeftMS) * time.Millisecond
		if at := time.Now().Add(left); at.Before(r.holdEnds) {
			r.holdEnds = at
		}
	}
	return nil
}

// recheck looks again at what may have changed since the preflight, and that what is left of the hold contains the worst demotion
// and its undo (trap 10).
func (r *run) recheck(ctx context.Context) error {
	so, se, err := r.both(ctx)
	if err != nil {
		return err
	}
	var g errgroup.Group
	g.Go(func() error {
		prepared, err := so.rows(ctx, "XA RECOVER")
		if err != nil {
			return err
		}
		if len(prepared) > 0 { // trap 20
			return fmt.Errorf("%w: %s has %d prepared XA transactions, whose COMMIT a read-only server refuses", ErrNotReady, r.old.place, len(prepared))
		}
		return so.stillReadOnly(ctx, false)
	})
	g.Go(func() error {
		chs, err := se.fl.channels(ctx, se)
		if err != nil {
			return err
		}
		if len(chs) != 1 || !chs[0].healthy() || !sameAddress(chs[0].source, r.old.node.Address) {
			return fmt.Errorf("%w: the elect %s does not replicate from %s any more", ErrNotReady, r.elect.place, r.old.place)
		}
		return se.stillReadOnly(ctx, true)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if left := time.Until(r.holdEnds); left <= r.b.worst() {
		return fmt.Errorf("%w: only %v of the hold is left, and the demotion with its undo may take %v", ErrNotReady, left.Round(time.Millisecond), r.b.worst())
	}
	return nil
}

// stillReadOnly sees that the role is what it was.
func (s *session) stillReadOnly(ctx context.Context, want bool) error {
	ro, err := s.readOnly(ctx)
	if err == nil && ro != want {
		err = fmt.Errorf("%w: read_only of %s became %v", ErrNotReady, s.place, ro)
	}
	return err
}
