package schema

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// States of a statement in the journal.
const (
	stateNone  = ""
	stateBegun = "begun"
	stateDone  = "done"
)

// execer is a connection, or a transaction on it.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// begin makes the journal, raises its term to ours, and sets the session's waits.
func (a *applier) begin(ctx context.Context) error {
	if err := a.alone(ctx); err != nil {
		return err
	}
	// The journal is named with its schema: a migration may set another search_path, or none, for what comes after it.
	a.journal = JournalTable
	if a.Dialect == Postgres {
		var schema sql.NullString
		if err := a.conn.QueryRowContext(ctx, "SELECT quote_ident(current_schema())").Scan(&schema); err != nil {
			return a.wrong("does not tell its schema", err)
		}
		if !schema.Valid {
			return &Error{Where: a.dsn.String(), What: "has no schema for the journal: none of the account's search_path is there", Hint: "ALTER ROLE … SET search_path, or make the schema, and run again"}
		}
		a.journal = schema.String + "." + JournalTable
	}
	setup := []string{
		"CREATE TABLE IF NOT EXISTS " + a.journal + " (file varchar(255) NOT NULL, n int NOT NULL, state varchar(10) NOT NULL, term bigint NOT NULL, statement text NOT NULL, at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, PRIMARY KEY (file, n))",
	}
	if a.Dialect == Postgres {
		setup = append(setup, fmt.Sprintf("SET lock_timeout='%dms'", a.LockTimeout.Milliseconds()), "INSERT INTO "+a.journal+" (file,n,state,term,statement) VALUES ('',0,'term',0,'') ON CONFLICT DO NOTHING")
	} else {
		setup = append(setup, fmt.Sprintf("SET SESSION lock_wait_timeout=%d, innodb_lock_wait_timeout=%d", seconds(a), seconds(a)), "INSERT IGNORE INTO "+a.journal+" (file,n,state,term,statement) VALUES ('',0,'term',0,'')")
	}
	for _, s := range setup {
		if _, err := a.conn.ExecContext(ctx, s); err != nil {
			return a.wrong("can't keep a journal", err)
		}
	}
	if _, err := a.conn.ExecContext(ctx, fmt.Sprintf("UPDATE %s SET term=%d WHERE file='' AND term<%d", a.journal, a.Term, a.Term)); err != nil {
		return a.wrong("can't keep a journal", err)
	}
	return a.fence(ctx)
}

// alone waits for the session's lock. A statement goes on in the server when its client was killed, and the lock with it: whoever comes
// next waits for its end, and does not take its index for one that was left.
func (a *applier) alone(ctx context.Context) error {
	q := "SELECT CASE WHEN pg_try_advisory_lock(hashtext('" + JournalTable + "')) THEN 1 ELSE 0 END"
	if a.Dialect == MySQL {
		q = "SELECT COALESCE(GET_LOCK(CONCAT(DATABASE(),'." + JournalTable + "'),0),0)"
	}
	for try := 1; ; try++ {
		var got int
		if err := a.conn.QueryRowContext(ctx, q).Scan(&got); err != nil {
			return a.wrong("does not give the lock of migrations", err)
		}
		if got == 1 {
			return nil
		}
		if try == a.Tries {
			return &Error{Where: a.dsn.String(), What: "another run applies migrations, or a statement of one that was killed still runs", Hint: "wait for its end (pg_stat_activity, SHOW PROCESSLIST), and run again"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.Backoff):
		}
	}
}

func seconds(a *applier) int { return max(1, int(a.LockTimeout.Seconds()+0.5)) }

// fence sees that no higher term was here.
func (a *applier) fence(ctx context.Context) error {
	var term int64
	if err := a.conn.QueryRowContext(ctx, "SELECT term FROM "+a.journal+" WHERE file=''").Scan(&term); err != nil {
		return a.wrong("does not show its journal", err)
	}
	if term > a.Term {
		return fmt.Errorf("%s: term %d, ours is %d: %w", a.dsn, term, a.Term, ErrFenced)
	}
	return nil
}

