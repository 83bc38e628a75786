package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

// startUp is how long a replica may take to have both threads running.
const startUp = 15 * time.Second

// Replicate makes every node of the cell replicate from the cluster's primary, read-only and with its event scheduler off.
// A node that already does is left alone; one with transactions that the primary does not have is quarantined. A primary
// that no switch has made is noted as one: should it be restarted before the first switch, that tells which one to open.
func (d *Driver) Replicate(ctx context.Context, c fleet.Cluster, cell string, term int64) error {
	sc, primary, err := d.settled(ctx, c, term)
	if err != nil {
		return err
	}
	if primary.standing == nil {
		if err := d.noteFound(ctx, primary, term); err != nil {
			return err
		}
	}
	var g errgroup.Group
	var errs = make([]error, len(sc.views))
	for i, v := range sc.views {
		if v.cell != cell || v == primary {
			continue
		}
		g.Go(func() error {
			errs[i] = d.attach(ctx, v, primary, term)
			return nil
		})
	}
	_ = g.Wait() // every error is in errs
	return errors.Join(errs...)
}

// noteFound writes down that a node is the primary, as it was found.
func (d *Driver) noteFound(ctx context.Context, primary *view, term int64) error {
	s, err := d.dialTo(ctx, primary.place)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.ensure(ctx); err != nil {
		return err
	}
	return s.note(ctx, term, primary.uuid, isPrimary, "", detail{})
}

// attach makes a node replicate from the primary, if it does not.
func (d *Driver) attach(ctx context.Context, v, primary *view, term int64) error {
	s, err := d.dialTo(ctx, v.place)
	if err != nil {
		return err
	}
	defer s.close()
	return s.attach(ctx, primary, term)
}

func (s *session) attach(ctx context.Context, primary *view, term int64) error {
	v := s.look(ctx)
	if v.err != nil {
		return v.err
	}
	if !v.readOnly {
		return fmt.Errorf("%s is writable: it can't be made a replica of %s", s.place, primary.place)
	}
	if ch, ok := v.channel(); ok && ch.healthy() && ch.givesUp() == 0 && v.follows(primary.node.Address) && s.semisyncAsReplica(v, primary) == nil {
		return nil
	}
	if v.position == "" && primary.position != "" {
		return fmt.Errorf("%s has no replication position: seed it before it replicates from %s", s.place, primary.place)
	}
	if err := s.mayFollow(ctx, v, primary, term); err != nil {
		return err
	}
	// Before it is stopped: an applier that waits for an acknowledgement which nobody sends can't be stopped.
	for _, stmt := range s.semisyncAsReplica(v, primary) {
		if err := s.act(ctx, term, "take the replica's part in semi-synchronous replication", stmt); err != nil {
			return err
		}
	}
	if len(v.channels) > 0 {
		if err := s.act(ctx, term, "stop replication", s.fl.stop()); err != nil {
			return err
		}
		// It has applied more since it was looked at. To go on from where it was then would apply that twice.
		if v = s.look(ctx); v.err != nil {
			return v.err
		}
		if err := s.mayFollow(ctx, v, primary, term); err != nil {
			return err
		}
	}
	if v.vars["event_scheduler"] == "ON" { // trap 5
		if err := s.act(ctx, term, "stop the event scheduler", "SET GLOBAL event_scheduler=OFF"); err != nil {
			return err
		}
	}
	if err := s.follow(ctx, v, primary, term); err != nil {
		return err
	}
	if err := s.act(ctx, term, "start replication", s.fl.start()); err != nil {
		return err
	}
	return s.running(ctx, primary)
}

// mayFollow quarantines the node if it has what the primary does not have (trap 17).
func (s *session) mayFollow(ctx context.Context, v, primary *view, term int64) error {
	extra, err := s.d.tail(ctx, primary.place, v)
	if err != nil || len(extra) == 0 {
		return err
	}
	return errors.Join(&QuarantineError{Node: v.place.String(), Primary: primary.place.String(), Extra: extra}, s.quarantine(ctx, v, term))
}

// semisyncAsReplica lists what has to be set for a replica: a replica that waits for acknowledgements itself stalls for the
// whole timeout, since nobody sends it any.
func (s *session) semisyncAsReplica(v, primary *view) []string {
	names := s.fl.semisync()
	var out []string
	if v.vars[names.source] == "ON" {
		out = append(out, "SET GLOBAL "+names.source+"=0")
	}
	if value, has := v.vars[names.replica]; has && value == "OFF" && primary.vars[names.source] == "ON" {
		out = append(out, "SET GLOBAL "+names.replica+"=1")
	}
	return out
}

// follow points a stopped replica at the primary.
func (s *session) follow(ctx context.Context, v, primary *view, term int64) error {
	host, port, err := hostPort(primary.node.Address)
	if err != nil {
		return err
	}
	password, err := s.d.cfg.Replication.Password(ctx)
	if err != nil {
		return fmt.Errorf("the replication account's password: %w", err)
	}
	f := follow{host: host, port: port, user: s.d.cfg.Replication.User, password: string(password), tls: s.d.cfg.ReplicationTLS}
	if s.fl.name() == "mariadb" && v.position != v.vars["gtid_slave_pos"] {
		f.from = v.position // it was a primary: what it wrote itself counts as applied
	}
	if err := s.silence(ctx); err != nil {
		return err
	}
	for _, stmt := range s.fl.follow(f) {
		if err := s.act(ctx, term, "follow "+primary.place.String(), stmt); err != nil {
			return redact(err, string(password))
		}
	}
	return nil
}

