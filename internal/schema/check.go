package schema

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/schema"

	"github.com/windlass-db/windlass/internal/builds"
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
	for _, a := range o.Allow {
		if _, ok := ruleByID[a]; !ok {
			return nil, &Error{Where: "--allow", What: fmt.Sprintf("%q is no rule", a), Hint: "docs/schema.md lists the rules", Usage: true}
		}
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
		if c.old, err = readOld(o.Dialect, o.Statements); err != nil {
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

func (c *checker) open(ctx context.Context) error {
	live := ""
	switch {
	case c.from.kind == Live:
		c.liveDSN, live = c.from.dsn, "--from"
	case c.Live != "":
		var err error
		if c.liveDSN, err = parseDSN(c.Dialect, "--live", c.Live); err != nil {
			return err
		}
		live = "--live"
	}
	if live != "" {
		var err error
		if c.live, err = c.liveDSN.open(ctx, live); err != nil {
			return err
		}
		q := "SELECT current_setting('server_version'), ''"
		if c.Dialect == MySQL {
			q = "SELECT VERSION(), @@collation_database"
		}
		if err := c.live.QueryRowContext(ctx, q).Scan(&c.report.LiveServer, &c.collate); err != nil {
			return &Error{Where: live, What: c.liveDSN.String() + " does not tell its version", Hint: "see the account's rights", Err: c.liveDSN.clean(err)}
		}
	}
	if c.Dev == "" && c.from.kind == Live && c.to.kind == Live && c.old == nil {
		return nil
	}
	at, err := c.devServer(ctx)
	if err != nil {
		return err
	}
	server, err := parseDSN(c.Dialect, "--dev", at)
	if err != nil {
		return err
	}
	if c.dev, err = newDev(ctx, server, c.collate); err != nil {
		return err
	}
	c.report.Server = c.dev.version
	if c.report.LiveServer != "" && major(c.Dialect, c.report.LiveServer) != major(c.Dialect, c.dev.version) {
		return &Error{Where: "--dev", What: fmt.Sprintf("the development server is %s, and the live one %s", c.dev.version, c.report.LiveServer), Hint: "give a development server of the same version: what a statement locks is another thing in each", Usage: true}
	}
	return nil
}

// devServer is the DSN of the development server: the one that is given, or one that is started until the check ends, of the build that is
// named or of the live server's version.
func (c *checker) devServer(ctx context.Context) (string, error) {
	build := c.Dev
	named, err := isBuild(c.Dialect, c.Dev)
	if err != nil || c.Dev != "" && !named {
		return c.Dev, err
	}
	if !named {
		ok := false
		if build, ok = buildFor(c.Dialect, c.report.LiveServer); !ok {
			return "", &Error{Where: "--dev", What: fmt.Sprintf("the live server is %s, and no such server can be started here", c.report.LiveServer), Hint: "give --dev DSN of a server of that version that holds nothing of worth; or one of " + strings.Join(builds.Names(), ", ") + ", whose locks may be others", Usage: true}
		}
	}
	var options []string
	if same, _ := buildFor(c.Dialect, c.report.LiveServer); c.Dialect == MySQL && c.live != nil && same == build {
		if options, err = c.likeLive(ctx); err != nil {
			return "", err
		}
	}
	if c.thrown, err = startThrowaway(ctx, c.Dialect, build, options, c.Progress); err != nil {
		return "", err
	}
	c.report.Started = build
	return c.thrown.dsn, nil
}

// likeLive are the settings of a live MySQL or MariaDB that change what statements mean.
func (c *checker) likeLive(ctx context.Context) ([]string, error) {
	var mode, charset, collation, lower string
	if err := c.live.QueryRowContext(ctx, "SELECT @@global.sql_mode, @@global.character_set_server, @@global.collation_server, @@global.lower_case_table_names").Scan(&mode, &charset, &collation, &lower); err != nil {
		return nil, &Error{Where: c.liveDSN.String(), What: "does not tell its settings", Hint: "see the account's rights", Err: c.liveDSN.clean(err)}
	}
	out := []string{"sql-mode=" + mode, "character-set-server=" + charset, "collation-server=" + collation}
	if lower != "0" && strings.Contains(c.report.LiveServer, "MariaDB") { // MySQL takes it only when its data folder is made
		out = append(out, "lower-case-table-names="+lower)
	}
	return out, nil
}

// major is the part of a version that decides how statements work: "15" of PostgreSQL, "11.8-MariaDB", "8.4".
func major(d Dialect, version string) string {
	number, _, _ := strings.Cut(version, " ") // "15.4 (Debian …)"
	parts := strings.SplitN(number, ".", 3)
	if d == Postgres || len(parts) < 2 {
		return parts[0]
	}
	m := parts[0] + "." + parts[1]
	if strings.Contains(version, "MariaDB") {
		m += "-MariaDB"
	}
	return m
}

func (c *checker) close() {
	if c.dev != nil {
		c.dev.close()
	}
	if c.live != nil {
		c.live.Close()
	}
	if c.thrown != nil {
		c.thrown.end()
	}
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

// allowedContract is why a finding of a migration that is marked does not count.
const allowedContract = "marked for the contract step, which a later campaign runs"

// begin runs those migrations of the folder --to that the old state has, and returns those that are left.
func (c *checker) begin(ctx context.Context) ([]migration, error) {
	var at int
	var err error
	switch {
	case c.from.kind == Folder:
		if at, err = shared(c.from, c.to); err != nil {
			return nil, err
		}
	case c.Applied != "":
		at = slices.IndexFunc(c.to.files, func(m migration) bool {
			return m.name == c.Applied || leadingNumber.MatchString(m.name) && leadingNumber.FindStringSubmatch(m.name)[1] == strings.TrimLeft(c.Applied, "vV0")
		}) + 1
		if at == 0 {
			return nil, &Error{Where: "--applied", What: fmt.Sprintf("%s has no migration %q", c.to.path, c.Applied), Hint: "give the name of a file in it, or its version", Usage: true}
		}
	default:
		return c.find(ctx)
	}
	if err := c.replay(ctx, all(c.to.files[:at])); err != nil {
		return nil, err
	}
	if c.base, err = c.dev.state(ctx); err != nil {
		return nil, err
	}
	return c.to.files[at:], nil
}

func (c *checker) replay(ctx context.Context, stmts []Statement) error {
	for _, s := range stmts {
		if _, err := c.dev.run(ctx, s, false, nil); err != nil {
			return err
		}
	}
	return nil
}

// find replays the folder --to until it is what --from is: those migrations the old state has. Those of the contract step it may have or not.
func (c *checker) find(ctx context.Context) ([]migration, error) {
	want, err := c.stateOf(ctx, c.from)
	if err != nil {
		return nil, err
	}
	n, wrong, err := c.findIn(ctx, want, c.to.files)
	if err != nil || wrong == nil {
		return c.to.files[n:], err
	}
	plain := expanding(c.to.files)
	if len(plain) == len(c.to.files) {
		return nil, wrong
	}
	fresh, err := newDev(ctx, c.dev.server, c.collate)
	if err != nil {
		return nil, err
	}
	c.dev.close()
	c.dev = fresh
	n, w, err := c.findIn(ctx, want, plain)
	if err != nil {
		return nil, err
	}
	if w != nil {
		return nil, wrong
	}
	return append(contracting(c.to.files), plain[n:]...), nil
}

// findIn tells how many of the files make the wanted state; wrong says that none do.
func (c *checker) findIn(ctx context.Context, want *state, files []migration) (n int, wrong, err error) {
	nearest, least := "an empty schema", -1
	var seen string
	for i := 0; i <= len(files); i++ {
		now, err := c.dev.state(ctx)
		if err != nil {
			return 0, nil, err
		}
		d, err := now.diff(want, c.dev.drv)
		if err != nil {
			return 0, nil, c.dev.wrong("can't be compared", err)
		}
		d = withoutGrants(d)
		if d.empty() {
			c.base = now
			if i > 0 {
				c.report.Applied = files[i-1].name
			}
			return i, nil, nil
		}
		if n := len(d.changes) + len(d.gone) + len(d.came) + len(d.other); least < 0 || n <= least {
			least, seen = n, d.String()
			if i > 0 {
				nearest = files[i-1].name
			}
		}
		if i < len(files) {
			if err := c.replay(ctx, files[i].stmts); err != nil {
				return 0, nil, err
			}
		}
	}
	return 0, &Error{Where: c.from.String(), What: fmt.Sprintf("is no state that %s passes through; it is nearest after %s, but for: %s", c.to.path, nearest, seen), Usage: true,
		Hint: "somebody changed the database by hand, or the folder is another's: write the missing migration, or name the last one that was applied with --applied"}, nil
}

// withoutGrants leaves out who owns and may do what: accounts of production are not on a development server.
func withoutGrants(d diff) diff {
	grant := func(e extra) bool { return e.Kind == "grant" || e.Kind == "owner" }
	d.gone, d.came, d.other = slices.DeleteFunc(d.gone, grant), slices.DeleteFunc(d.came, grant), slices.DeleteFunc(d.other, grant)
	return d
}

// withoutMore leaves out what the second has and the first lacks.
func withoutMore(d diff) diff {
	more := func(ch schema.Change) bool {
		switch ch := ch.(type) {
		case *schema.AddTable, *schema.AddSchema, *schema.AddObject, *schema.AddColumn, *schema.AddIndex, *schema.AddForeignKey, *schema.AddCheck:
			return true
		case *schema.ModifyTable:
			return len(ch.Changes) == 0
		}
		return false
	}
	d.came = nil
	for i, ch := range d.changes {
		if m, ok := ch.(*schema.ModifyTable); ok {
			d.changes[i] = &schema.ModifyTable{T: m.T, Changes: slices.DeleteFunc(slices.Clone(m.Changes), more)}
		}
	}
	d.changes = slices.DeleteFunc(d.changes, more)
	return d
}

// stateOf reads the state of a live database or of files, the latter from a development database of their own.
func (c *checker) stateOf(ctx context.Context, s source) (*state, error) {
	if s.kind == Live {
		db := c.live
		if s.flag != "--from" {
			var err error
			if db, err = s.dsn.open(ctx, s.flag); err != nil {
				return nil, err
			}
			defer db.Close()
		}
		st, err := inspect(ctx, c.Dialect, db)
		if err != nil {
			return nil, &Error{Where: s.flag, What: s.dsn.String() + " can't be read", Hint: "see the account's rights on the catalog", Err: s.dsn.clean(err)}
		}
		return st, nil
	}
	d, err := newDev(ctx, c.dev.server, "")
	if err != nil {
		return nil, err
	}
	defer d.close()
	for _, stmt := range all(s.files) {
		if _, err := d.run(ctx, stmt, false, nil); err != nil {
			return nil, err
		}
	}
	return d.state(ctx)
}

// steps runs the statements of the migration, one by one, and judges each.
func (c *checker) steps(ctx context.Context, stmts []Statement) error {
	before, err := c.dev.state(ctx) // which lacks what could not be copied from a live database
	if err != nil {
		return err
	}
	if err := c.old.onOld(ctx, c); err != nil {
		return err
	}
	if err := c.drift.begin(ctx, c); err != nil {
		return err
	}
	if err := c.drift.compare(c, before); err != nil {
		return err
	}
	for i, s := range stmts {
		c.Progress(fmt.Sprintf("statement %d of %d: %s", i+1, len(stmts), s.Where()))
		step, err := c.dev.run(ctx, s, true, func(table string) bool { return c.base.table(table) != nil })
		if err != nil {
			return err
		}
		after, err := c.dev.state(ctx)
		if err != nil {
			return err
		}
		d, err := before.diff(after, c.dev.drv)
		if err != nil {
			return c.dev.wrong("can't be compared", err)
		}
		c.report.Steps = append(c.report.Steps, step)
		c.judge(ctx, s, before, after, d)
		c.report.Findings = append(c.report.Findings, step.lockFindings(c.Dialect, c.base)...)
		if !d.empty() {
			if err := c.old.onNew(ctx, c, s); err != nil {
				return err
			}
		}
		before = after
		if err := c.drift.compare(c, after); err != nil {
			return err
		}
	}
	c.drift.end(c)
	return nil
}

func (c *checker) judge(ctx context.Context, s Statement, before, after *state, d diff) {
	j := &judge{dialect: c.Dialect, base: c.base, before: before, after: after, stmt: s, harmless: func(ck *schema.Check, t *schema.Table) bool { return c.harmless(ctx, ck, t) }}
	j.judgeDiff(d)
	c.report.Findings = append(c.report.Findings, j.out...)
}

// harmless asks the development server whether a row of an old node passes a check: it can only if all columns that the check names are
// new, and then they have their defaults.
func (c *checker) harmless(ctx context.Context, ck *schema.Check, t *schema.Table) bool {
	old := c.base.table(tableName(t))
	if old == nil {
		return true
	}
	if c.dev == nil {
		return false
	}
	var values []string
	for _, col := range t.Columns {
		if !mentions(ck.Expr, col.Name) {
			continue
		}
		if _, known := old.Column(col.Name); known {
			return false
		}
		v := "NULL"
		if !leftNull(col) {
			if v = exprText(col.Default); v == "" {
				return false
			}
		}
		if c.Dialect == Postgres {
			v = "CAST(" + v + " AS " + col.Type.Raw + ")"
		}
		values = append(values, v+" AS "+quoteName(c.Dialect, col.Name))
	}
	if len(values) == 0 {
		return false
	}
	var fails sql.NullBool
	q := "SELECT NOT (" + ck.Expr + ") FROM (SELECT " + strings.Join(values, ", ") + ") AS windlass_row"
	if err := c.dev.db.QueryRowContext(ctx, q).Scan(&fails); err != nil {
		return false // it can't be told, so it is a finding
	}
	return !fails.Bool
}

func quoteName(d Dialect, name string) string {
	if d == Postgres {
		return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
	}
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// planned goes from a state to another for which there are no statements: Atlas plans them.
func (c *checker) planned(ctx context.Context) error {
	if err := c.copyFrom(ctx); err != nil {
		return err
	}
	want, err := c.stateOf(ctx, c.to)
	if err != nil {
		return err
	}
	d, err := c.base.diff(want, c.dev.drv)
	if err != nil {
		return c.dev.wrong("can't be compared", err)
	}
	stmts, err := c.plan(ctx, d.changes)
	if err != nil {
		return err
	}
	if err := c.steps(ctx, stmts); err != nil {
		return err
	}
	// What Atlas plans no statements for is judged by itself.
	if c.from.kind != Live || c.to.kind != Live {
		d = withoutGrants(d)
	}
	d.changes = nil
	c.judge(ctx, Statement{}, c.base, want, d)
	c.locate()
	return nil
}

func (c *checker) plan(ctx context.Context, changes []schema.Change) ([]Statement, error) {
	if len(changes) == 0 {
		return nil, nil
	}
	var opts []migrate.PlanOption
	if c.Dialect == MySQL {
		none := ""
		opts = append(opts, func(o *migrate.PlanOptions) { o.SchemaQualifier = &none })
	}
	p, err := c.dev.drv.PlanChanges(ctx, "windlass", changes, opts...)
	if err != nil {
		return nil, &Error{What: "no statements could be planned for the difference", Hint: "give --from and --to as folders of migrations", Err: err}
	}
	var out []Statement
	for _, ch := range p.Changes {
		out = append(out, Statement{SQL: ch.Cmd})
	}
	return out, nil
}

// copyFrom makes the development database what --from is.
func (c *checker) copyFrom(ctx context.Context) error {
	var err error
	if c.from.kind != Live {
		if err := c.replay(ctx, all(c.from.files)); err != nil {
			return err
		}
		c.base, err = c.dev.state(ctx)
		return err
	}
	want, err := c.stateOf(ctx, c.from)
	if err != nil {
		return err
	}
	empty, err := c.dev.state(ctx)
	if err != nil {
		return err
	}
	d, err := empty.diff(want, c.dev.drv)
	if err != nil {
		return c.dev.wrong("can't be compared", err)
	}
	stmts, err := c.plan(ctx, d.changes)
	if err != nil {
		return err
	}
	for _, s := range stmts {
		if _, err := c.dev.conn.ExecContext(ctx, s.SQL); err != nil {
			return &Error{Where: "--from", What: fmt.Sprintf("can't be copied to the development server: %q", s.Short()), Hint: "make what it needs there (extensions, types), or give the folder of migrations that made it", Err: c.dev.server.clean(err)}
		}
	}
	c.base = want
	return nil
}

// compareLive judges two live databases without a development server: by what is, not by how it comes about.
func (c *checker) compareLive(ctx context.Context) error {
	var err error
	if c.base, err = c.stateOf(ctx, c.from); err != nil {
		return err
	}
	after, err := c.stateOf(ctx, c.to)
	if err != nil {
		return err
	}
	drv, err := driver(c.Dialect, c.live)
	if err != nil {
		return &Error{Where: "--from", What: "can't be inspected", Hint: "see the account's rights", Err: c.from.dsn.clean(err)}
	}
	d, err := c.base.diff(after, drv)
	if err != nil {
		return &Error{What: "the two can't be compared", Hint: "see that both are of the same dialect and version", Err: err}
	}
	c.judge(ctx, Statement{}, c.base, after, d)
	c.report.Findings = append(c.report.Findings, Statement{}.finding("unknown-lock", "statement", "", "no development server was given"))
	return nil
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

// String says what differs, in short.
func (d diff) String() string {
	var out []string
	for _, ch := range d.changes {
		switch ch := ch.(type) {
		case *schema.AddTable:
			out = append(out, "table "+tableName(ch.T)+" is more")
		case *schema.DropTable:
			out = append(out, "table "+tableName(ch.T)+" is missing")
		case *schema.ModifyTable:
			out = append(out, "table "+tableName(ch.T)+" differs")
		default:
			out = append(out, strings.TrimPrefix(fmt.Sprintf("%T", ch), "*schema."))
		}
	}
	for _, e := range d.came {
		out = append(out, e.object()+" is more")
	}
	for _, e := range d.gone {
		out = append(out, e.object()+" is missing")
	}
	for _, e := range d.other {
		out = append(out, e.object()+" differs")
	}
	if len(out) > 5 {
		out = append(out[:5], fmt.Sprintf("and %d more", len(out)-5))
	}
	return strings.Join(out, ", ")
}
