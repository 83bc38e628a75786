package schema

import (
	"context"
	"crypto/rand"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// A table is sampled so often, for at most so long; a sample has as many rows as make about so many bytes, so that it pays for the log
// that it writes as the whole table would (PostgreSQL syncs its log every 16 MiB).
const (
	sampleTimes = 3
	sampleBytes = 16 << 20
	sampleRows  = 20000 // at least
	sampleLimit = 20 * time.Second
)

// The real time is taken to lie between these parts of the fastest sample's and the slowest one's: sorts and logs grow faster than rows,
// checkpoints and other load come and go. What samples differ by is more of it on top, up to so many times.
const sampleBelow, sampleAbove, sampleSpread = 0.6, 2.0, 3.0

// samplePrefix begins the names of the tables that samples are written to. On PostgreSQL they are rolled back; on MySQL a session lock of
// their name says that a check works on them, and the next check drops those that have none.
const samplePrefix = "windlass_sample_"

// work is what a statement does to a table, for its time.
type work struct {
	index   string // the statement, if it builds an index
	rewrite bool   // it writes all rows; else it reads them
	copies  bool   // with ALGORITHM=COPY
	more    bool   // it does more than what is timed
}

var buildsIndex = regexp.MustCompile(`(?i)\b(UNIQUE|PRIMARY\s+KEY|EXCLUDE)\b`)

func workOf(f Finding) work {
	text := masked(f.Statement)
	index := indexName.MatchString(text)
	switch f.Rule {
	case "constraint-not-valid":
		return work{more: true} // the table that a key refers to is read too
	case "scan-under-lock":
		if !buildsIndex.MatchString(text) {
			return work{}
		}
		return work{index: "some"}
	case "backfill-in-one-statement":
		return work{rewrite: true, more: true}
	}
	if index {
		return work{index: f.Statement}
	}
	if verb(f.Statement, 1) == "REFRESH" {
		return work{rewrite: true, more: true} // its query takes time too
	}
	return work{rewrite: true, copies: f.Rule == "copy-algorithm"}
}

func (w work) String() string {
	switch {
	case w.index != "":
		return "building an index"
	case w.rewrite:
		return "rebuilding, with all indexes,"
	}
	return "reading"
}

// sampler takes samples of one table.
type sampler struct {
	dialect    Dialect
	conn       *sql.Conn
	from, into string // quoted
	rows       int64  // of from
	take       int64  // of them, in a sample
	work       work
	columns    []string // quoted, but for those that the server computes
	temporary  bool     // what is written goes to no log
}

// sample times the work on parts of the table and scales it to all rows. What fails is told in Basis: it is no reason to end the check.
func (c *checker) sample(ctx context.Context, table string, w work, e *Estimate) {
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	err := c.samples(ctx, table, w, e)
	if err != nil {
		*e = Estimate{Rows: e.Rows, Bytes: e.Bytes, Basis: "its time was not measured: " + c.liveDSN.clean(err).Error()}
	}
}

func (c *checker) samples(ctx context.Context, table string, w work, e *Estimate) error {
	if e.Rows == 0 {
		return errors.New("the server's statistics know no rows (ANALYZE makes them)")
	}
	conn, err := c.live.Conn(ctx)
	if err != nil {
		return err
	}
	// What the session was set to must not come back to the pool.
	defer conn.Close()
	defer func() { _ = conn.Raw(func(any) error { return sqldriver.ErrBadConn }) }()
	s := &sampler{dialect: c.Dialect, conn: conn, rows: e.Rows, work: w, take: max(sampleRows, e.Rows*sampleBytes/max(e.Bytes, 1))}
	var parts []string
	for _, p := range strings.Split(table, ".") {
		parts = append(parts, quoteName(c.Dialect, p))
	}
	s.from = strings.Join(parts, ".")
	var b [6]byte
	if _, err := rand.Read(b[:]); err != nil {
		return err
	}
	name := samplePrefix + hex.EncodeToString(b[:])
	parts[len(parts)-1] = quoteName(c.Dialect, name)
	s.into = strings.Join(parts, ".")
	if err := s.prepare(ctx, table, name); err != nil {
		return err
	}
	var rates []float64
	var rows int64
	var seconds float64
	for i := 0; i < sampleTimes; i++ {
		took, n, err := s.once(ctx, i)
		if err != nil && !s.temporary && i == 0 && ctx.Err() == nil && (w.rewrite || w.index != "") {
			s.temporary = true // it may not write a table here
			took, n, err = s.once(ctx, i)
		}
		if err != nil && (len(rates) == 0 || ctx.Err() == nil) {
			return err
		}
		if err != nil {
			break
		}
		if n > 0 {
			rates, rows, seconds = append(rates, took.Seconds()/float64(n)), rows+n, seconds+took.Seconds()
		}
	}
	if len(rates) == 0 {
		return errors.New("samples were empty")
	}
	all := float64(e.Rows)
	fastest, slowest := slices.Min(rates), slices.Max(rates)
	spread := min(slowest/fastest, sampleSpread) // how much the server's other work did to three samples it may do again to all rows
	e.Seconds, e.Low, e.High = seconds/float64(rows)*all, sampleBelow*fastest*all, sampleAbove*spread*slowest*all
	e.Basis = fmt.Sprintf("from %s %d rows in %d samples, of which the slowest took %.1f times as long as the fastest: from %g of the fastest to %.1f times the slowest; waiting for locks, a cold cache and more load than now come on top",
		w, rows, len(rates), slowest/fastest, sampleBelow, sampleAbove*spread)
	if s.temporary {
		w.more = true
		e.Basis = fmt.Sprintf("from %s %d rows in %d samples in a temporary table, since the account may make no other one: without what the server writes to its log", w, rows, len(rates))
	}
	if e.AtLeast = w.more; w.more {
		e.Low, e.High = e.Seconds, 0
	}
	return nil
}

// prepare sets the session up, and on MySQL drops what killed checks left.
func (s *sampler) prepare(ctx context.Context, table, name string) error {
	q := "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid=$1::regclass AND attnum>0 AND NOT attisdropped ORDER BY attnum"
	arg := s.from
	if s.dialect == MySQL {
		arg = table
		q = "SELECT CONCAT('`',REPLACE(COLUMN_NAME,'`','``'),'`') FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME=? AND COALESCE(GENERATION_EXPRESSION,'')='' ORDER BY ORDINAL_POSITION"
	}
	rows, err := s.conn.QueryContext(ctx, q, arg)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			return err
		}
		s.columns = append(s.columns, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if s.dialect == Postgres || !s.work.rewrite && s.work.index == "" {
		return nil
	}
	return s.prepareMySQL(ctx, name)
}

func (s *sampler) prepareMySQL(ctx context.Context, name string) error {
	// INSERT ... SELECT must not lock the rows that it reads.
	if _, err := s.conn.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"); err != nil {
		return err
	}
	// The sample must not go to replicas or other members, so it is written nowhere if that can't be kept.
	var logged bool
	var wsrep sql.NullString
	var ignored string
	if err := s.conn.QueryRowContext(ctx, "SELECT @@log_bin").Scan(&logged); err != nil {
		return err
	}
	if err := s.conn.QueryRowContext(ctx, "SHOW VARIABLES LIKE 'wsrep_on'").Scan(&ignored, &wsrep); err != nil && err != sql.ErrNoRows {
		return err
	}
	if logged {
		if _, err := s.conn.ExecContext(ctx, "SET SESSION sql_log_bin=0"); err != nil {
			s.temporary = true
		}
	}
	if s.temporary = s.temporary || strings.EqualFold(wsrep.String, "ON"); s.temporary {
		return nil
	}
	left, err := s.conn.QueryContext(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME LIKE ? AND IS_FREE_LOCK(TABLE_NAME)=1", strings.ReplaceAll(samplePrefix, "_", `\_`)+"%")
	if err != nil {
		return err
	}
	defer left.Close()
	var names []string
	for left.Next() {
		var n string
		if err := left.Scan(&n); err != nil {
			return err
		}
		names = append(names, n)
	}
	if err := left.Err(); err != nil {
		return err
	}
	for _, n := range names {
		if _, err := s.conn.ExecContext(ctx, "DROP TABLE IF EXISTS "+quoteName(MySQL, n)); err != nil {
			return err
		}
	}
	var got sql.NullInt64
	if err := s.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?,0)", name).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("the lock of the sample's name is taken")
	}
	return nil
}

