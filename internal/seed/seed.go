// Package seed copies a cluster's data from a server of the old cell to a fresh node of the new one, without stopping
// anything. It gives Seeded and Seed of bluegreen.Storage.
//
// # Model
//
// There are two methods (trap 33). Logical: everything is read over the network in one consistent snapshot, whose exact
// GTID position is known without a lock, and written to the new node. MariaDB tells the position by itself; of MySQL a replica is
// read, whose applier stands still while the snapshot is opened. It is for data below a size.
// Restored: whoever made the node has put a physical backup of the cluster into it, upgraded it, and set its position.
// Windlass reaches no server's files, so it does not make such copies: it sees that the node may follow the
// primary from where it stands, and adopts it. Both end alike: gtid_slave_pos (MySQL: gtid_purged) is the copy's position, the primary's logs hold
// all that follows it, and last of all a completion mark is written.
//
// # Invariants
//
//   - Nothing is ever written on a source, and no setting of it is changed beyond our own sessions. An applier that is stopped is
//     noted first, and started again by us or by whoever reads the note.
//   - Nothing on the target is written to its binary log: the copy has no transaction of its own (no errant GTID).
//   - Only a read-only node that carries the cell's ownership mark is written to, and no data that it holds already: they
//     are adopted or refused.
//   - Every object that is made is noted before it is made. A half copy is known by its mark and is wiped by those notes
//     and nothing else; it is never taken for a whole one.
//   - Collations, types and all else that the catalog tells are as on the source, whatever the new version's defaults are.
//   - Accounts keep their password hashes. Accounts of the server itself and Windlass' own are not touched.
//
// # Failures
//
// A failed or killed copy starts anew: a snapshot can't be resumed. Refusals that no waiting will mend are
// *engine.Refusal with named checks; every other error is tried again by the step.
package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/engine"
)

// Method is a way of copying.
type Method string

// The methods.
const (
	Logical  Method = "logical"  // copied here, over the network
	Restored Method = "restored" // a backup that was there already
)

// DefaultLimit is the largest size, in bytes of tables and indexes, that is copied logically.
const DefaultLimit = 20 << 30

// Config is what a Seeder needs.
type Config struct {
	// Access logs in on nodes. The account needs everything on the target (with GRANT OPTION), and on a source what mysql.Grants lists.
	Access node.Access
	// Mark tells whose a node is: the mark that its provisioner gave it; "" if it has none.
	Mark  func(ctx context.Context, r bluegreen.SeedRequest) (string, error)
	Limit int64 // of the logical method, in bytes; 0: DefaultLimit
	// Reserved are names of users, beside the server's own and the one that Access logs in as, that are neither copied nor touched.
	Reserved []string
	Writers  int           // connections that write; 0: 4
	Every    time.Duration // between two saves of progress; 0: 2 s
	Log      *slog.Logger
	Now      func() time.Time
}

// Seeder copies data.
type Seeder struct {
	cfg Config
	log *slog.Logger
}

