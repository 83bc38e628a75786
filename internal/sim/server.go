package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
)

// server is one simulated database server. Its log is both its data and its binary log: the ids of the writes that it has, in
// order. Log, fence, standing and source survive a crash; read_only does not: every server boots read-only (trap 2).
type server struct {
	w                      *world
	c                      *cluster
	cell, name, addr, uuid string
	version                string

	up, gone bool
	readOnly bool
	seeded   bool
	fence    int64
	standing *standing
	source   string
	running  bool
	broken   string // why replication stopped by itself
	log      []int64
	pulling  bool
	frozen   time.Time // it applies nothing until then
	acts     []*act    // sent by somebody, not yet done
	boots    int
}

// standing is what a switch meant the server to be; see the mysql driver.
type standing struct {
	mysql.Standing
	holdMS float64
	undone bool
}

// act is a change that is under way on a server, with the term of who sent it.
type act struct {
	term   int64
	killed bool
}

func (w *world) addServer(c *cluster, cell, name, version string) *server {
	n := len(c.order)
	sv := &server{
		w: w, c: c, cell: cell, name: name, version: version, up: true, readOnly: true,
		addr: fmt.Sprintf("10.0.%d.%d:3306", c.index, n+1), uuid: fmt.Sprintf("%s#%d", name, n),
	}
	c.servers[sv.addr] = sv
	c.order = append(c.order, sv)
	return sv
}

func (sv *server) writable() bool { return sv.up && !sv.readOnly && !sv.gone }

// crash is kill -9; init brings the server back after a while.
func (sv *server) crash(back time.Duration) {
	if !sv.up || sv.gone {
		return
	}
	sv.w.trace("%s crashes", sv.name)
	wasPrimary := !sv.readOnly
	sv.up = false
	for _, a := range sv.acts {
		a.killed = true
	}
	sv.acts = nil
	sv.w.s.in(back, func() {
		if sv.gone || sv.up {
			return
		}
		sv.up, sv.pulling = true, false
		sv.boots++
		// It boots read-only. Before Windlass has noted anything on it, the site's own procedure opens its primary again.
		sv.readOnly = (sv.standing != nil || !wasPrimary) && !sv.w.bootsWritable
		sv.w.trace("%s is back, read_only=%v", sv.name, sv.readOnly)
		sv.pull(0)
		for _, o := range sv.c.order {
			if o.source == sv.addr {
				o.pull(0)
			}
		}
	})
}

// append adds a write, and lets the replicas know.
func (sv *server) append(ids ...int64) {
	sv.log = append(sv.log, ids...)
	for _, o := range sv.c.order {
		if o.source == sv.addr {
			o.pull(time.Millisecond + time.Duration(sv.w.s.rng.Int64N(int64(30*time.Millisecond))))
		}
	}
}

// pull brings what the source has, after d.
func (sv *server) pull(d time.Duration) {
	if sv.pulling {
		return
	}
	sv.pulling = true
	d = max(d, sv.frozen.Sub(sv.w.s.now))
	sv.w.s.in(d, func() {
		sv.pulling = false
		if sv.w.s.now.Before(sv.frozen) {
			sv.pull(0)
			return
		}
		src := sv.c.servers[sv.source]
		if !sv.replicates() || src == nil || !src.up || src.gone {
			return
		}
		n := len(sv.log)
		if n > len(src.log) || n > 0 && src.log[n-1] != sv.log[n-1] {
			sv.broken = fmt.Sprintf("it has %d writes that are not those of %s", n, src.name)
			return
		}
		if n < len(src.log) {
			sv.append(src.log[n:]...)
		}
	})
}

func (sv *server) replicates() bool {
	return sv.up && !sv.gone && sv.running && sv.source != "" && sv.broken == ""
}

// prefixOf tells whether the server has nothing that the other does not have.
func (sv *server) prefixOf(o *server) bool {
	n := len(sv.log)
	return n <= len(o.log) && (n == 0 || sv.log[n-1] == o.log[n-1])
}

// read asks a server something.
func (w *world) read(ctx context.Context, sv *server, f func()) error {
	return w.call(ctx, func() error {
		if sv == nil || !sv.up || sv.gone {
			return errDown
		}
		f()
		return nil
	})
}

// act changes a server, in one call that compares the term (trap 1). An answer that does not come is settled before this
// returns: the connection is killed, and seen gone (trap 3).
func (w *world) act(ctx context.Context, sv *server, term int64, f func() error) error {
	a := &act{term: term}
	sv.acts = append(sv.acts, a)
	err := w.call(ctx, func() error {
		sv.acts = slices.DeleteFunc(sv.acts, func(b *act) bool { return b == a })
		switch {
		case !sv.up || sv.gone:
			return errDown
		case a.killed:
			return errKilled
		case term < sv.fence && !w.lax:
			return fmt.Errorf("%s has seen term %d, ours is %d: %w", sv.name, sv.fence, term, engine.ErrFenced)
		}
		sv.fence = term
		return f()
	})
	if answered(err) {
		return err
	}
	if serr := w.read(context.WithoutCancel(ctx), sv, func() { a.killed = true }); serr != nil && sv.up {
		return fmt.Errorf("%w: %w", errUnsettled, err)
	}
	return err
}

// raise puts the term up and ends what predecessors have under way.
func (w *world) raise(ctx context.Context, sv *server, term int64) error {
	return w.act(ctx, sv, term, func() error {
		for _, a := range sv.acts {
			if a.term < term {
				a.killed = true
			}
		}
		return nil
	})
}
