package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Compile-time check: it is what the contract strategy asks for.
var _ rolling.Contracting = (*Expander)(nil)

// CheckContract judges what a version's migrations take away. Nothing old is left, so that a column goes is no finding; that a table waits
// is one, and so is a statement of the version that serves, if a file of them is given, which fails without what is taken away.
func (x *Expander) CheckContract(ctx context.Context, c fleet.Cluster, version string) (check.Results, error) {
	target, _, to, err := x.way(c, version)
	if err != nil {
		return x.told(nil, err)
	}
	statements, _ := of(x.cfg.Statements, version)
	r, err := Check(ctx, Options{Dialect: x.cfg.Dialect, From: to, To: to, Live: target, Dev: x.cfg.Dev, Statements: statements, Allow: x.cfg.Allow, Measure: true, Contract: true})
	if err != nil {
		return x.told(nil, err)
	}
	cs := r.checks()
	if len(r.Contract) == 0 {
		return append(cs, check.Warned("contract", "no migration of "+version+" that is marked for the contract step is left", "mark it by a line -- windlass:contract, or end the campaign", r.At)), nil
	}
	for _, s := range r.Contract {
		cs = append(cs, check.Warned("contract", fmt.Sprintf("%s: %s", s.Where(), s.Short()), "there is no way back after it: what it takes away is gone", r.At))
	}
	return cs, nil
}

// Contracted tells whether all that a version's migrations take away is gone: by the journal, or because the catalog is just what they make.
func (x *Expander) Contracted(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error) {
	target, from, to, err := x.way(c, version)
	if err != nil {
		return false, nil, err
	}
	o := x.apply(target, from, to, 0)
	o.Contract = true
	left, begun, err := o.Left(ctx)
	if err != nil {
		return false, nil, err
	}
	now := x.cfg.Now()
	switch {
	case len(left) == 0:
		return true, check.Results{check.Passed("contract", "all of it is done by the journal", now)}, nil
	case !begun:
		same, err := x.same(ctx, target, to)
		if err != nil {
			return false, nil, err
		}
		if same {
			return true, check.Results{check.Passed("contract", "the database is what all migrations of "+to+" make; nobody of us did it", now)}, nil
		}
	}
	return false, check.Results{check.Failed("contract", fmt.Sprintf("%d statements are left, first %s: %s", len(left), left[0].Where(), left[0].Short()), "apply them", now)}, nil
}

// same tells whether the database's catalog is what the folder makes, the contract step's migrations with it.
func (x *Expander) same(ctx context.Context, target, to string) (bool, error) {
	files, err := readFolder(x.cfg.Dialect, to)
	if err != nil {
		return false, err
	}
	l, err := x.look(ctx, target)
	if err != nil {
		return false, err
	}
	defer l.close()
	d, err := l.diff(ctx, x, files)
	return err == nil && d.empty(), err
}

// Contract takes away what is marked, statement by statement, and tells after each where it stands. After a kill it goes on where the
// database is.
func (x *Expander) Contract(ctx context.Context, c fleet.Cluster, version string, term int64, _ json.RawMessage, save rolling.Save) error {
	target, from, to, err := x.way(c, version)
	if err != nil {
		return err
	}
	o := x.apply(target, from, to, term)
	o.Contract = true
	o.Progress = saves(ctx, save)
	return Apply(ctx, o)
}

// contractWay brings the development database to where the live one is before a contract step, and returns what the step has to do: all
// that only expands is there, and of what is marked only what the journal says.
func (c *checker) contractWay(ctx context.Context) ([]Statement, error) {
	states := map[string]string{}
	if c.live != nil {
		var err error
		if states, err = readJournal(ctx, c.liveDSN, c.live); err != nil {
			return nil, err
		}
	}
	var there, left []Statement
	for _, m := range c.to.files {
		for i, s := range m.stmts {
			switch e := (entry{file: m.name, n: i + 1}); {
			case !m.contract || states[e.key()] == stateDone:
				there = append(there, s)
			case !transactional(s.SQL):
				left = append(left, s)
			}
		}
	}
	if err := c.replay(ctx, there); err != nil {
		return nil, err
	}
	var err error
	c.base, err = c.dev.state(ctx)
	return left, err
}

// nothingOld lets pass what breaks old nodes: there are none. What a table waits for counts, and so does a statement of the version that
// serves.
func (c *checker) nothingOld() {
	for i := range c.report.Findings {
		f := &c.report.Findings[i]
		if f.Severity == Breaks && !slices.Contains([]string{"old-statement-fails", "old-statement-changes", "live-differs"}, f.Rule) {
			f.Allowed = "nothing old is left in a contract step"
		}
	}
}