// New makes a Seeder.
func New(cfg Config) (*Seeder, error) {
	if cfg.Access == nil || cfg.Mark == nil {
		return nil, errors.New("seed: access to the nodes and their ownership marks are needed")
	}
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Writers == 0 {
		cfg.Writers = 4
	}
	if cfg.Every == 0 {
		cfg.Every = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Seeder{cfg: cfg, log: cfg.Log}, nil
}

// Status is what a copy persists on its way. Its reader is told by it; a resumed copy looks at the servers, and takes from it
// only what an earlier try has stopped.
type Status struct {
	Method   Method `json:"method"`
	Source   string `json:"source"` // node that is read
	Position string `json:"position,omitempty"`
	// Stopped is the node whose applier was about to be stopped for a moment, or is. Whoever reads it starts it.
	Stopped   string    `json:"stopped,omitempty"`
	Table     string    `json:"table,omitempty"` // being copied
	Tables    int       `json:"tables"`
	AllTables int       `json:"all_tables"`
	Rows      int64     `json:"rows"`
	AllRows   int64     `json:"all_rows"` // the source's estimate
	Bytes     int64     `json:"bytes"`
	AllBytes  int64     `json:"all_bytes"` // the source's estimate
	Started   time.Time `json:"started"`
}

// Seeded tells whether the node has a complete copy: one that carries the completion mark, made for this node and this
// campaign. What can't be read is an error, never "not seeded".
func (s *Seeder) Seeded(ctx context.Context, r bluegreen.SeedRequest) (bool, check.Results, error) {
	const name = "seed-complete"
	t, err := node.Open(ctx, s.cfg.Access, r.Node)
	if err != nil {
		return false, nil, err
	}
	defer t.Close()
	cell, err := targetCell(r)
	if err != nil {
		return false, nil, err
	}
	m, err := readMark(ctx, t)
	if err != nil {
		return false, nil, err
	}
	now := s.cfg.Now()
	remedy := "the step copies the data (anew)"
	id, err := t.Identity(ctx)
	if err != nil {
		return false, nil, err
	}
	switch {
	case m == nil:
		return false, check.Results{check.Failed(name, r.Node.Name+" holds no copy", remedy, now)}, nil
	case m.Target != id:
		return false, check.Results{check.Failed(name, fmt.Sprintf("%s holds the mark of a copy that was made for another server (%s)", r.Node.Name, m.Target), remedy, now)}, nil
	case m.Owner != cell.Owner:
		return false, check.Results{check.Failed(name, fmt.Sprintf("%s holds a copy of %q, not of %q", r.Node.Name, m.Owner, cell.Owner), remedy, now)}, nil
	case m.State != complete:
		return false, check.Results{check.Failed(name, fmt.Sprintf("%s holds a half copy, begun %s", r.Node.Name, m.Started.UTC().Format(time.RFC3339)), remedy, now)}, nil
	}
	reached, text, err := flavourOf(t).reached(ctx, t, m.Position)
	if err != nil {
		return false, nil, err
	}
	if !reached {
		return false, check.Results{check.Failed(name, fmt.Sprintf("%s stands at %q, before its copy's %q", r.Node.Name, text, m.Position), "delete the node and run the stage again", now)}, nil
	}
	res := check.Passed(name, fmt.Sprintf("%s holds a whole %s copy of %s at %q, completed %s", r.Node.Name, m.Method, m.SourceNode, m.Position, m.Completed.UTC().Format(time.RFC3339)), now)
	res.Evidence = "SELECT * FROM windlass.seed"
	return true, check.Results{res}, nil
}

// Seed copies the data. Done already, it does nothing; half done, it wipes what it made and starts anew.
func (s *Seeder) Seed(ctx context.Context, r bluegreen.SeedRequest, status json.RawMessage, save bluegreen.Save) error {
	if err := s.Resume(ctx, r, status); err != nil {
		return err
	}
	if done, _, err := s.Seeded(ctx, r); err != nil || done {
		return err
	}
	j, err := s.prepare(ctx, r, save)
	if err != nil {
		return err
	}
	defer j.close()
	j.log.Info("copy the data", "source", j.source.Node.Name, "method", j.method, "bytes", j.size)
	return j.opened(ctx, func() error {
		if j.method == Restored {
			return j.adopt(ctx)
		}
		return j.logical(ctx)
	})
}

// opened lets administrators write on the target while it is filled, where read-only means them too. It stays read-only.
func (j *job) opened(ctx context.Context, fill func() error) (err error) {
	if j.f.unlock() == "" {
		return fill()
	}
	defer func() {
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		c, oerr := j.open(fresh) // the old connection may be what failed
		if oerr == nil {
			oerr = c.Exec(fresh, j.f.lock())
			c.Close()
		}
		if oerr != nil && err == nil { // else it is told why it failed
			err = fmt.Errorf("close %s for administrators: %w", j.r.Node.Name, oerr)
		}
	}()
	if err := j.target.Exec(ctx, j.f.unlock()); err != nil {
		return fmt.Errorf("open %s for administrators: %w", j.r.Node.Name, err)
	}
	return fill()
}

// job is one copy.
type job struct {
	*Seeder
	r      bluegreen.SeedRequest
	owner  string
	f      flavour
	save   bluegreen.Save
	log    *slog.Logger
	method Method
	held   string // a schema with data that no try of ours has made; "" for none
	size   int64

	target  *node.Conn
	source  *node.Conn
	primary *node.Conn
	keep    func(catalog.Account) bool // accounts that are not touched
	before  map[string]bool            // accounts that the target had before
	status  Status
	saved   time.Time
}

// prepare looks at everything that has to hold before the target is touched.
func (s *Seeder) prepare(ctx context.Context, r bluegreen.SeedRequest, save bluegreen.Save) (_ *job, err error) {
	cell, err := targetCell(r)
	if err != nil {
		return nil, err
	}
	j := &job{Seeder: s, r: r, owner: cell.Owner, save: save, log: s.log.With("cluster", r.Cluster.Ref().String(), "node", r.Node.Name, "term", r.Term)}
	defer func() {
		if err != nil {
			j.close()
		}
	}()
	if j.target, err = j.open(ctx); err != nil {
		return nil, err
	}
	if err := j.choose(ctx); err != nil {
		return nil, err
	}
	if j.f = flavourOf(j.source); j.f != flavourOf(j.target) {
		return nil, refuse(s.cfg.Now(), "product", fmt.Sprintf("%s is %s, %s is %s", j.source.Node.Name, j.source.Version, j.r.Node.Name, j.target.Version), "a node is seeded from a server of its own product")
	}
	if err := j.guard(ctx); err != nil {
		return nil, err
	}
	if err := j.measure(ctx); err != nil {
		return nil, err
	}
	if j.method == Logical {
		if err := j.f.source(j); err != nil {
			return nil, err
		}
	}
	j.status = Status{Method: j.method, Source: j.source.Node.Name, AllBytes: j.size, Started: s.cfg.Now()}
	return j, nil
}

// open opens a connection to the target, unless its fence has seen a higher term (trap 1): whoever raised it has ended
// the connections that were open before.
func (j *job) open(ctx context.Context) (*node.Conn, error) {
	c, err := node.Open(ctx, j.cfg.Access, j.r.Node)
	if err != nil {
		return nil, err
	}
	if c.Term > j.r.Term {
		c.Close()
		return nil, fmt.Errorf("%s has seen term %d, this is %d: %w", j.r.Node.Name, c.Term, j.r.Term, engine.ErrFenced)
	}
	return c, nil
}

func (j *job) close() {
	for _, c := range []*node.Conn{j.target, j.source, j.primary} {
		if c != nil {
			c.Close()
		}
	}
}

// tell persists progress, at most once in a while unless forced.
func (j *job) tell(ctx context.Context, force bool, message string) error {
	now := j.cfg.Now()
	if !force && now.Sub(j.saved) < j.cfg.Every {
		return nil
	}
	j.saved = now
	progress := 0.0
	if j.status.AllBytes > 0 {
		progress = min(0.99, float64(j.status.Bytes)/float64(j.status.AllBytes))
	} else if j.status.AllTables > 0 {
		progress = float64(j.status.Tables) / float64(j.status.AllTables+1)
	}
	if took := now.Sub(j.status.Started); progress > 0.02 && took > 5*time.Second {
		left := time.Duration(float64(took) * (1 - progress) / progress)
		message += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	return j.save(ctx, j.status, progress, message)
}

// refuse makes an error that no waiting will mend.
func refuse(now time.Time, name, detail, remedy string) error {
	return &engine.Refusal{Checks: check.Results{check.Failed(name, detail, remedy, now)}, Err: fmt.Errorf("%s: %s", detail, remedy)}
}
