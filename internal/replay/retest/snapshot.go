package retest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/replay/probe"
)

// connect opens the control connections, after starting the applier that an earlier run was about to stop.
func (r *run) connect(ctx context.Context) (err error) {
	if r.new, err = control(ctx, r.New); err != nil {
		return err
	}
	if slices.Contains(r.status.Stopped, r.New.Name) {
		if err := r.new.Resume(ctx); err != nil {
			return fmt.Errorf("start the replication that an earlier run may have stopped: %w", err)
		}
	}
	r.status.Stopped = nil
	if r.old, err = control(ctx, r.Old); err != nil {
		return err
	}
	if r.old.MariaDB != r.new.MariaDB {
		return fmt.Errorf("%s is %s and %s is %s: they have no common position", r.Old.Name, r.old.Version, r.New.Name, r.new.Version)
	}
	if err := r.new.Running(ctx); err != nil {
		return err
	}
	if a, err := r.old.Applier(ctx); err != nil || !a.Exists {
		return err
	}
	return r.old.Running(ctx)
}

// open brings the new side to a position of the old one, and opens a snapshot on each.
func (r *run) open(ctx context.Context) (err error) {
	settle, cancel := context.WithTimeout(ctx, r.Settle)
	defer cancel()
	defer func() {
		if err != nil {
			r.closeSnapshots()
		}
		if err != nil && ctx.Err() == nil && settle.Err() != nil {
			err = fmt.Errorf("%s and %s did not come to one position within %v: %w", r.Old.Name, r.New.Name, r.Settle, err)
		}
	}()
	if r.a, err = r.session(settle, r.Old); err != nil {
		return err
	}
	if r.b, err = r.session(settle, r.New); err != nil {
		return err
	}
	if r.loose, err = loose(settle, r.old, r.new); err != nil {
		return err
	}
	// The intent comes first: a run that is killed from here on leaves word of what to start again (trap 37).
	r.status.Stopped = []string{r.New.Name}
	if err := r.tell(settle, "bringing "+r.New.Name+" to a position of "+r.Old.Name); err != nil {
		return err
	}
	began := r.Now()
	if err := r.new.Stop(settle); err != nil {
		return err
	}
	ahead, err := r.new.Position(settle) // a server that is ahead of the other can't be stopped where that one is
	if err != nil {
		return err
	}
	if err := r.old.Await(settle, ahead); err != nil {
		return err
	}
	point, err := r.old.SnapshotFor(settle, r.a, r.new, r.Quiet)
	if err != nil {
		return err
	}
	r.opened = r.Now()
	position, err := r.new.RunToPoint(settle, point)
	if errors.Is(err, node.ErrElsewhere) && settle.Err() == nil { // the next round tries again
		return fmt.Errorf("%w: %w", errAgain, err)
	}
	if err != nil {
		return err
	}
	if err := node.Freeze(settle, r.b, r.New.Name); err != nil {
		return err
	}
	if err := r.new.Stands(settle, position); err != nil {
		return err
	}
	if err := r.new.Resume(settle); err != nil {
		return err
	}
	r.status.Stopped = nil
	r.status.Rounds = slices.DeleteFunc(r.status.Rounds, func(x Round) bool { return x.Tested == 0 })
	r.status.Rounds = append(r.status.Rounds, Round{Position: position, At: r.opened, Held: r.Now().Sub(began)})
	return r.tell(settle, "testing at "+position)
}

// Unplaced says why suspects could be tested only in a moment in which the old side commits nothing; "" if they can be at any time.
func Unplaced(ctx context.Context, cfg Config) (string, error) {
	replica, err := control(ctx, cfg.New)
	if err != nil {
		return "", err
	}
	defer replica.Close()
	old, err := control(ctx, cfg.Old)
	if err != nil {
		return "", err
	}
	defer old.Close()
	s, err := probe.Open(ctx, cfg.Old.server())
	if err != nil {
		return "", err
	}
	defer s.Close()
	return old.Unplaced(ctx, s, replica)
}

// session opens a connection that holds a snapshot. A statement without end would keep the round open.
func (r *run) session(ctx context.Context, s Side) (*probe.Session, error) {
	p, err := probe.Open(ctx, s.server())
	if err != nil {
		return nil, err
	}
	err = p.Exec(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
	if err == nil {
		err = p.Limit(ctx, r.Statement, 5*time.Second)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// loose lists the tables that no snapshot holds.
func loose(ctx context.Context, conns ...*node.Conn) ([]string, error) {
	var out []string
	for _, c := range conns {
		rs, err := c.Rows(ctx, probe.LooseSQL)
		if err != nil {
			return nil, fmt.Errorf("find the tables of %s that have no snapshot: %w", c.Node.Name, err)
		}
		for _, row := range rs {
			out = append(out, strings.ToLower(row["name"]))
		}
	}
	return out, nil
}

func (r *run) closeSnapshots() {
	r.a.Close()
	r.b.Close()
	r.a, r.b = nil, nil
}

// end leaves the applier running and closes all connections. Our own context may be over: it has one of its own.
func (r *run) end(ctx context.Context) error {
	fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), node.Grace+5*time.Second)
	defer cancel()
	r.closeSnapshots()
	defer r.old.Close()
	defer r.new.Close()
	if len(r.status.Stopped) == 0 {
		return nil
	}
	if err := release(fresh, r.Config, r.status); err != nil {
		return err
	}
	r.status.Stopped = nil
	if err := r.tell(fresh, "replication goes on"); err != nil {
		r.Log.Warn("that replication goes on could not be noted", "err", err) // a status that names it still starts what runs
	}
	return nil
}

// release starts the applier that the status names, on a connection of its own: an old one may be what failed.
func release(ctx context.Context, cfg Config, st Status) error {
	if !slices.Contains(st.Stopped, cfg.New.Name) {
		return nil
	}
	c, err := control(ctx, cfg.New)
	if err != nil {
		return fmt.Errorf("start the replication that we stopped: %w", err)
	}
	defer c.Close()
	return c.Resume(ctx)
}

// Release starts the applier that the status names, and no other: who stopped another had a reason.
func Release(ctx context.Context, cfg Config, status json.RawMessage) error {
	st, err := decode(status)
	if err != nil {
		return err
	}
	return release(ctx, cfg, st)
}

// Released tells whether the applier that the status names runs again, without an end.
func Released(ctx context.Context, cfg Config, status json.RawMessage) (bool, error) {
	st, err := decode(status)
	if err != nil || !slices.Contains(st.Stopped, cfg.New.Name) {
		return err == nil, err
	}
	c, err := control(ctx, cfg.New)
	if err != nil {
		return false, err
	}
	defer c.Close()
	a, err := c.Applier(ctx)
	return err == nil && a.Endless(), errors.Join(err)
}
