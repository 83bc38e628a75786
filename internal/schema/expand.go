package schema

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"ariga.io/atlas/sql/migrate"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// ExpanderConfig says where the schema of each version is, and how the databases are reached.
type ExpanderConfig struct {
	Dialect Dialect
	// Database is the data source name of a cluster's database. It is asked for at each use, so that a password may change.
	Database func(c fleet.Cluster) (string, error)
	// Folders are the folders of migrations of each version, from the first migration on: the newer one holds all of the older. A version
	// such as "1.1" is also that of a node that says "1.1.3".
	Folders map[string]string
	// Statements are files of statements of the old version, by its version; none is needed.
	Statements map[string]string
	// Dev is the DSN of a development server of the database's version; without one Check starts one of its own and ends it.
	Dev   string
	Allow []string // rules whose findings do not hold the campaign

	LockTimeout, Backoff time.Duration // see ApplyOptions
	Tries                int
	Now                  func() time.Time // nil: time.Now

	edge func(statement int, name string) error // tests end a run here
}

// Expander is the schema step of a rolling upgrade: a rolling.Schema over Check and Apply.
//
// The version that a cluster has is its cell's, and all of its folder's migrations are there; what the folder of the new version has more is
// the step's work. What is done is known by the journal on the database, and what is there is read from its catalog.
type Expander struct {
	cfg ExpanderConfig

	mu     sync.Mutex
	wanted map[[sha256.Size]byte]*state // of a folder's text on a server: replayed once
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Schema = (*Expander)(nil)

// NewExpander reads the folders once, so that what is wrong with them is told before a campaign begins.
func NewExpander(cfg ExpanderConfig) (*Expander, error) {
	if cfg.Dialect != Postgres && cfg.Dialect != MySQL {
		return nil, &Error{What: fmt.Sprintf("%q is no dialect", cfg.Dialect), Hint: "give postgres, or mysql, which is MariaDB's too", Usage: true}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := knownRules("allow", cfg.Allow); err != nil {
		return nil, err
	}
	for _, v := range slices.Sorted(maps.Keys(cfg.Folders)) {
		if _, err := readFolder(cfg.Dialect, cfg.Folders[v]); err != nil {
			return nil, fmt.Errorf("the schema of version %s: %w", v, err)
		}
	}
	for _, v := range slices.Sorted(maps.Keys(cfg.Statements)) {
		if _, err := readOld(cfg.Dialect, cfg.Statements[v], nil); err != nil {
			return nil, fmt.Errorf("the statements of version %s: %w", v, err)
		}
	}
	return &Expander{cfg: cfg, wanted: map[[sha256.Size]byte]*state{}}, nil
}

// of finds what belongs to a version: its own, or that of the most numbers that it begins with.
func of(by map[string]string, version string) (string, bool) {
	best := ""
	for v := range by {
		rest, ok := strings.CutPrefix(version, v)
		if ok && (rest == "" || rest[0] < '0' || rest[0] > '9') && len(v) > len(best) {
			best = v
		}
	}
	return by[best], best != ""
}

func (x *Expander) folder(version string) (string, error) {
	if f, ok := of(x.cfg.Folders, version); ok {
		return f, nil
	}
	return "", &Error{What: "no folder of migrations is known for version " + version, Hint: fmt.Sprintf("name it beside those of %s in the supervisor's file", strings.Join(slices.Sorted(maps.Keys(x.cfg.Folders)), ", ")), Usage: true}
}

// way is the cluster's database, with the folders of the version that it has and of the one that it is to have.
func (x *Expander) way(c fleet.Cluster, version string) (target, from, to string, err error) {
	if len(c.Cells) != 1 {
		return "", "", "", &Error{What: fmt.Sprintf("cluster %s has %d cells", c.Ref(), len(c.Cells)), Hint: "a rolling upgrade is of one", Usage: true}
	}
	if from, err = x.folder(c.Cells[0].Version); err != nil {
		return "", "", "", err
	}
	if to, err = x.folder(version); err != nil {
		return "", "", "", err
	}
	if target, err = x.cfg.Database(c); err != nil {
		return "", "", "", fmt.Errorf("the database of %s: %w", c.Ref(), err)
	}
	return target, from, to, nil
}

// Check judges the way from the cluster's version to the other. What counts fails, a note warns, and so does what is allowed.
func (x *Expander) Check(ctx context.Context, c fleet.Cluster, version string) (check.Results, error) {
	target, from, to, err := x.way(c, version)
	if err != nil {
		return x.told(nil, err)
	}
	statements, _ := of(x.cfg.Statements, c.Cells[0].Version)
	r, err := Check(ctx, Options{Dialect: x.cfg.Dialect, From: from, To: to, Live: target, Dev: x.cfg.Dev, Statements: statements, Allow: x.cfg.Allow, Measure: true})
	if err != nil {
		return x.told(nil, err)
	}
	return r.checks(), nil
}

// told makes a failed check of what is wrong with what was given: a person has to mend it. What did not work is an error.
func (x *Expander) told(cs check.Results, err error) (check.Results, error) {
	var e *Error
	if errors.As(err, &e) && e.Usage {
		return append(cs, check.Failed("schema", err.Error(), e.Hint, x.cfg.Now())), nil
	}
	return nil, err
}

// checks are a report's findings as a campaign shows them.
func (r *Report) checks() check.Results {
	var cs check.Results
	for _, f := range r.Findings {
		detail := f.Object
		if f.Detail != "" {
			detail += " (" + f.Detail + ")"
		}
		if f.Statement != "" {
			detail += fmt.Sprintf(", by %q", short(f.Statement))
		}
		if f.File != "" {
			detail = fmt.Sprintf("%s:%d: %s", f.File, f.Line, detail)
		}
		detail += ": " + f.Why
		if f.Estimate != nil {
			detail += "; it takes " + f.Estimate.String()
		}
		if f.Counts() {
			cs = append(cs, check.Failed(f.Rule, detail, f.Safe, r.At))
		} else {
			cs = append(cs, check.Warned(f.Rule, detail, f.Safe, r.At))
		}
	}
	if r.Clean {
		cs = append(cs, check.Passed("expand-only", fmt.Sprintf("old nodes can work on it after each of %d statements; %d statements of theirs were tried", len(r.Steps), r.Tried), r.At))
	}
	return cs
}

// Expanded tells whether all that the version needs is there: by the journal, and by the catalog, which also knows what was made or taken
// away by another's hand. The first call after a start needs a development server; what it learns is kept.
func (x *Expander) Expanded(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error) {
	target, from, to, err := x.way(c, version)
	if err != nil {
		return false, nil, err
	}
	left, begun, err := x.apply(target, from, to, 0).Left(ctx)
	if err != nil {
		return false, nil, err
	}
	now := x.cfg.Now()
	var cs check.Results
	missing, err := x.missing(ctx, target, from, to)
	switch {
	case err != nil:
		return false, nil, err
	case missing != "":
		cs = append(cs, check.Failed("catalog", "the database lacks of "+to+": "+missing, "apply its migrations; if they are done by the journal, somebody changed the database by hand", now))
	case len(left) > 0 && !begun:
		return true, check.Results{check.Passed("catalog", "the database has all of "+to+", which nobody of us applied", now)}, nil
	default:
		cs = append(cs, check.Passed("catalog", "the database has all of "+to, now))
	}
	if len(left) > 0 {
		cs = append(cs, check.Failed("statements", fmt.Sprintf("%d statements are not applied, first %s: %s", len(left), left[0].Where(), left[0].Short()), "apply them", now))
	} else {
		cs = append(cs, check.Passed("statements", "each is done by the journal", now))
	}
	return cs.OK(), cs, nil
}

func (x *Expander) apply(target, from, to string, term int64) ApplyOptions {
	return ApplyOptions{Dialect: x.cfg.Dialect, Target: target, Folder: to, Older: from, Term: term, LockTimeout: x.cfg.LockTimeout, Backoff: x.cfg.Backoff, Tries: x.cfg.Tries, edge: x.cfg.edge}
}

// missing says what the database lacks of a version's schema; it may have more. What a contract step takes away may be there or not, but
// the older version's has been taken away before the newer's.
func (x *Expander) missing(ctx context.Context, target, from, to string) (string, error) {
	older, err := readFolder(x.cfg.Dialect, from)
	if err != nil {
		return "", err
	}
	files, err := readFolder(x.cfg.Dialect, to)
	if err != nil {
		return "", err
	}
	l, err := x.look(ctx, target)
	if err != nil {
		return "", err
	}
	defer l.close()
	least := ""
	n := min(len(older), len(files))
	for _, files := range [][]migration{slices.Concat(files[:n], expanding(files[n:])), expanding(files), files} {
		d, err := l.diff(ctx, x, files)
		if err != nil {
			return "", err
		}
		if d = withoutMore(withoutPartitions(d)); d.empty() {
			return "", nil
		}
		if least == "" {
			least = d.String()
		}
	}
	return least, nil
}

// looked is a live database with its catalog, and a checker that asks for a development server when it is needed first.
type looked struct {
	dsn dsn
	db  *sql.DB
	drv migrate.Driver
	is  *state
	ck  *checker
}

func (x *Expander) look(ctx context.Context, target string) (_ *looked, err error) {
	l := &looked{ck: &checker{Options: Options{Dialect: x.cfg.Dialect, Live: target, Dev: x.cfg.Dev, Progress: func(string) {}}, report: &Report{}}}
	if l.dsn, err = parseDSN(x.cfg.Dialect, "the database", target); err != nil {
		return nil, err
	}
	if l.db, err = l.dsn.open(ctx, "the database"); err != nil {
		return nil, err
	}
	if l.is, err = inspect(ctx, x.cfg.Dialect, l.db); err == nil {
		l.drv, err = driver(x.cfg.Dialect, l.db)
	}
	if err != nil {
		l.close()
		return nil, &Error{What: l.dsn.String() + " can't be read", Hint: "see the account's rights on the catalog", Err: l.dsn.clean(err)}
	}
	return l, nil
}

func (l *looked) close() {
	l.db.Close()
	l.ck.close()
}

// diff is how the database differs from what the files make, but for who may do what.
func (l *looked) diff(ctx context.Context, x *Expander, files []migration) (diff, error) {
	want, err := x.want(ctx, l.ck, files)
	if err != nil {
		return diff{}, err
	}
	d, err := want.diff(l.is, l.drv)
	if err != nil {
		return diff{}, &Error{What: l.dsn.String() + " can't be compared with its migrations", Hint: "see the server's log", Err: l.dsn.clean(err)}
	}
	return withoutGrants(d), nil
}

// want is the schema that migrations make, replayed once for each database: by the server's version and its settings it may differ.
func (x *Expander) want(ctx context.Context, ck *checker, files []migration) (*state, error) {
	h := sha256.New()
	fmt.Fprintln(h, ck.Live)
	for _, m := range files {
		fmt.Fprintf(h, "%s\x00%d\x00%s", m.name, len(m.raw), m.raw)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	x.mu.Lock()
	want := x.wanted[key]
	x.mu.Unlock()
	if want != nil {
		return want, nil
	}
	if ck.dev == nil {
		if err := ck.open(ctx); err != nil {
			return nil, err
		}
	}
	s, err := ck.stateOf(ctx, source{files: files, flag: "--to"})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wanted[key] = s
	return s, nil
}

// Expand applies what is missing, statement by statement, and tells after each where it stands. After a kill it goes on where the database
// is: the status is for people.
func (x *Expander) Expand(ctx context.Context, c fleet.Cluster, version string, term int64, _ json.RawMessage, save rolling.Save) error {
	target, from, to, err := x.way(c, version)
	if err != nil {
		return err
	}
	o := x.apply(target, from, to, term)
	o.Progress = saves(ctx, save)
	return Apply(ctx, o)
}

// saves tells a campaign how far a run is.
func saves(ctx context.Context, save rolling.Save) func(Progress) error {
	return func(p Progress) error {
		if p.What == saidThere && p.N < p.Of { // quickly gone over
			return nil
		}
		done := p.N - 1
		if p.What == saidDone || p.What == saidThere {
			done = p.N
		}
		return save(ctx, map[string]any{"statement": p.N, "of": p.Of, "where": p.Statement.Where()}, float64(done)/float64(p.Of), fmt.Sprintf("%d of %d, %s: %s: %s", p.N, p.Of, p.Statement.Where(), p.Statement.Short(), p.What))
	}
}
