package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

// TableLock is what a statement did to one table, as the development server showed.
type TableLock struct {
	Table        string `json:"table"`
	Mode         string `json:"mode"` // PostgreSQL's lock, or MySQL's ALGORITHM and LOCK
	BlocksReads  bool   `json:"blocks_reads"`
	BlocksWrites bool   `json:"blocks_writes"`
	Rewrites     bool   `json:"rewrites"` // the table is written anew
	Scans        bool   `json:"scans"`    // the table is read from its beginning to its end
}

// Step is a statement with what it locks. Unmeasured says why nothing was measured, or is empty.
type Step struct {
	Statement  Statement   `json:"statement"`
	Locks      []TableLock `json:"locks,omitempty"`
	Unmeasured string      `json:"unmeasured,omitempty"`
	calls      []string    // tables that it writes rows of by what it calls, and not by its own words
	noTimeout  bool        // it would wait for its lock without end
}

// run runs a statement on the development database, and measures what it locks if known tells that an old node knows its tables.
func (d *dev) run(ctx context.Context, s Statement, measure bool, known func(table string) bool) (Step, error) {
	step := Step{Statement: s}
	if err := d.refuse(s); err != nil {
		return step, err
	}
	var err error
	switch {
	case transactional(s.SQL):
		return step, nil // every statement is committed alone: an old node may meet the state after it
	case !measure:
		_, err = d.conn.ExecContext(ctx, s.SQL)
	case d.dialect == Postgres:
		err = d.measurePostgres(ctx, &step)
	default:
		err = d.measureMySQL(ctx, &step, known)
	}
	if err != nil {
		return step, d.failed(s, err)
	}
	return step, nil
}

// failed says which statement failed, with the line in it that PostgreSQL names.
func (d *dev) failed(s Statement, err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Position > 0 && s.Line > 0 {
		if r := []rune(s.SQL); int(pg.Position) <= len(r) {
			s.Line += strings.Count(string(r[:pg.Position-1]), "\n")
		}
	}
	hint := "mend the migration; if it is right, see that the development server has the production server's version and extensions"
	if s.File == "" {
		hint = "give --from and --to as folders of migrations: this statement was planned from the difference of two schemas"
	}
	return &Error{Where: s.Where(), What: fmt.Sprintf("%q fails on the development server (%s %s)", s.Short(), d.dialect, d.version), Hint: hint, Err: d.server.clean(err), Usage: s.File != ""}
}

var noTransaction = regexp.MustCompile(`(?is)^\s*(CREATE\s+(UNIQUE\s+)?INDEX\s+CONCURRENTLY|DROP\s+INDEX\s+CONCURRENTLY|REINDEX\b.*\bCONCURRENTLY|REINDEX\s+(DATABASE|SYSTEM)|VACUUM|ALTER\s+TABLE\b.*\bDETACH\s+PARTITION\b.*\bCONCURRENTLY)`)

const pgTables = `SELECT c.oid::int8, n.nspname||'.'||c.relname, c.relfilenode::int8, coalesce(pg_stat_get_xact_numscans(c.oid),0) FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind IN ('r','m','p') AND ` + pgSkip

const pgLocks = `SELECT n.nspname||'.'||c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid=l.relation JOIN pg_namespace n ON n.oid=c.relnamespace
 WHERE l.pid=pg_backend_pid() AND l.locktype='relation' AND l.granted AND c.relkind IN ('r','m','p') AND ` + pgSkip

type pgTable struct {
	name        string
	node, scans int64
}

func pgLook(ctx context.Context, tx *sql.Tx) (map[int64]pgTable, error) {
	rows, err := tx.QueryContext(ctx, pgTables)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[int64]pgTable{}
	for rows.Next() {
		var oid int64
		var t pgTable
		if err := rows.Scan(&oid, &t.name, &t.node, &t.scans); err != nil {
			return nil, err
		}
		out[oid] = t
	}
	return out, rows.Err()
}

// pgStrength orders PostgreSQL's locks.
var pgStrength = map[string]int{"AccessShareLock": 1, "RowShareLock": 2, "RowExclusiveLock": 3, "ShareUpdateExclusiveLock": 4, "ShareLock": 5, "ShareRowExclusiveLock": 6, "ExclusiveLock": 7, "AccessExclusiveLock": 8}

