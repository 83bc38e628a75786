package seed

import (
	"context"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// The states of a copy, as the mark on the target tells them.
const (
	copying  = "copying"
	complete = "complete"
)

// mark is the row of windlass.seed on the target, which is unlogged and never replicated.
type mark struct {
	State      string
	Owner      string
	Method     string
	Target     string // identity of the server that it was made for
	Source     string // identity of the server that was read
	SourceNode string
	Position   string
	Started    time.Time
	Completed  time.Time
}

// object is something that a copy made on the target.
type object struct{ kind, name string }

var markTables = []string{
	"CREATE DATABASE IF NOT EXISTS windlass",
	`CREATE TABLE IF NOT EXISTS windlass.seed (id TINYINT NOT NULL PRIMARY KEY, state VARCHAR(16) NOT NULL, owner VARCHAR(400) NOT NULL, method VARCHAR(16) NOT NULL, target VARCHAR(64) NOT NULL,
  source VARCHAR(64) NOT NULL, source_node VARCHAR(200) NOT NULL, position TEXT NOT NULL, started_us BIGINT NOT NULL, completed_us BIGINT NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
	"CREATE TABLE IF NOT EXISTS windlass.seed_object (kind VARCHAR(16) NOT NULL, name VARCHAR(400) NOT NULL, PRIMARY KEY (kind, name)) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
}

// readMark reads the mark; nil if there is none.
func readMark(ctx context.Context, c *node.Conn) (*mark, error) {
	rs, err := c.Rows(ctx, "SELECT * FROM windlass.seed WHERE id=1")
	if absent(err) || err == nil && len(rs) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the copy's mark on %s: %w", c.Node.Name, err)
	}
	r := rs[0]
	started, err := r.Int("started_us")
	if err != nil {
		return nil, err
	}
	completed, err := r.Int("completed_us")
	if err != nil {
		return nil, err
	}
	return &mark{State: r["state"], Owner: r["owner"], Method: r["method"], Target: r["target"], Source: r["source"], SourceNode: r["source_node"], Position: r["position"], Started: time.UnixMicro(started), Completed: time.UnixMicro(completed)}, nil
}

func writeMark(ctx context.Context, c *node.Conn, m mark) error {
	us := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixMicro()
	}
	err := c.Exec(ctx, "REPLACE INTO windlass.seed (id, state, owner, method, target, source, source_node, position, started_us, completed_us) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		m.State, m.Owner, m.Method, m.Target, m.Source, m.SourceNode, m.Position, us(m.Started), us(m.Completed))
	if err != nil {
		return fmt.Errorf("write the copy's mark on %s: %w", c.Node.Name, err)
	}
	return nil
}

func absent(err error) bool {
	n := node.Number(err)
	return n == node.ErrNoSuchTable || n == 1049
}

func readObjects(ctx context.Context, c *node.Conn) (map[object]bool, error) {
	rs, err := c.Rows(ctx, "SELECT kind, name FROM windlass.seed_object")
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the copy made on %s: %w", c.Node.Name, err)
	}
	out := map[object]bool{}
	for _, r := range rs {
		out[object{r["kind"], r["name"]}] = true
	}
	return out, nil
}

// note writes down what is about to be made.
func (j *job) note(ctx context.Context, o object) error {
	return j.target.Exec(ctx, "INSERT IGNORE INTO windlass.seed_object VALUES (?, ?)", o.kind, o.name)
}

// begin wipes what an earlier try left, and marks the target as being copied to.
func (j *job) begin(ctx context.Context, position string) error {
	for _, stmt := range markTables {
		if err := j.target.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("prepare %s: %w", j.r.Node.Name, err)
		}
	}
	m, err := j.newMark(ctx, position)
	if err != nil {
		return err
	}
	if old, err := readMark(ctx, j.target); err != nil {
		return err
	} else if old != nil && old.Target != m.Target { // notes of another server's copy, which a backup has brought
		if err := j.target.Exec(ctx, "DELETE FROM windlass.seed_object"); err != nil {
			return err
		}
	}
	if err := writeMark(ctx, j.target, m); err != nil {
		return err
	}
	return j.wipe(ctx)
}

// newMark is the mark of a copy that begins.
func (j *job) newMark(ctx context.Context, position string) (mark, error) {
	target, err := j.target.Identity(ctx)
	if err != nil {
		return mark{}, err
	}
	source, err := j.source.Identity(ctx)
	if err != nil {
		return mark{}, err
	}
	return mark{State: copying, Owner: j.owner, Method: string(j.method), Target: target, Source: source, SourceNode: j.source.Node.Name, Position: position, Started: j.cfg.Now()}, nil
}

// wipe removes what the notes say that an earlier try made, and nothing else.
func (j *job) wipe(ctx context.Context) error {
	made, err := readObjects(ctx, j.target)
	if err != nil {
		return err
	}
	if len(made) > 0 {
		j.log.Info("wipe a half copy", "objects", len(made))
	}
	if err := j.target.Exec(ctx, "SET SESSION foreign_key_checks=0"); err != nil {
		return err
	}
	for o := range made {
		stmt := ""
		switch o.kind {
		case "schema":
			stmt = "DROP DATABASE IF EXISTS " + node.Ident(o.name)
		case "table": // in our own schema, which holds tables that are replicated beside those that are not
			stmt = "DROP TABLE IF EXISTS " + node.Table(catalog.Ours, o.name)
		case "user":
			stmt = "DROP USER IF EXISTS " + o.name
		case "role":
			stmt = "DROP ROLE IF EXISTS " + o.name
		default:
			return fmt.Errorf("a note on %s is of an unknown kind %q: a newer release has made this copy", j.r.Node.Name, o.kind)
		}
		if err := j.target.Exec(ctx, stmt); err != nil {
			return fmt.Errorf("wipe a half copy on %s: %s: %w", j.r.Node.Name, stmt, err)
		}
		if err := j.target.Exec(ctx, "DELETE FROM windlass.seed_object WHERE kind=? AND name=?", o.kind, o.name); err != nil {
			return err
		}
	}
	if err := j.f.set(ctx, j.target, ""); err != nil {
		return fmt.Errorf("reset the position of %s: %w", j.r.Node.Name, err)
	}
	return nil
}

// finish sets the position and writes the completion mark, last of all.
func (j *job) finish(ctx context.Context, position string) error {
	if own, err := j.f.logged(ctx, j, nil); err != nil {
		return err
	} else if own != "" {
		return refuse(j.cfg.Now(), "target-errant", fmt.Sprintf("%s has logged transactions of its own while it was copied to: %s", j.r.Node.Name, own), "find out who writes to it, and delete the node")
	}
	if err := j.f.set(ctx, j.target, position); err != nil {
		return fmt.Errorf("set the position of %s: %w", j.r.Node.Name, err)
	}
	m, err := readMark(ctx, j.target)
	if err != nil {
		return err
	}
	if m == nil || m.State != copying {
		return fmt.Errorf("the copy's mark on %s is gone", j.r.Node.Name)
	}
	m.State, m.Position, m.Completed = complete, position, j.cfg.Now()
	return writeMark(ctx, j.target, *m)
}