// once takes one sample: how long the work took, on how many rows.
func (s *sampler) once(ctx context.Context, seed int) (time.Duration, int64, error) {
	part := fmt.Sprintf("%s LIMIT %d", s.from, s.take)
	if s.dialect == Postgres {
		percent := 100.0
		if s.rows > s.take {
			percent = 100 * float64(s.take) / float64(s.rows)
		}
		part = fmt.Sprintf("%s TABLESAMPLE SYSTEM (%g) REPEATABLE (%d)", s.from, percent, seed)
	}
	if !s.work.rewrite && s.work.index == "" {
		var n int64
		begin := time.Now()
		err := s.conn.QueryRowContext(ctx, "SELECT count(*) FROM (SELECT * FROM "+part+") AS windlass_sample").Scan(&n)
		return time.Since(begin), n, err
	}
	if s.dialect == Postgres {
		return s.oncePostgres(ctx, part)
	}
	return s.onceMySQL(ctx, part)
}

// oncePostgres makes the table in a transaction that is rolled back, so that nothing is left, whatever happens, and no subscriber of a
// publication sees it. Its log is written all the same.
func (s *sampler) oncePostgres(ctx context.Context, part string) (took time.Duration, n int64, err error) {
	tx, err := s.conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer tx.Rollback() //nolint:errcheck // what it did ends with its session, too
	create, into := "CREATE TABLE ", s.into
	if s.temporary {
		create, into = "CREATE TEMPORARY TABLE ", into[strings.LastIndex(into, ".")+1:]
	}
	like, does := " INCLUDING INDEXES", "ALTER TABLE "+into+" ADD COLUMN windlass_rewrites int DEFAULT (random())::int"
	if s.work.index != "" {
		like, does = "", s.indexed(s.work.index, into)
	}
	for _, q := range []string{"SET LOCAL lock_timeout='2s'", create + into + " (LIKE " + s.from + like + ")"} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return 0, 0, err
		}
	}
	names := strings.Join(s.columns, ", ")
	done, err := tx.ExecContext(ctx, "INSERT INTO "+into+" ("+names+") SELECT "+names+" FROM "+part)
	if err != nil {
		return 0, 0, err
	}
	if n, err = done.RowsAffected(); err != nil {
		return 0, 0, err
	}
	if s.work.index != "" { // the index may be of a column that the migration adds
		if _, err := tx.ExecContext(ctx, "SAVEPOINT windlass"); err != nil {
			return 0, 0, err
		}
	}
	begin := time.Now()
	_, err = tx.ExecContext(ctx, does)
	if err != nil && s.work.index != "" && ctx.Err() == nil {
		if _, err := tx.ExecContext(ctx, "ROLLBACK TO windlass"); err != nil {
			return 0, 0, err
		}
		begin = time.Now()
		_, err = tx.ExecContext(ctx, s.indexed("", into))
	}
	return time.Since(begin), n, err
}