// measurePostgres runs the statement in a transaction, and asks before its end what it holds, what got a new file and what was read whole.
func (d *dev) measurePostgres(ctx context.Context, step *Step) error {
	sql := step.Statement.SQL
	if noTransaction.MatchString(masked(sql)) {
		if !strings.Contains(verb(sql, 8), "CONCURRENTLY") && !strings.HasPrefix(verb(sql, 1), "VACUUM") {
			step.Unmeasured = "it can't run in a transaction"
		}
		_, err := d.conn.ExecContext(ctx, sql)
		return err
	}
	tx, err := d.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit it is none
	before, err := pgLook(ctx, tx)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, sql); err != nil {
		return err
	}
	after, err := pgLook(ctx, tx)
	if err != nil {
		return err
	}
	modes := map[string]string{}
	rows, err := tx.QueryContext(ctx, pgLocks)
	if err != nil {
		return err
	}
	for rows.Next() {
		var table, mode string
		if err := rows.Scan(&table, &mode); err != nil {
			return errors.Join(err, rows.Close())
		}
		if pgStrength[mode] > pgStrength[modes[table]] {
			modes[table] = mode
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, oid := range slices.SortedFunc(maps.Keys(before), func(a, b int64) int { return strings.Compare(before[a].name, before[b].name) }) {
		t := before[oid]
		now, still := after[oid]
		mode := modes[t.name]
		if still && mode == "RowExclusiveLock" && callsOthers(sql) {
			step.calls = append(step.calls, t.name)
		}
		if still && mode == "" {
			mode = modes[now.name]
		}
		if !still || pgStrength[mode] < pgStrength["ShareUpdateExclusiveLock"] {
			continue
		}
		step.Locks = append(step.Locks, TableLock{Table: t.name, Mode: mode, BlocksReads: pgStrength[mode] == 8, BlocksWrites: pgStrength[mode] >= 5,
			Rewrites: now.node != t.node && now.node != 0, Scans: now.scans > t.scans})
	}
	var timeout string
	if err := tx.QueryRowContext(ctx, "SELECT current_setting('lock_timeout')").Scan(&timeout); err != nil {
		return err
	}
	step.noTimeout = timeout == "0"
	return tx.Commit()
}

var (
	alterTable = regexp.MustCompile("(?is)^\\s*ALTER\\s+(?:ONLINE\\s+|OFFLINE\\s+|IGNORE\\s+)*TABLE\\s+(?:IF\\s+EXISTS\\s+)?`?([\\w$]+)`?")
	indexOn    = regexp.MustCompile("(?is)^\\s*(?:CREATE|DROP)\\s+(?:OR\\s+REPLACE\\s+)?(?:UNIQUE\\s+|FULLTEXT\\s+|SPATIAL\\s+)?INDEX\\s.*?\\sON\\s+`?([\\w$]+)`?")
	ownClause  = regexp.MustCompile(`(?i)\b(ALGORITHM|LOCK)\s*=?\s*(DEFAULT|INSTANT|NOCOPY|INPLACE|COPY|NONE|SHARED|EXCLUSIVE)\b`)
)

// myForms are the ways in which a server may take a statement, in the order in which MySQL and MariaDB choose by themselves: the mildest
// algorithm, and with it the mildest lock.
var myForms = []struct {
	algorithm, lock string
	mariaOnly       bool
}{
	{"INSTANT", "", false}, {"NOCOPY", "NONE", true}, {"NOCOPY", "SHARED", true}, {"INPLACE", "NONE", false}, {"INPLACE", "SHARED", false}, {"COPY", "NONE", true}, {"COPY", "SHARED", false},
}

// measureMySQL asks the server for the mildest form that it takes the statement in, and notes which one it was.
func (d *dev) measureMySQL(ctx context.Context, step *Step, known func(string) bool) error {
	text := step.Statement.SQL
	m := alterTable.FindStringSubmatch(masked(text))
	join := ", "
	if m == nil {
		m, join = indexOn.FindStringSubmatch(masked(text)), " "
	}
	if m == nil || !known(m[1]) {
		if m == nil && calls.MatchString(masked(text)) && verb(text, 1) != "SELECT" {
			step.Unmeasured = "what it runs is not among its words"
		}
		_, err := d.conn.ExecContext(ctx, text)
		return err
	}
	var wait int64
	if err := d.conn.QueryRowContext(ctx, "SELECT @@lock_wait_timeout").Scan(&wait); err != nil {
		return err
	}
	step.noTimeout = wait > 3600
	before := d.innodbID(ctx, m[1])
	lock := TableLock{Table: m[1]}
	algorithm, locked := "", ""
	if own := ownClause.FindAllStringSubmatch(masked(text), -1); own != nil {
		if _, err := d.conn.ExecContext(ctx, text); err != nil {
			return err
		}
		for _, o := range own {
			if strings.EqualFold(o[1], "LOCK") {
				locked = strings.ToUpper(o[2])
			} else {
				algorithm = strings.ToUpper(o[2])
			}
		}
	} else {
		for _, f := range myForms {
			if f.mariaOnly && !d.maria {
				continue
			}
			clause := join + "ALGORITHM=" + f.algorithm
			if f.lock != "" {
				clause += join + "LOCK=" + f.lock
			}
			_, err := d.conn.ExecContext(ctx, text+clause)
			var my *mysql.MySQLError
			if errors.As(err, &my) && declined(my) {
				continue // it does not take it so
			}
			if err == nil {
				algorithm, locked = f.algorithm, f.lock
			}
			break // it took it, or is wrong in another way, which the statement as it was written shows
		}
		if algorithm == "" {
			if _, err := d.conn.ExecContext(ctx, text); err != nil {
				return err
			}
			step.Unmeasured = "the server does not say with which ALGORITHM and LOCK it runs"
		}
	}
	lock.Mode = strings.TrimSpace(algorithm + " " + locked)
	lock.Scans = algorithm != "INSTANT"
	lock.BlocksReads = locked == "EXCLUSIVE"
	lock.BlocksWrites = locked == "EXCLUSIVE" || locked == "SHARED" || algorithm == "COPY" && locked != "NONE"
	after := d.innodbID(ctx, m[1])
	lock.Rewrites = algorithm == "COPY" || algorithm != "INSTANT" && before != 0 && after != 0 && before != after
	if algorithm != "" || locked != "" {
		step.Locks = append(step.Locks, lock)
	}
	return nil
}

// innodbID is the number of a table in InnoDB, which is another after it was built anew; 0 if it is not told.
func (d *dev) innodbID(ctx context.Context, table string) int64 {
	view := "INNODB_TABLES"
	if d.maria {
		view = "INNODB_SYS_TABLES"
	}
	var id int64
	if err := d.conn.QueryRowContext(ctx, "SELECT TABLE_ID FROM information_schema."+view+" WHERE NAME=CONCAT(DATABASE(),'/',?)", table).Scan(&id); err != nil {
		return 0
	}
	return id
}

var (
	constraintWords = regexp.MustCompile(`(?i)\b(CHECK|FOREIGN\s+KEY|REFERENCES)\b`)
	addsColumn      = regexp.MustCompile(`(?is)\bADD\b.*\bDEFAULT\b`)
	vacuumFull      = regexp.MustCompile(`(?i)^\s*(VACUUM\s*(\([^)]*\bFULL\b|FULL\b)|CLUSTER\b)`)
	changesRows     = regexp.MustCompile(`(?i)^\s*(UPDATE|DELETE|INSERT\b[^;]*\bSELECT\b[^;]*\bFROM|REPLACE\b[^;]*\bSELECT\b[^;]*\bFROM|MERGE|WITH\b[^;]*\b(UPDATE|DELETE|INSERT))\b`)
	deletesFrom     = regexp.MustCompile("(?is)^\\s*(?:WITH\\b.*\\b)?DELETE\\s+(?:LOW_PRIORITY\\s+|QUICK\\s+|IGNORE\\s+)*FROM\\s+(?:ONLY\\s+)?(?:" + aName + "\\s*\\.\\s*)?(" + aName + ")")
	truncatesPart   = regexp.MustCompile(`(?is)^\s*ALTER\s+TABLE\b.*\b(TRUNCATE|EXCHANGE|DISCARD)\s+PARTITION\b`)
	truncates       = regexp.MustCompile("(?i)^\\s*TRUNCATE\\s+(?:TABLE\\s+)?(?:ONLY\\s+)?[`\"]?([\\w$]+)")
)

var (
	calls     = regexp.MustCompile(`(?is)^\s*(DO|CALL|SELECT|EXECUTE|VALUES)\b`)
	doBlock   = regexp.MustCompile(`(?is)^\s*DO\b`)
	rowsWords = regexp.MustCompile(`(?i)\b(UPDATE|DELETE|MERGE|EXECUTE|PERFORM|CALL)\b`)
)

// callsOthers tells whether rows that a statement of PostgreSQL writes may be written by an UPDATE or a DELETE of which it does not say so itself.
// A DO block that only inserts does neither.
func callsOthers(sql string) bool {
	text := masked(sql)
	return calls.MatchString(text) && (!doBlock.MatchString(text) || rowsWords.MatchString(sql))
}

// lockFindings are what the rules say of a statement's locks, on tables that an old node knows.
func (step Step) lockFindings(d Dialect, base *state) []Finding {
	var out []Finding
	s := step.Statement
	text := masked(s.SQL)
	if step.Unmeasured != "" {
		out = append(out, s.finding("unknown-lock", "statement", "", step.Unmeasured))
	}
	for _, l := range step.Locks {
		kind := base.kind(l.Table)
		if kind == "" || kind == "materialized view" && !l.BlocksReads { // a view has no writers but its own REFRESH
			continue
		}
		rule := ""
		switch {
		case d == MySQL && l.BlocksWrites && strings.HasPrefix(l.Mode, "COPY"):
			rule = "copy-algorithm"
		case d == MySQL && l.BlocksWrites:
			rule = "blocks-writes"
		case d == MySQL && l.Rewrites:
			rule = "online-rebuild"
		case truncates.MatchString(text) || d == MySQL:
		case l.Rewrites && l.BlocksWrites && addsColumn.MatchString(text):
			rule = "volatile-default"
		case l.Rewrites && l.BlocksWrites:
			rule = "rewrite-table"
		case l.Scans && l.BlocksWrites && strings.Contains(verb(s.SQL, 3), "INDEX"):
			rule = "index-not-concurrent"
		case l.Scans && l.BlocksWrites && constraintWords.MatchString(text):
			rule = "constraint-not-valid"
		case l.Scans && l.BlocksWrites:
			rule = "scan-under-lock"
		}
		switch {
		case rule != "":
			out = append(out, s.finding(rule, "table "+l.Table, l.Table, l.Mode))
		case step.noTimeout && (l.BlocksWrites || d == MySQL) && kind != "partition":
			out = append(out, s.finding("missing-lock-timeout", "table "+l.Table, l.Table, l.Mode))
		}
	}
	for _, name := range step.calls {
		if base.table(name) != nil {
			out = append(out, s.finding("backfill-in-one-statement", "table "+name, name, "what it calls writes to it, and how many rows can't be seen"))
		}
	}
	if m := deletesFrom.FindStringSubmatch(text); m != nil {
		for _, t := range base.tables() {
			if strings.EqualFold(strings.Trim(m[1], "`\""), t.Name) {
				return append(out, s.finding("delete-rows", "table "+tableName(t), tableName(t), ""))
			}
		}
	}
	for _, t := range base.tables() {
		name := tableName(t)
		switch {
		case !mentions(text, t.Name):
		case bounded(text, t): // a step of a backfill
		case changesRows.MatchString(text):
			out = append(out, s.finding("backfill-in-one-statement", "table "+name, name, ""))
			return out
		case vacuumFull.MatchString(text):
			out = append(out, s.finding("rewrite-table", "table "+name, name, "AccessExclusiveLock"))
		case truncates.MatchString(text), truncatesPart.MatchString(text):
			out = append(out, s.finding("truncate-table", "table "+name, name, ""))
		}
	}
	return out
}