// readJournal reads the state of every statement by its entry's key. A journal that is not there is one without entries.
func readJournal(ctx context.Context, d dsn, db *sql.DB) (map[string]string, error) {
	there := "SELECT to_regclass('" + JournalTable + "') IS NOT NULL"
	if d.dialect == MySQL {
		there = "SELECT COUNT(*)>0 FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='" + JournalTable + "'"
	}
	wrong := func(err error) error {
		return &Error{Where: d.String(), What: "does not show its journal", Hint: "see the account's rights on " + JournalTable, Err: d.clean(err)}
	}
	out := map[string]string{}
	var is bool
	if err := db.QueryRowContext(ctx, there).Scan(&is); err != nil {
		return nil, wrong(err)
	}
	if !is {
		return out, nil
	}
	rows, err := db.QueryContext(ctx, "SELECT file, n, state FROM "+JournalTable+" WHERE file<>''")
	if err != nil {
		return nil, wrong(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e entry
		var state string
		if err := rows.Scan(&e.file, &e.n, &state); err != nil {
			return nil, wrong(err)
		}
		out[e.key()] = state
	}
	if err := rows.Err(); err != nil {
		return nil, wrong(err)
	}
	return out, nil
}

// look reads what the journal says of a statement, and refuses one that was changed since it was applied.
func (a *applier) look(ctx context.Context, e entry) (string, error) {
	if err := a.fence(ctx); err != nil {
		return "", err
	}
	var state, text string
	err := a.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT state, statement FROM %s WHERE file=%s AND n=%d", a.journal, a.literal(e.file), e.n)).Scan(&state, &text)
	if err == sql.ErrNoRows {
		return stateNone, nil
	}
	if err != nil {
		return "", a.wrong("does not show its journal", err)
	}
	if text != e.SQL {
		return "", &Error{Where: e.Where(), What: fmt.Sprintf("is not the statement that was applied, which is %q", short(text)), Hint: "a migration that was applied is not edited: write a new one", Usage: true}
	}
	return state, nil
}

// note writes a statement's state, unless a higher term is there: the row of the term is read and locked in the same statement.
func (a *applier) note(ctx context.Context, x execer, e entry, state string) error {
	up := "ON CONFLICT (file,n) DO UPDATE SET state=excluded.state, term=excluded.term, at=CURRENT_TIMESTAMP"
	lock := " FOR SHARE"
	if a.Dialect == MySQL {
		up, lock = "ON DUPLICATE KEY UPDATE state=VALUES(state), term=VALUES(term), at=CURRENT_TIMESTAMP", ""
	}
	q := fmt.Sprintf("INSERT INTO %s (file,n,state,term,statement) SELECT %s, %d, '%s', %d, %s FROM (SELECT term FROM %s WHERE file='' AND term<=%d%s) AS held %s",
		a.journal, a.literal(e.file), e.n, state, a.Term, a.literal(e.SQL), a.journal, a.Term, lock, up)
	r, err := x.ExecContext(ctx, q)
	if err != nil {
		return a.wrong("does not take an entry into its journal", err)
	}
	if n, err := r.RowsAffected(); err != nil || n == 0 {
		return fmt.Errorf("%s: %w", a.dsn, ErrFenced)
	}
	return nil
}

// literal quotes a text for the server: parameters would need prepared statements, which DDL's transactions and poolers don't like.
func (a *applier) literal(s string) string {
	if a.Dialect == MySQL {
		return "CONVERT(X'" + fmt.Sprintf("%x", s) + "' USING utf8mb4)"
	}
	return "convert_from('\\x" + fmt.Sprintf("%x", s) + "'::bytea,'UTF8')"
}

var concurrentDrop = regexp.MustCompile(`(?is)^\s*DROP\s+INDEX\s+CONCURRENTLY\s+(?:IF\s+EXISTS\s+)?([\w$."]+)\s*(?:CASCADE|RESTRICT)?\s*$`)

var concurrentIndex = regexp.MustCompile(`(?is)^\s*CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:IF\s+NOT\s+EXISTS\s+)?([\w$."]+)\s+ON\s`)

// pgIndex asks for an index by the name that its statement gives: whether it is there, and whether it is valid.
func (a *applier) pgIndex(ctx context.Context, e entry) (name string, there, valid bool, err error) {
	m := concurrentIndex.FindStringSubmatch(masked(e.SQL))
	if m == nil {
		return "", false, false, nil
	}
	if strings.EqualFold(m[1], "ON") {
		return "", false, false, &Error{Where: e.Where(), What: "CREATE INDEX CONCURRENTLY without a name can't be resumed", Hint: "give the index a name", Usage: true}
	}
	err = a.conn.QueryRowContext(ctx, "SELECT indisvalid FROM pg_index WHERE indexrelid=to_regclass("+a.literal(m[1])+")").Scan(&valid)
	if err == sql.ErrNoRows {
		return m[1], false, false, nil
	}
	if err != nil {
		return "", false, false, a.wrong("does not show its indexes", err)
	}
	return m[1], true, valid, nil
}

// clear drops the invalid index that a killed CREATE INDEX CONCURRENTLY left (trap 40): one that is in our way and of our statement.
func (a *applier) clear(ctx context.Context, e entry) error {
	if a.Dialect != Postgres {
		return nil
	}
	name, there, valid, err := a.pgIndex(ctx, e)
	if err != nil || !there || valid {
		return err
	}
	if err := a.tell("drops the invalid index " + name); err != nil {
		return err
	}
	if _, err := a.conn.ExecContext(ctx, "DROP INDEX CONCURRENTLY IF EXISTS "+name); err != nil {
		return err
	}
	return a.point("cleared")
}

var (
	myCreateTable  = regexp.MustCompile("(?is)^\\s*CREATE\\s+TABLE\\s+(?:IF\\s+NOT\\s+EXISTS\\s+)?`?([\\w$]+)`?")
	myCreateIndex  = regexp.MustCompile("(?is)^\\s*CREATE\\s+(?:UNIQUE\\s+|FULLTEXT\\s+|SPATIAL\\s+)?INDEX\\s+(?:IF\\s+NOT\\s+EXISTS\\s+)?`?([\\w$]+)`?\\s.*?ON\\s+`?([\\w$]+)`?")
	myAddIndex     = regexp.MustCompile("(?is)^\\s*ADD\\s+(?:UNIQUE\\s+|FULLTEXT\\s+|SPATIAL\\s+)?(?:INDEX|KEY)\\s+`?([\\w$]+)`?\\s*\\(")
	myAddKey       = regexp.MustCompile("(?is)^\\s*ADD\\s+CONSTRAINT\\s+`?([\\w$]+)`?\\s")
	myAddColumn    = regexp.MustCompile("(?is)^\\s*ADD\\s+(?:COLUMN\\s+)?(?:IF\\s+NOT\\s+EXISTS\\s+)?`?([\\w$]+)`?\\s")
	myDropTable    = regexp.MustCompile("(?is)^\\s*DROP\\s+(?:TABLE|VIEW)\\s+(?:IF\\s+EXISTS\\s+)?`?([\\w$]+)`?")
	myRenameTable  = regexp.MustCompile("(?is)^\\s*RENAME\\s+TABLE\\s+(?:IF\\s+EXISTS\\s+)?`?([\\w$]+)`?\\s")
	myDropIndex    = regexp.MustCompile("(?is)^\\s*DROP\\s+INDEX\\s+(?:IF\\s+EXISTS\\s+)?`?([\\w$]+)`?\\s+ON\\s+`?([\\w$]+)`?")
	myDrop         = regexp.MustCompile("(?is)^\\s*DROP\\s+(COLUMN|INDEX|KEY|FOREIGN\\s+KEY|CONSTRAINT|CHECK)?\\s*(?:IF\\s+EXISTS\\s+)?`?([\\w$]+)`?")
	myRenameColumn = regexp.MustCompile("(?is)^\\s*(?:CHANGE(?:\\s+COLUMN)?|RENAME\\s+COLUMN)\\s+`?([\\w$]+)`?\\s+(?:TO\\s+)?`?([\\w$]+)`?")
	myRenameTo     = regexp.MustCompile(`(?is)^\s*RENAME\s+(?:TO|AS)\s`)
	myCreateView   = regexp.MustCompile("(?is)^\\s*CREATE\\s+VIEW\\s+`?([\\w$]+)`?\\s")
	myCreateOther  = regexp.MustCompile("(?is)^\\s*CREATE\\s+TRIGGER\\s+`?([\\w$]+)`?\\s")
)

// there asks the catalog whether a statement that began has come to its end. On PostgreSQL a statement and its entry are one
// transaction, so one that began and has no end is not there, but for a concurrent index that is made or dropped. On MySQL each DDL statement is whole or not
// at all, and what it makes is looked for by name; what can't be looked for runs again only if that does the same (MODIFY, SET
// DEFAULT, CREATE OR REPLACE), and is refused otherwise.
func (a *applier) there(ctx context.Context, e entry) (bool, error) {
	if a.Dialect == Postgres {
		if m := concurrentDrop.FindStringSubmatch(masked(e.SQL)); m != nil {
			var gone bool
			if err := a.conn.QueryRowContext(ctx, "SELECT to_regclass("+a.literal(m[1])+") IS NULL").Scan(&gone); err != nil {
				return false, a.wrong("does not show its indexes", err)
			}
			return gone, nil
		}
		_, there, valid, err := a.pgIndex(ctx, e)
		return there && valid, err
	}
	if a.together(e) {
		return false, nil
	}
	text := masked(e.SQL)
	count := func(q string, names ...string) (bool, error) {
		for _, n := range names {
			q = strings.Replace(q, "?", a.literal(n), 1)
		}
		var n int
		if err := a.conn.QueryRowContext(ctx, q).Scan(&n); err != nil {
			return false, a.wrong("does not show its catalog", err)
		}
		return n > 0, nil
	}
	const index = "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA=DATABASE() AND INDEX_NAME=? AND TABLE_NAME=?"
	const column = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND COLUMN_NAME=? AND TABLE_NAME=?"
	const table = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=?"
	if m := myCreateTable.FindStringSubmatch(text); m != nil {
		return count(table, m[1])
	}
	if m := myCreateView.FindStringSubmatch(text); m != nil {
		return count("SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=?", m[1])
	}
	if m := myCreateOther.FindStringSubmatch(text); m != nil {
		return count("SELECT COUNT(*) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() AND TRIGGER_NAME=?", m[1])
	}
	if m := myCreateIndex.FindStringSubmatch(text); m != nil {
		return count(index, m[1], m[2])
	}
	gone := func(q string, names ...string) (bool, error) {
		is, err := count(q, names...)
		return !is && err == nil, err
	}
	if m := myDropTable.FindStringSubmatch(text); m != nil {
		return gone(table, m[1])
	}
	if m := myRenameTable.FindStringSubmatch(text); m != nil {
		return gone(table, m[1])
	}
	if m := myDropIndex.FindStringSubmatch(text); m != nil {
		return gone(index, m[1], m[2])
	}
	if m := alterTable.FindStringSubmatch(text); m != nil {
		rest := text[len(alterTable.FindString(text)):]
		if d := myDrop.FindStringSubmatch(rest); d != nil {
			switch kind := strings.ToUpper(strings.Join(strings.Fields(d[1]), " ")); kind {
			case "INDEX", "KEY":
				return gone(index, d[2], m[1])
			case "FOREIGN KEY", "CONSTRAINT", "CHECK":
				return gone("SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA=DATABASE() AND CONSTRAINT_NAME=? AND TABLE_NAME=?", d[2], m[1])
			default:
				return gone(column, d[2], m[1])
			}
		}
		if r := myRenameColumn.FindStringSubmatch(rest); r != nil && !strings.EqualFold(r[1], r[2]) {
			return gone(column, r[1], m[1])
		}
		if r := myRenameTo.FindStringSubmatch(rest); r != nil {
			return gone(table, m[1])
		}
	}
	if m := alterTable.FindStringSubmatch(text); m != nil {
		rest := text[len(alterTable.FindString(text)):]
		switch k, i, c := myAddKey.FindStringSubmatch(rest), myAddIndex.FindStringSubmatch(rest), myAddColumn.FindStringSubmatch(rest); {
		case k != nil:
			return count("SELECT COUNT(*) FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA=DATABASE() AND CONSTRAINT_NAME=? AND TABLE_NAME=?", k[1], m[1])
		case i != nil:
			return count(index, i[1], m[1])
		case c != nil && !anyKeyword.MatchString(c[1]):
			return count(column, c[1], m[1])
		}
	}
	if again.MatchString(text) {
		return false, nil
	}
	return false, &Error{Where: e.Where(), What: fmt.Sprintf("%q began and was cut off, and whether it ended can't be seen", e.Short()),
		Hint: fmt.Sprintf("look, and tell the journal: UPDATE %s SET state='done' (or DELETE FROM it, to run it again) WHERE file='%s' AND n=%d", a.journal, e.file, e.n)}
}

var (
	anyKeyword = regexp.MustCompile(`(?i)^(UNIQUE|PRIMARY|FOREIGN|CHECK|INDEX|KEY|FULLTEXT|SPATIAL|CONSTRAINT|PARTITION)$`)
	again      = regexp.MustCompile(`(?is)^\s*(SET\b|CREATE\s+OR\s+REPLACE\b|ALTER\s+TABLE\s+\S+\s+(MODIFY|ALTER|ENGINE|COMMENT|CONVERT)\b|ANALYZE\b|.*\bIF\s+(NOT\s+)?EXISTS\b)`)
)