// onceMySQL makes a table, of which the session's lock says that it is ours, and drops it.
func (s *sampler) onceMySQL(ctx context.Context, part string) (took time.Duration, n int64, err error) {
	temporary := ""
	if s.temporary {
		temporary = "TEMPORARY "
	}
	defer func() {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, e := s.conn.ExecContext(end, "DROP "+temporary+"TABLE IF EXISTS "+s.into); err == nil {
			err = e
		}
	}()
	if _, err := s.conn.ExecContext(ctx, "CREATE "+temporary+"TABLE "+s.into+" LIKE "+s.from); err != nil {
		return 0, 0, err
	}
	names := strings.Join(s.columns, ", ")
	done, err := s.conn.ExecContext(ctx, "INSERT INTO "+s.into+" ("+names+") SELECT "+names+" FROM "+part)
	if err != nil {
		return 0, 0, err
	}
	if n, err = done.RowsAffected(); err != nil {
		return 0, 0, err
	}
	// Temporary tables are copied in any case, and a build in place is not offered for each: then the server chooses.
	ways := []string{"ALTER TABLE " + s.into + " FORCE, ALGORITHM=INPLACE", "ALTER TABLE " + s.into + " FORCE"}
	switch {
	case s.work.index != "":
		ways = []string{s.indexed(s.work.index, s.into), s.indexed("", s.into)}
	case s.work.copies || s.temporary:
		ways = []string{"ALTER TABLE " + s.into + " FORCE, ALGORITHM=COPY"}
	}
	for _, way := range ways {
		begin := time.Now()
		if _, err = s.conn.ExecContext(ctx, way); err == nil {
			return time.Since(begin), n, nil
		}
	}
	return 0, 0, err
}

const aName = "(?:\"[^\"]+\"|`[^`]+`|[\\w$]+)"

// indexName finds in a CREATE INDEX what kind it is of (1) and the table's name (2).
var indexName = regexp.MustCompile(`(?is)^\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:(UNIQUE|FULLTEXT|SPATIAL)\s+)?INDEX\s+(?:IF\s+NOT\s+EXISTS\s+)?(?:` + aName + `\s+)?ON\s+(?:ONLY\s+)?((?:` + aName + `\s*\.\s*)?` + aName + `)`)

// indexed is a CREATE INDEX for another table; one over its first column if the statement is none that can be read.
func (s *sampler) indexed(statement, table string) string {
	at, name := indexName.FindStringSubmatchIndex(masked(statement)), ""
	if s.dialect == MySQL {
		name = samplePrefix + "index " // of its table alone; on PostgreSQL the server makes one up
	}
	if at == nil {
		return "CREATE INDEX " + name + "ON " + table + " (" + s.columns[0] + ")"
	}
	kind := ""
	if at[2] >= 0 {
		kind = statement[at[2]:at[3]] + " "
	}
	return "CREATE " + kind + "INDEX " + name + "ON " + table + statement[at[5]:]
}
