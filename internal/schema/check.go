package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
)

// Options say what is checked.
type Options struct {
	Dialect    Dialect
	From, To   string // a live DSN, a folder of migrations or a schema file
	Dev        string // DSN of a development server, or a build's name such as "mysql-9.7" of which one is started; empty: one of the live server's version
	Applied    string // the last migration of To that a live From has, by its file's name or version; empty: it is found by comparing
	Statements string // file with statements of the old version, or empty
	Allow      []string
	Live       string // DSN of the database whose tables' sizes are taken, if From is not live
	Measure    bool   // time samples of the live tables
	Contract   bool   // judge the contract step of the folder To: From is the same folder
	Progress   func(string)
	// StatementsKey opens Statements if it is a capture that is sealed.
	StatementsKey *capture.Key
	Fetched       func(string) // told what it takes to fetch a development server, which is megabytes; nil: Progress is
}

// End is one end of a check, as it is shown.
type End struct {
	Kind SourceKind `json:"kind"`
	Name string     `json:"name"` // without user and password
}

// Report is what a check found.
type Report struct {
	Dialect    Dialect     `json:"dialect"`
	From       End         `json:"from"`
	To         End         `json:"to"`
	Server     string      `json:"server,omitempty"`             // version of the development server that measured
	Started    string      `json:"started,omitempty"`            // the build of the development server, if it was started for the check
	LiveServer string      `json:"live_server,omitempty"`        // version of the live one
	Applied    string      `json:"applied,omitempty"`            // the last migration that the live database has
	Clean      bool        `json:"clean"`                        // no finding counts
	Findings   []Finding   `json:"findings"`                     // those that count come first
	Steps      []Step      `json:"steps,omitempty"`              // the statements of the migration, with what they lock
	Contract   []Statement `json:"contract,omitempty"`           // those of To that are marked for the contract step
	Tried      int         `json:"statements_tried"`             // of the old version, on the new schema
	Unfit      []Statement `json:"statements_unfit"`             // fail on the old schema too, and prove nothing
	Prepared   int         `json:"statements_prepared"`          // of those tried: have placeholders, and were prepared only
	Skipped    int         `json:"statements_skipped,omitempty"` // of a log, that can't be rolled back and were not tried
	At         time.Time   `json:"at"`                           // when the check began
}

// checker is one run.
type checker struct {
	Options
	from, to source
	dev      *dev
	report   *Report
	base     *state // what old nodes know
	old      *oldStatements
	live     *sql.DB // of sizes, or nil
	liveDSN  dsn
	thrown   *throwaway // nil: the development server was given
	collate  string     // the live database's on MySQL
	drift    *drift     // nil: no database was named beside two folders
}

// Check compares two schemas, and judges the way from one to the other. An *Error says what is wrong with what was given.
func Check(ctx context.Context, o Options) (*Report, error) {
	c := &checker{Options: o, report: &Report{Dialect: o.Dialect, Findings: []Finding{}, Unfit: []Statement{}, At: time.Now().UTC()}}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Fetched == nil {
		c.Fetched = c.Progress
	}
	if err := knownRules("--allow", o.Allow); err != nil {
		return nil, err
	}
	var err error
	if c.from, err = readSource(o.Dialect, "--from", o.From); err != nil {
		return nil, err
	}
	if c.to, err = readSource(o.Dialect, "--to", o.To); err != nil {
		return nil, err
	}
	c.report.From, c.report.To = End{c.from.kind, c.from.String()}, End{c.to.kind, c.to.String()}
	if c.from.kind == Folder && c.to.kind == Folder {
		if o.Live != "" {
			c.drift = &drift{}
		}
		if _, err := shared(c.from, c.to); err != nil { // before any server is asked
			return nil, err
		}
	}
	if o.Statements != "" {
		if c.old, err = readOld(o.Dialect, o.Statements, o.StatementsKey); err != nil {
			return nil, err
		}
	}
	defer c.close()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.walk(ctx); err != nil {
		return nil, err
	}
	if err := c.estimate(ctx); err != nil {
		return nil, err
	}
	c.finish()
	return c.report, nil
}

// knownRules refuses what is no rule, where allowed ones are named.
func knownRules(where string, allow []string) error {
	for _, a := range allow {
		if _, ok := ruleByID[a]; !ok {
			return &Error{Where: where, What: fmt.Sprintf("%q is no rule", a), Hint: "docs/schema.md lists the rules", Usage: true}
		}
	}
	return nil
}

// walk brings the development database to the old state, and from there on statement by statement to the new one.
func (c *checker) walk(ctx context.Context) error {
	if c.dev == nil {
		return c.compareLive(ctx)
	}
	if c.Contract {
		stmts, err := c.contractWay(ctx)
		if err != nil {
			return err
		}
		c.report.Contract = stmts
		err = c.steps(ctx, stmts)
		c.nothingOld()
		return err
	}
	if c.to.kind == Folder {
		pending, err := c.begin(ctx)
		if err != nil {
			return err
		}
		if err := c.steps(ctx, all(expanding(pending))); err != nil {
			return err
		}
		return c.contractSteps(ctx, all(contracting(pending)))
	}
	return c.planned(ctx)
}

// contractSteps runs what is marked for the contract step after all else, where it will run: that it works, and what it locks, is shown.
// Its findings don't count now: nothing old is there then.
func (c *checker) contractSteps(ctx context.Context, stmts []Statement) error {
	if len(stmts) == 0 {
		return nil
	}
	first, old := len(c.report.Findings), c.old
	c.old, c.drift = nil, nil
	err := c.steps(ctx, stmts)
	c.old = old
	for i := range c.report.Findings[first:] {
		c.report.Findings[first+i].Allowed = allowedContract
	}
	c.report.Contract = stmts
	return err
}

// locate finds the place in a schema file of what was found by comparing.
func (c *checker) locate() {
	for i := range c.report.Findings {
		f := &c.report.Findings[i]
		if f.File != "" {
			continue
		}
		for _, s := range append(all(c.to.files), all(c.from.files)...) {
			if where := place(s, *f); where > 0 {
				f.File, f.Line = s.File, where
				break
			}
		}
	}
}

// place is the line of a statement that makes a finding's object, or 0.
func place(s Statement, f Finding) int {
	_, name, _ := strings.Cut(f.Object, " ")
	name, _, _ = strings.Cut(name, " on ")
	last := name[strings.LastIndex(name, ".")+1:]
	table := f.Table[strings.LastIndex(f.Table, ".")+1:]
	text := masked(s.SQL)
	if !strings.HasPrefix(verb(s.SQL, 1), "CREATE") && !strings.HasPrefix(verb(s.SQL, 1), "ALTER") || table != "" && !mentions(text, table) || !mentions(text, last) {
		return 0
	}
	for i, line := range strings.Split(text, "\n") {
		if mentions(line, last) {
			return s.Line + i
		}
	}
	return s.Line
}

// finish sorts the findings, and says whether the check is clean.
func (c *checker) finish() {
	fs := c.report.Findings
	for i := range fs {
		if slices.Contains(c.Allow, fs[i].Rule) {
			fs[i].Allowed = "--allow " + fs[i].Rule
		}
	}
	sort.SliceStable(fs, func(i, j int) bool { return fs[i].Counts() && !fs[j].Counts() })
	c.report.Clean = !slices.ContainsFunc(fs, Finding.Counts)
}
