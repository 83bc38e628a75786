package datacheck

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// tries is how often definitions may change under our hands before we give up for now.
const tries = 5

// open brings all servers to one position and opens a snapshot on each.
func (r *run) open(ctx context.Context) (err error) {
	r.closeSnapshots()
	settle, cancel := context.WithTimeout(ctx, r.cfg.Settle)
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() == nil && settle.Err() != nil {
			err = fmt.Errorf("the servers did not come to one position within %v: %w", r.cfg.Settle, err)
		}
	}()
	for _, s := range r.sides() {
		var err error
		if s.data, err = s.ctl.Again(settle); err != nil {
			return err
		}
	}
	f := flavourOf(r.ref.ctl)
	var changed string
	for range tries {
		ok, what, err := r.openOnce(settle, f)
		if err != nil {
			return err
		}
		if ok {
			return r.started(ctx)
		}
		changed = what
		r.log.Info("a definition changed while snapshots were opened; again", "change", changed)
		if err := r.started(ctx); err != nil { // the appliers run between two tries
			return err
		}
	}
	return fmt.Errorf("definitions on %s changed while snapshots were opened, %d times in a row, lastly: %s", r.ref.name, tries, changed)
}

// openOnce opens the snapshots. It answers false, and what has changed, if definitions were not the same before and after
// the reference's snapshot: they know no snapshot, so that is how they are known to be as of the position.
func (r *run) openOnce(ctx context.Context, f flavour) (bool, string, error) {
	before, err := catalog.Read(ctx, r.ref.ctl)
	if err != nil {
		return false, "", err
	}
	// The intent comes first: a run that is killed from here on leaves word of what to start again (trap 35).
	r.status.Stopped = nil
	if f.stopsReference() {
		r.status.Stopped = append(r.status.Stopped, r.ref.name)
	}
	for _, s := range r.subs {
		r.status.Stopped = append(r.status.Stopped, s.name)
	}
	if err := r.tell(ctx, true, "bringing all servers to one position"); err != nil {
		return false, "", err
	}
	if err := r.each(ctx, r.subs, func(ctx context.Context, s *side) error { return s.ctl.Stop(ctx) }); err != nil {
		return false, "", err
	}
	for _, s := range r.subs { // a server that is ahead of the reference can't be stopped where that one is
		pos, err := s.ctl.Position(ctx)
		if err != nil {
			return false, "", err
		}
		if err := r.ref.ctl.Await(ctx, pos); err != nil {
			return false, "", err
		}
	}
	if r.seqBefore, err = readSequences(ctx, r.ref.ctl, before); err != nil {
		return false, "", err
	}
	if r.position, err = f.freeze(ctx, r.ref); err != nil {
		return false, "", err
	}
	r.opened = r.cfg.Now()
	if r.seqAfter, err = readSequences(ctx, r.ref.ctl, before); err != nil {
		return false, "", err
	}
	after, err := catalog.Read(ctx, r.ref.ctl)
	if err != nil {
		return false, "", err
	}
	if diff := catalog.Diff(before, after, nil); len(diff) > 0 {
		return false, diff[0].String(), nil
	}
	r.ref.take(before)
	err = r.each(ctx, r.subs, func(ctx context.Context, s *side) error {
		if err := s.ctl.RunTo(ctx, r.position); err != nil {
			return err
		}
		k, err := catalog.Read(ctx, s.ctl)
		if err != nil {
			return err
		}
		s.take(k)
		if s.sequences, err = readSequences(ctx, s.ctl, k); err != nil {
			return err
		}
		if err := node.Freeze(ctx, s.data, s.name); err != nil {
			return err
		}
		return s.ctl.Stands(ctx, r.position)
	})
	if err != nil {
		return false, "", err
	}
	for _, s := range r.sides() {
		if err := s.data.Mark(ctx); err != nil {
			return false, "", err
		}
	}
	r.differs = nil
	for _, s := range r.subs {
		r.definitions(s)
	}
	return true, "", nil
}

// take keeps the catalog with its tables by name.
func (s *side) take(k *catalog.Catalog) {
	s.catalog, s.tables = k, make(map[string]*catalog.Table, len(k.Tables))
	for i := range k.Tables {
		s.tables[k.Tables[i].String()] = &k.Tables[i]
	}
}

// started lets all appliers go on, sees them run, and takes the intent back.
func (r *run) started(ctx context.Context) error {
	err := r.each(ctx, r.sides(), func(ctx context.Context, s *side) error {
		if !s.replica {
			return nil
		}
		return resume(ctx, s.ctl)
	})
	if err != nil {
		return err
	}
	r.status.Stopped = nil
	return r.tell(ctx, true, "replication goes on")
}

// each runs a call on several servers at once.
func (r *run) each(ctx context.Context, ss []*side, call func(ctx context.Context, s *side) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range ss {
		g.Go(func() error { return call(ctx, s) })
	}
	return g.Wait()
}

func (r *run) closeSnapshots() {
	if r.ref == nil {
		return
	}
	for _, s := range r.sides() {
		s.data.Close()
		s.data = nil
	}
}

// between is done between two chunks: give the tables back, save, and wait as long as a server is delayed.
func (r *run) between(ctx context.Context, message string) error {
	if err := r.each(ctx, r.sides(), func(ctx context.Context, s *side) error { return s.data.Release(ctx) }); err != nil {
		return err
	}
	if err := r.tell(ctx, false, message); err != nil {
		return err
	}
	if err := pause(ctx, r.v.Pause); err != nil {
		return err
	}
	if r.cfg.Now().Sub(r.lagged) >= time.Second {
		if err := r.throttle(ctx); err != nil {
			return err
		}
	}
	if r.aged() {
		return errAgain
	}
	return nil
}

// aged tells whether open snapshots have to end: an old one keeps old rows alive on its server.
func (r *run) aged() bool { return r.ref.data != nil && r.cfg.Now().Sub(r.opened) > r.cfg.Round }

// glance is how long we wait between two looks at a delayed server.
const glance = 200 * time.Millisecond

// throttle waits while any replica is delayed by more than the limit, but not longer than snapshots may live.
func (r *run) throttle(ctx context.Context) error {
	for {
		worst := ""
		for _, s := range r.sides() {
			if !s.replica {
				continue
			}
			a, err := s.ctl.Applier(ctx)
			if err != nil {
				return err
			}
			if !a.SQL || !a.IO && !a.Connecting {
				return fmt.Errorf("%s can't be compared any more: %s", s.name, a)
			}
			if a.Connecting || a.Lag < 0 {
				worst = fmt.Sprintf("paused: the delay of %s is unknown: %s", s.name, a)
			} else if a.Lag > r.v.MaxLag {
				worst = fmt.Sprintf("paused: %s is %v behind, the limit is %v", s.name, a.Lag, r.v.MaxLag)
			}
		}
		r.lagged = r.cfg.Now()
		if worst == "" {
			return nil
		}
		if r.aged() {
			return errAgain
		}
		if err := r.tell(ctx, false, worst); err != nil {
			return err
		}
		if err := pause(ctx, glance); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
