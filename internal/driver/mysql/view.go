package mysql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/fleet"
)

// view is what one node said of itself at one time. If err is set, nothing of it is known.
type view struct {
	place
	err      error
	at       time.Time
	version  version
	text     string // VERSION()
	fl       flavour
	uuid     string
	serverID string
	readOnly bool
	channels []channel // replication sources that are configured
	position string    // what it has executed, in the flavour's notation
	history  history   // MariaDB only
	vars     map[string]string
	standing *standing // nil: none, or of another server
	term     int64     // 0: never fenced
}

// channel is one configured replication source.
type channel struct {
	name                string // "" is the default one, the only one that we make
	source              string // host:port
	io, sql             bool   // the threads run
	ioState             string
	ioError, sqlError   string
	lag                 time.Duration // as the server says; -1: it does not know
	gtid                bool          // follows by GTID
	received            string        // GTID position that the receiving thread has reached
	delay               string        // deliberate delay in seconds; "0": none
	filters             []string      // replication filters in force
	tries               int           // at most, to reach the source again; 0: without end
	retry               time.Duration // between two of them
	connecting, stopped bool          // the receiving thread is neither running nor stopped; neither thread runs
}

// healthy reports whether both threads run.
func (c channel) healthy() bool { return c.io && c.sql }

// trouble says what is wrong with the channel.
func (c channel) trouble() string {
	switch {
	case c.sqlError != "":
		return "applying stopped: " + c.sqlError
	case c.ioError != "":
		return "receiving stopped: " + c.ioError
	case !c.sql && !c.io:
		return "both replication threads are stopped"
	case !c.sql:
		return "the applying thread is stopped"
	case !c.io:
		return "the receiving thread does not run: " + c.ioState
	}
	return ""
}

func (v *view) writable() bool { return v.err == nil && !v.readOnly }

// channel returns the default replication channel.
func (v *view) channel() (channel, bool) {
	for _, c := range v.channels {
		if c.name == "" {
			return c, true
		}
	}
	return channel{}, false
}

// follows reports whether the node's default channel points at the address.
func (v *view) follows(address string) bool {
	c, ok := v.channel()
	return ok && sameAddress(c.source, address)
}

// scene is one look at every node of a cluster.
type scene struct {
	cluster fleet.Cluster
	views   []*view
}

// look asks every node at once. A node that can't be read is in the scene with its error.
func (d *Driver) look(ctx context.Context, c fleet.Cluster) *scene {
	ps := places(c)
	sc := &scene{cluster: c, views: make([]*view, len(ps))}
	var g errgroup.Group
	for i, p := range ps {
		g.Go(func() error {
			sc.views[i] = d.lookAt(ctx, p)
			return nil
		})
	}
	_ = g.Wait() // each view holds its own error
	return sc
}

// lookAt asks one node, on a connection of its own.
func (d *Driver) lookAt(ctx context.Context, p place) *view {
	s, err := d.lookTo(ctx, p)
	if err != nil {
		return &view{place: p, err: err, at: d.cfg.Now()}
	}
	defer s.close()
	return s.look(ctx)
}

// look reads the node's state over an open session.
func (s *session) look(ctx context.Context) *view {
	v := &view{place: s.place, at: s.d.cfg.Now(), version: s.version, fl: s.fl}
	v.err = func() error {
		var err error
		if v.readOnly, err = s.readOnly(ctx); err != nil {
			return err
		}
		if err := s.one(ctx, "SELECT VERSION()", &v.text); err != nil {
			return err
		}
		// The channels before the position: what a source had when we asked it later can only be more.
		if v.channels, err = s.fl.channels(ctx, s); err != nil {
			return err
		}
		if err := s.fl.identify(ctx, s, v); err != nil {
			return err
		}
		v.standing, v.term, err = s.readOwn(ctx, v.uuid)
		return err
	}()
	return v
}

// writable lists the nodes that were seen not read-only.
func (sc *scene) writable() []*view {
	var out []*view
	for _, v := range sc.views {
		if v.writable() {
			out = append(out, v)
		}
	}
	return out
}

// unknown lists the nodes that could not be read, as an error; nil if there are none.
func (sc *scene) unknown() error {
	var errs []error
	for _, v := range sc.views {
		if v.err != nil {
			errs = append(errs, v.err)
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrUnknown, errors.Join(errs...))
}

// primary returns the one writable node. Any unknown node, two primaries or none is an error.
func (sc *scene) primary() (*view, error) {
	if err := sc.unknown(); err != nil {
		return nil, err
	}
	w := sc.writable()
	if len(w) != 1 {
		return nil, contested(sc, w)
	}
	return w[0], nil
}

// contested says who claims to be the primary.
func contested(sc *scene, writable []*view) error {
	if len(writable) == 0 {
		return fmt.Errorf("%w: no node of %s is writable. Nothing was changed. Find out which one was the primary last, and set read_only=0 on it by hand", ErrContested, sc.cluster.Ref())
	}
	names := make([]string, len(writable))
	for i, v := range writable {
		names[i] = fmt.Sprintf("%s (%s, at %s)", v.place, v.node.Address, v.position)
	}
	return fmt.Errorf("%w: %d nodes of %s are writable: %v. Nothing was changed. Set read_only=1 on the wrong one by hand", ErrContested, len(writable), sc.cluster.Ref(), names)
}
