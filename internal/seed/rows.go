package seed

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// batchBytes is the size of one INSERT statement at which it is sent.
const batchBytes = 512 << 10

// Settings of a session that writes rows. Bytes go from column to column as they are: no character set is converted.
const (
	writeRows = "SET SESSION foreign_key_checks=0, sql_mode="
	strict    = "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,STRICT_ALL_TABLES'"
	lax       = "'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'" // the error value of an ENUM is written as such
)

// endOfTime is where the period of a current row of a versioned table ends, or later: versions have different ends.
const endOfTime = "2038-01-19 03:14:07"

// field is one column as it is read and written.
type field struct {
	name string
	read string // expression
	kind quoting
}

type quoting int

const (
	asNumber quoting = iota // digits, as they come
	asBytes                 // a quoted string of bytes
	asText                  // a quoted string of characters: types that read bytes as their inner form
	asUTF8                  // the same, of any characters
)

// fields lists the columns of a table that are copied: all but the computed ones.
func fields(t catalog.Table, end string) []field {
	var out []field
	for _, c := range t.Columns {
		if c.Virtual || c.Stored {
			continue
		}
		f := field{name: c.Name, read: node.Ident(c.Name), kind: asBytes}
		switch c.Type {
		case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
			f.kind = asNumber
		case "float", "double": // a float prints six digits; as a double it prints all that tell it from its neighbours
			f.read, f.kind = node.Ident(c.Name)+"*1e0", asNumber
		case "bit", "enum", "set":
			f.read, f.kind = "CAST("+node.Ident(c.Name)+" AS UNSIGNED)", asNumber
		case "uuid", "inet4", "inet6":
			f.kind = asText
		case "json": // MySQL's own kind of document; MariaDB's is a text of the type longtext
			f.kind = asUTF8
		}
		if c.Name == t.RowEnd {
			f.read = periodEnd(c.Name, end)
		}
		out = append(out, f)
	}
	if t.Versioned && !hasColumn(t, t.RowStart) { // the period's columns are hidden
		out = append(out, field{t.RowStart, node.Ident(t.RowStart), asBytes}, field{t.RowEnd, periodEnd(t.RowEnd, end), asBytes})
	}
	return out
}

func hasColumn(t catalog.Table, name string) bool {
	for _, c := range t.Columns {
		if c.Name == name {
			return true
		}
	}
	return false
}

func periodEnd(column, end string) string {
	return fmt.Sprintf("IF(%[1]s >= '%[2]s', '%[3]s', %[1]s)", node.Ident(column), endOfTime, end)
}

// batch is some rows of one table, as an INSERT.
type batch struct {
	table catalog.Table
	text  string
	rows  int64
	bytes int64
}

