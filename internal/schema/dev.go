package schema

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ariga.io/atlas/sql/migrate"
)

// devPrefix begins the names of the databases that a check makes; the Unix time follows.
const devPrefix = "windlass_dev_"

// dev is a database of our own on the development server: empty at first, dropped at the end.
type dev struct {
	dialect Dialect
	server  dsn
	name    string
	admin   *sql.DB   // on the server's own database
	db      *sql.DB   // on ours; for looking
	conn    *sql.Conn // on ours; for the statements, so that what they set stays
	drv     migrate.Driver
	version string
	maria   bool
	foreign []string // databases of others on a MySQL server, which no statement may name
}

// newDev makes the database. like is the live database whose default collation it takes, or nil.
func newDev(ctx context.Context, server dsn, collate string) (_ *dev, err error) {
	d := &dev{dialect: server.dialect, server: server}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.admin, err = server.open(ctx, "--dev"); err != nil {
		return nil, err
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s%d_%s", devPrefix, time.Now().Unix(), hex.EncodeToString(b[:]))
	d.sweep(ctx)
	create := "CREATE DATABASE " + name
	if d.dialect == MySQL {
		if d.foreign, err = column(ctx, d.admin, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN ('information_schema')"); err != nil {
			return nil, d.wrong("can't list the databases", err)
		}
		if regexp.MustCompile(`^\w+$`).MatchString(collate) {
			create += " COLLATE " + collate
		}
	} else {
		create += " TEMPLATE template0"
	}
	if _, err = d.admin.ExecContext(ctx, create); err != nil {
		return nil, &Error{Where: "--dev", What: "can't make a database on " + server.String(), Hint: "give an account that may (PostgreSQL: ALTER ROLE … CREATEDB; MySQL: GRANT ALL ON `windlass_dev_%`.*), on a server that holds nothing of worth", Err: server.clean(err)}
	}
	d.name = name
	own := server.on(name)
	if d.db, err = own.open(ctx, "--dev"); err != nil {
		return nil, err
	}
	if d.conn, err = d.db.Conn(ctx); err != nil {
		return nil, d.wrong("can't connect", err)
	}
	if d.drv, err = driver(d.dialect, d.db); err != nil {
		return nil, d.wrong("can't be inspected", err)
	}
	version := "SELECT current_setting('server_version')"
	if d.dialect == MySQL {
		version = "SELECT VERSION()"
	}
	if err = d.db.QueryRowContext(ctx, version).Scan(&d.version); err != nil {
		return nil, d.wrong("does not tell its version", err)
	}
	d.maria = strings.Contains(d.version, "MariaDB")
	return d, nil
}

func (d *dev) wrong(what string, err error) error {
	return &Error{Where: "--dev", What: d.server.String() + " " + what, Hint: "see the server's log", Err: d.server.clean(err)}
}

// sweep drops what checks that were killed left more than a day ago. It is not what the caller waits for: what can't be dropped stays.
func (d *dev) sweep(ctx context.Context) {
	q := "SELECT datname FROM pg_database"
	if d.dialect == MySQL {
		q = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"
	}
	names, err := column(ctx, d.admin, q)
	if err != nil {
		return
	}
	for _, n := range names {
		rest, ours := strings.CutPrefix(n, devPrefix)
		at, _, _ := strings.Cut(rest, "_")
		made, err := strconv.ParseInt(at, 10, 64)
		if ours && err == nil && time.Since(time.Unix(made, 0)) > 24*time.Hour {
			_, _ = d.admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+n)
		}
	}
}

// close drops the database. It has a time of its own: the caller's may have ended.
func (d *dev) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if d.conn != nil {
		d.conn.Close()
	}
	if d.db != nil {
		d.db.Close()
	}
	if d.admin != nil {
		if d.name != "" {
			_, _ = d.admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+d.name) // a sweep of a later check drops what is left
		}
		d.admin.Close()
	}
}

func (d *dev) state(ctx context.Context) (*state, error) {
	s, err := inspect(ctx, d.dialect, d.db)
	if err != nil {
		return nil, &Error{Where: "--dev", What: d.server.String() + " can't be read", Hint: "if its log shows nothing, then a table has what the check can't read: leave the statement that makes it out of what is checked, and report it", Err: d.server.clean(err)}
	}
	if s.numbers, err = readNumbers(ctx, d.dialect, d.maria, d.db); err != nil {
		return nil, d.wrong("does not tell its tables from each other", err)
	}
	return s, nil
}

var (
	leavesDatabase = regexp.MustCompile(`(?is)^\s*(USE\s|(CREATE|DROP|ALTER)\s+(DATABASE|SCHEMA)\b|\\connect|SET\s+GLOBAL\b|(CREATE|DROP|ALTER)\s+(USER|ROLE|TABLESPACE)\b|SHUTDOWN|INSTALL\s|LOAD\s+DATA\b|ALTER\s+SYSTEM\b)`)
	pgLeaves       = regexp.MustCompile(`(?is)^\s*((CREATE|DROP|ALTER)\s+(DATABASE|TABLESPACE|USER|ROLE)\b|ALTER\s+SYSTEM\b|COPY\b.*\bPROGRAM\b|\\)`)
)

// refuse keeps statements from what is not in our database.
func (d *dev) refuse(s Statement) error {
	re := pgLeaves
	if d.dialect == MySQL {
		re = leavesDatabase
	}
	text := masked(s.SQL)
	if re.MatchString(text) {
		return &Error{Where: s.Where(), What: fmt.Sprintf("%q acts on the server, or on another database", s.Short()), Hint: "take it out of the migration: a check runs in a database of its own, and changes nothing else on the development server", Usage: true}
	}
	for _, f := range d.foreign {
		if regexp.MustCompile("(?i)(^|[^\\w`.@])`?"+regexp.QuoteMeta(f)+"`?\\s*\\.\\s*[`\\w]").MatchString(text) && f != d.name {
			return &Error{Where: s.Where(), What: fmt.Sprintf("names the database %s, which is on the development server", f), Hint: "write table names without their database, or give a --dev server that has no such database", Usage: true}
		}
	}
	return nil
}

// column reads a query's only column.
func column(ctx context.Context, db *sql.DB, q string, args ...any) ([]string, error) {
	rows, err := db.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