// silence keeps the session's statements out of the general log, where a password would be readable.
func (s *session) silence(ctx context.Context) error {
	var on int
	if err := s.one(ctx, "SELECT @@global.general_log", &on); err != nil || on == 0 {
		return err
	}
	return s.exec(ctx, "SET SESSION sql_log_off=1")
}

// redacted is an error whose text had a secret in it.
type redacted struct {
	error
	text string
}

func (r redacted) Error() string { return r.text }
func (r redacted) Unwrap() error { return r.error }

func redact(err error, secret string) error {
	if secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return redacted{err, strings.ReplaceAll(err.Error(), secret, hidden)}
}

// running waits until both threads run and follow the primary.
func (s *session) running(ctx context.Context, primary *view) error {
	ctx, cancel := context.WithTimeout(ctx, startUp)
	defer cancel()
	var failing time.Time // since when the source can't be connected to
	for {
		chs, err := s.fl.channels(ctx, s)
		if err != nil {
			return err
		}
		trouble := "no replication source"
		for _, c := range chs {
			if c.name != "" {
				continue
			}
			if c.healthy() && sameAddress(c.source, primary.node.Address) {
				return nil
			}
			trouble = c.trouble()
			switch {
			case c.ioError == "":
				failing = time.Time{}
			case failing.IsZero():
				failing = time.Now()
			}
			if !failing.IsZero() && time.Since(failing) > patience*time.Second || !c.sql && c.sqlError != "" || !c.io && !c.connecting && c.ioError != "" {
				return fmt.Errorf("%s does not replicate from %s: %s", s.place, primary.place, trouble)
			}
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s does not replicate from %s: %s: %w", s.place, primary.place, trouble, err)
		}
	}
}

// tail lists what the node executed and the primary did not (trap 17). The primary is read after the node. What the node
// had when it was demoted is in the primary by the way in which it became the primary: it waited for exactly that.
func (d *Driver) tail(ctx context.Context, primary place, v *view) ([]string, error) {
	s, err := d.lookTo(ctx, primary)
	if err != nil {
		return nil, err
	}
	defer s.close()
	p := s.look(ctx)
	if p.err != nil {
		return nil, p.err
	}
	extra, err := s.fl.errant(ctx, s, p, v)
	if err != nil || len(extra) == 0 || p.standing == nil || p.standing.Detail.From != v.place.String() {
		return extra, err
	}
	had, err := parseGTIDs(p.standing.Detail.State)
	if err != nil {
		return nil, err
	}
	known := history{state: had}
	return slices.DeleteFunc(extra, func(text string) bool {
		l, err := parseGTIDs(text)
		return err == nil && len(l) == 1 && known.knows(l[0])
	}), nil
}

// quarantine leaves a node read-only and without replication.
func (s *session) quarantine(ctx context.Context, v *view, term int64) error {
	if len(v.channels) > 0 {
		if err := s.act(ctx, term, "stop replication", s.fl.stop()); err != nil {
			return err
		}
	}
	return s.note(ctx, term, v.uuid, isApart, "", detail{})
}

// Forget stops replication on the cell's nodes and forgets the source.
func (d *Driver) Forget(ctx context.Context, c fleet.Cluster, cell string, term int64) error {
	var errs []error
	for _, p := range places(c) {
		if p.cell != cell {
			continue
		}
		errs = append(errs, d.detach(ctx, p, term))
	}
	return errors.Join(errs...)
}

func (d *Driver) detach(ctx context.Context, p place, term int64) error {
	s, err := d.dialTo(ctx, p)
	if err != nil {
		return err
	}
	defer s.close()
	chs, err := s.fl.channels(ctx, s)
	if err != nil || len(chs) == 0 {
		return err
	}
	if err := s.act(ctx, term, "stop replication", s.fl.stop()); err != nil {
		return err
	}
	if err := s.act(ctx, term, "forget the replication source", s.fl.forget()); err != nil {
		return err
	}
	if chs, err = s.fl.channels(ctx, s); err == nil && len(chs) > 0 {
		err = fmt.Errorf("%s still has the replication source %s", p, chs[0].source)
	}
	return err
}

// anyLag and more says that a replica may be as far behind as it likes, as long as it replicates: nothing waits for it.
const anyLag = 24 * time.Hour

// Replicating looks whether every node of the cell replicates from the primary, and how far it is behind: it has to reach what
// the primary has now within maxLag.
func (d *Driver) Replicating(ctx context.Context, c fleet.Cluster, cell string, maxLag time.Duration) (check.Results, error) {
	sc := d.look(ctx, c)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	primary, err := sc.primary()
	if err != nil {
		return check.Results{check.Unknowable("one-primary", err, d.cfg.Now())}, nil
	}
	var nodes []*view
	for _, v := range sc.views {
		if v.cell == cell && v != primary {
			nodes = append(nodes, v)
		}
	}
	in := &inspection{d: d, sc: sc, primary: primary, replicas: nodes, maxLag: maxLag}
	checks := []namedCheck{
		{"replicas-present", (*inspection).replicasPresent},
		{"green-read-only", (*inspection).readOnlyElsewhere},
		{"replication-running", (*inspection).replicationRunning},
		{"errant-gtid", (*inspection).errantGTID},
	}
	if maxLag < anyLag {
		checks = append(checks, namedCheck{"replica-lag", (*inspection).replicaLag})
	}
	return in.run(ctx, checks), nil
}