// copyRows reads one table after the other in the snapshot, and writes with several connections.
func (j *job) copyRows(ctx context.Context, tables []catalog.Table) error {
	if err := j.largeRows(ctx); err != nil {
		return err
	}
	end, err := lastMoment(ctx, j.target)
	if err != nil {
		return err
	}
	for _, t := range tables {
		j.status.AllRows += t.Rows
	}
	j.status.AllTables, j.status.AllBytes = len(tables), j.size
	if err := j.source.Exec(ctx, "SET NAMES binary"); err != nil {
		return err
	}
	var writers []*node.Conn
	defer func() {
		for _, w := range writers {
			w.Close()
		}
	}()
	for range j.cfg.Writers {
		w, err := j.writer(ctx)
		if err != nil {
			return err
		}
		writers = append(writers, w)
	}
	g, within := errgroup.WithContext(ctx)
	within, stop := context.WithCancel(within)
	defer stop()
	if j.source == j.primary {
		watch, err := j.source.Again(ctx)
		if err != nil {
			return err
		}
		defer watch.Close()
		g.Go(func() error { return yieldToChanges(within, watch) })
	}
	work := make(chan batch)
	var busy sync.WaitGroup
	var counting sync.Mutex
	for _, w := range writers {
		busy.Add(1)
		g.Go(func() error {
			defer busy.Done()
			return j.write(within, w, work, &counting)
		})
	}
	g.Go(func() error {
		defer func() {
			close(work)
			busy.Wait()
			stop() // ends the watch
		}()
		for _, t := range tables {
			if err := j.readTable(within, t, end, work); err != nil {
				return fmt.Errorf("read %s on %s: %w", t, j.source.Node.Name, err)
			}
			// A reader that stays in a table would hold up a change of its definition, and all that waits behind that.
			if err := j.source.Release(within); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	j.status.Tables = len(tables)
	return j.source.Exec(ctx, "SET NAMES utf8mb4 COLLATE utf8mb4_bin")
}

// write sends batches until there are no more, and counts them.
func (j *job) write(ctx context.Context, w *node.Conn, work <-chan batch, counting *sync.Mutex) error {
	mode := strict
	for b := range work {
		want := strict
		for _, c := range b.table.Columns {
			if c.Type == "enum" {
				want = lax
			}
		}
		if want != mode {
			if err := w.Exec(ctx, "SET SESSION sql_mode="+want); err != nil {
				return err
			}
			mode = want
		}
		if err := w.Exec(ctx, b.text); err != nil {
			return j.room(ctx, w, fmt.Errorf("write rows of %s to %s: %w", b.table, j.r.Node.Name, err))
		}
		counting.Lock()
		j.status.Rows += b.rows
		j.status.Bytes += b.bytes
		j.status.Table = b.table.String()
		err := j.tell(ctx, false, fmt.Sprintf("%d rows, %s of about %s, in %s", j.status.Rows, human(j.status.Bytes), human(max(j.size, j.status.Bytes)), b.table))
		counting.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// yieldToChanges ends a copy from a primary as soon as a change of a definition waits: everything that uses the table
// would wait behind it.
func yieldToChanges(ctx context.Context, c *node.Conn) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		rs, err := c.Rows(ctx, "SELECT INFO FROM information_schema.PROCESSLIST WHERE STATE = 'Waiting for table metadata lock' LIMIT 1")
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch %s: %w", c.Node.Name, err)
		}
		if len(rs) > 0 {
			return fmt.Errorf("a change of a definition on the primary %s waits: the copy gives way and starts again", c.Node.Name)
		}
	}
}

func (j *job) writer(ctx context.Context) (*node.Conn, error) {
	w, err := j.open(ctx)
	if err != nil {
		return nil, err
	}
	for _, stmt := range []string{writeRows + strict, "SET NAMES binary"} {
		if err := w.Exec(ctx, stmt); err != nil {
			w.Close()
			return nil, err
		}
	}
	for name, value := range map[string]string{"system_versioning_insert_history": "1", "check_constraint_checks": "0"} { // MariaDB's
		if err := w.SetIfKnown(ctx, name, value); err != nil {
			w.Close()
			return nil, err
		}
	}
	return w, nil
}

// largeRows lets the target take statements as large as a server can: a row that the source has must fit.
func (j *job) largeRows(ctx context.Context) error {
	if err := j.target.Exec(ctx, "SET GLOBAL max_allowed_packet=1073741824"); err != nil {
		return fmt.Errorf("make room for large rows on %s: %w", j.r.Node.Name, err)
	}
	return nil
}

// lastMoment is the end of a current row's period on the target.
func lastMoment(ctx context.Context, c *node.Conn) (string, error) {
	var end sql.NullString
	if err := c.One(ctx, "SELECT FROM_UNIXTIME(4294967295.999999)", &end); err != nil {
		return "", fmt.Errorf("ask %s for its largest timestamp: %w", c.Node.Name, err)
	}
	if end.Valid {
		return end.String, nil
	}
	return "2038-01-19 03:14:07.999999", nil
}

// readTable streams one table into batches.
func (j *job) readTable(ctx context.Context, t catalog.Table, end string, work chan<- batch) error {
	fs := fields(t, end)
	if len(fs) == 0 {
		return nil
	}
	var read, names []string
	for _, f := range fs {
		read, names = append(read, f.read), append(names, node.Ident(f.name))
	}
	query := "SELECT " + strings.Join(read, ", ") + " FROM " + node.Table(t.Schema, t.Name)
	if t.Versioned {
		query += " FOR SYSTEM_TIME ALL"
	}
	rs, err := j.source.Query(ctx, query)
	if err != nil {
		return err
	}
	defer rs.Close()
	values := make([]sql.RawBytes, len(fs))
	into := make([]any, len(fs))
	for i := range values {
		into[i] = &values[i]
	}
	head := "INSERT INTO " + node.Table(t.Schema, t.Name) + " (" + strings.Join(names, ", ") + ") VALUES "
	buf := append(make([]byte, 0, batchBytes+batchBytes/8), head...)
	b := batch{table: t}
	flush := func() error {
		if b.rows == 0 {
			return nil
		}
		b.text = string(buf)
		select {
		case work <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
		buf, b = append(buf[:0], head...), batch{table: t}
		return nil
	}
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return err
		}
		if b.rows > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, '(')
		for i, v := range values {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = fs[i].append(buf, v)
			b.bytes += int64(len(v))
		}
		buf = append(buf, ')')
		b.rows++
		if len(buf) >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rs.Err(); err != nil {
		return err
	}
	return flush()
}

// append writes a value as a literal.
func (f field) append(buf []byte, v []byte) []byte {
	if v == nil {
		return append(buf, "NULL"...)
	}
	switch f.kind {
	case asNumber:
		return append(buf, v...)
	case asText:
		buf = append(buf, "_latin1"...)
	case asUTF8:
		buf = append(buf, "_utf8mb4"...)
	}
	buf = append(buf, '\'')
	for _, c := range v {
		switch c {
		case '\'', '\\':
			buf = append(buf, '\\', c)
		case 0:
			buf = append(buf, '\\', '0')
		default:
			buf = append(buf, c)
		}
	}
	return append(buf, '\'')
}

// zoneTables hold the named time zones. They are the server's own, yet the application's sessions may use them.
var zoneTables = []string{"time_zone", "time_zone_name", "time_zone_transition", "time_zone_transition_type", "time_zone_leap_second"}

// copyTimeZones gives the target the named time zones of the source if it has none.
func (j *job) copyTimeZones(ctx context.Context, ddl *node.Conn) error {
	var has, wants int64
	if err := j.target.One(ctx, "SELECT COUNT(*) FROM mysql.time_zone_name", &has); err != nil {
		return fmt.Errorf("read the time zones of %s: %w", j.r.Node.Name, err)
	}
	if err := ddl.One(ctx, "SELECT COUNT(*) FROM mysql.time_zone_name", &wants); err != nil {
		return fmt.Errorf("read the time zones of %s: %w", j.source.Node.Name, err)
	}
	if has > 0 || wants == 0 {
		return nil
	}
	for _, name := range zoneTables {
		rs, err := ddl.Query(ctx, "SELECT * FROM mysql."+name)
		if err != nil {
			return err
		}
		if err := j.copySystem(ctx, name, rs); err != nil {
			return fmt.Errorf("copy the time zones: %w", err)
		}
	}
	return nil
}

func (j *job) copySystem(ctx context.Context, table string, rs *sql.Rows) error {
	defer rs.Close()
	names, err := rs.Columns()
	if err != nil {
		return err
	}
	values := make([]sql.RawBytes, len(names))
	into := make([]any, len(names))
	quoted := make([]string, len(names))
	for i := range values {
		into[i], quoted[i] = &values[i], node.Ident(names[i])
	}
	head := "REPLACE INTO mysql." + table + " (" + strings.Join(quoted, ", ") + ") VALUES "
	buf, rows := []byte(head), 0
	flush := func() error {
		if rows == 0 {
			return nil
		}
		err := j.target.Exec(ctx, string(buf))
		buf, rows = append(buf[:0], head...), 0
		return err
	}
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return err
		}
		if rows > 0 {
			buf = append(buf, ',')
		}
		for i, v := range values {
			buf = append(buf, "(,"[min(i, 1)])
			buf = field{kind: asBytes}.append(buf, v)
		}
		buf = append(buf, ')')
		if rows++; len(buf) >= batchBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := rs.Err(); err != nil {
		return err
	}
	return flush()
}
