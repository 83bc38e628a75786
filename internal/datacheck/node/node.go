// Package node is one database server over one connection, as the copying and the comparing of data need it: a session
// with fixed settings, its GTID position, a consistent snapshot at an exact position, and its applier.
//
// Model. A Conn is one connection that is never replaced behind the caller's back: a snapshot, a session setting or a
// lock that was taken on it holds until Close, or an error says that it is gone. Nothing that a Conn does by itself
// is written to the binary log.
//
// Invariants. Every session has the same time zone, SQL mode and character set, whatever the server's defaults are, so
// that both versions print equal values as equal text (trap 35).
//
// Failure. A lost connection ends its transaction and so its snapshot on the server. No call is retried here.
package node

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Access tells how to log in on a node: address, account and TLS. Timeouts and session settings are set here.
type Access func(ctx context.Context, n fleet.Node) (*mysql.Config, error)

// Conn is one connection to a node. It is used by one goroutine at a time. Close it.
type Conn struct {
	Node    fleet.Node
	Version string // as the server says it
	MariaDB bool
	Term    int64 // highest term that the server had seen when the connection was opened; 0: none

	id     uint64
	db     *sql.DB
	conn   *sql.Conn
	access Access
}

const dialTimeout = 10 * time.Second

// session settings that hold for everything read and written: UTC, no SQL mode that changes what is printed, and no
// limit that ends a long read in the middle.
const (
	common  = "time_zone='+00:00', sql_mode='', autocommit=1, net_write_timeout=3600, net_read_timeout=3600, wait_timeout=86400, sql_quote_show_create=1, foreign_key_checks=1, unique_checks=1, group_concat_max_len=1048576"
	mariadb = ", sql_log_bin=0, max_statement_time=0, idle_transaction_timeout=0, idle_readonly_transaction_timeout=0, idle_write_transaction_timeout=0, lock_wait_timeout=30"
	oracle  = ", sql_log_bin=0, max_execution_time=0, lock_wait_timeout=30"
)

// Open connects and fixes the session.
func Open(ctx context.Context, access Access, n fleet.Node) (_ *Conn, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("connect to %s (%s): %w", n.Name, n.Address, err)
		}
	}()
	given, err := access(ctx, n)
	if err != nil {
		return nil, err
	}
	cfg := given.Clone()
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = dialTimeout, 0, 0
	cfg.InterpolateParams, cfg.ParseTime, cfg.MultiStatements = true, false, false
	cfg.MaxAllowedPacket = 0 // what the server takes
	cfg.DBName, cfg.Params, cfg.Collation = "", nil, "utf8mb4_general_ci"
	cfg.ConnectionAttributes = "program_name:windlass"
	cfg.Logger = log.New(io.Discard, "", 0) // errors are returned
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	c := &Conn{Node: n, db: sql.OpenDB(connector), access: access}
	c.db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if c.conn, err = c.db.Conn(dial); err != nil {
		return nil, err
	}
	if err := c.conn.QueryRowContext(dial, "SELECT CONNECTION_ID(), VERSION()").Scan(&c.id, &c.Version); err != nil {
		return nil, err
	}
	c.MariaDB = strings.Contains(strings.ToLower(c.Version), "mariadb")
	settings := common + oracle
	if c.MariaDB {
		settings = common + mariadb
	}
	for _, stmt := range []string{"SET SESSION " + settings, "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"} {
		if err := c.Exec(dial, stmt); err != nil {
			return nil, fmt.Errorf("fix the session: %w", err)
		}
	}
	// A character set that is named without its collation has to mean the same in both versions. The next AUTO_INCREMENT is not what
	// it was a day ago, and a hash is printed so that it can be read again.
	newer := [][2]string{{"information_schema_stats_expiry", "0"}, {"print_identified_with_as_hex", "1"}}
	if c.MariaDB {
		newer = [][2]string{{"character_set_collations", "''"}}
	}
	for _, v := range newer {
		if err := c.setIfKnown(dial, v[0], v[1]); err != nil {
			return nil, fmt.Errorf("fix the session: %w", err)
		}
	}
	if err := c.readTerm(dial); err != nil {
		return nil, err
	}
	return c, nil
}

// Again opens another connection to the same node.
func (c *Conn) Again(ctx context.Context) (*Conn, error) { return Open(ctx, c.access, c.Node) }

// Close ends the connection, and with it its transaction.
func (c *Conn) Close() {
	if c == nil {
		return
	}
	if c.conn != nil {
		c.conn.Close()
	}
	c.db.Close()
}

// ID is the server's number of the connection.
func (c *Conn) ID() uint64 { return c.id }

// Number is the server's error number, or 0 if the server did not answer with an error.
func Number(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// Error numbers that decisions are made on.
const (
	ErrUnknownVariable   = 1193
	ErrNoSuchTable       = 1146
	ErrViewInvalid       = 1356
	ErrNoSuchRoutine     = 1305
	ErrTableDefChanged   = 1412
	ErrUnknownTable      = 1051
	ErrNonexistingGrant  = 1141
	ErrLockWait          = 1205
	ErrDiskFull          = 1021
	ErrTableFull         = 1114 // InnoDB's word for a full disk
	ErrNoBinlogOfThatPos = 1236
)

func (c *Conn) setIfKnown(ctx context.Context, name, value string) error {
	err := c.Exec(ctx, "SET SESSION "+name+"="+value)
	if Number(err) == ErrUnknownVariable {
		return nil
	}
	return err
}

// SetIfKnown sets a session variable where the version has it.
func (c *Conn) SetIfKnown(ctx context.Context, name, value string) error {
	return c.setIfKnown(ctx, name, value)
}

// readTerm reads the fence that the driver keeps on every server. A server that was never fenced has none.
func (c *Conn) readTerm(ctx context.Context) error {
	var term sql.NullInt64
	err := c.One(ctx, "SELECT MAX(term) FROM windlass.fence", &term)
	switch Number(err) {
	case ErrNoSuchTable, 1049: // no table, no schema
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the fence: %w", err)
	}
	c.Term = term.Int64
	return nil
}

// Exec runs a statement.
func (c *Conn) Exec(ctx context.Context, query string, args ...any) error {
	_, err := c.conn.ExecContext(ctx, query, args...)
	return c.lost(err)
}

// lost names the node in the error of a connection that is gone: the driver's own says nothing.
func (c *Conn) lost(err error) error {
	if errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, driver.ErrBadConn) {
		return fmt.Errorf("%s (%s) has ended the connection: %w", c.Node.Name, c.Node.Address, err)
	}
	return err
}

// One reads one row.
func (c *Conn) One(ctx context.Context, query string, into ...any) error {
	return c.lost(c.conn.QueryRowContext(ctx, query).Scan(into...))
}

// Query reads rows as a stream. The connection is busy until they are closed.
func (c *Conn) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rs, err := c.conn.QueryContext(ctx, query, args...)
	return rs, c.lost(err)
}

// Row is one row by column name; NULL is absent.
type Row map[string]string

// Rows reads a whole result.
func (c *Conn) Rows(ctx context.Context, query string, args ...any) ([]Row, error) {
	rs, err := c.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, c.lost(err)
	}
	defer rs.Close()
	names, err := rs.Columns()
	if err != nil {
		return nil, err
	}
	values := make([]sql.RawBytes, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	var out []Row
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return nil, err
		}
		r := make(Row, len(names))
		for i, v := range values {
			if v != nil {
				r[names[i]] = string(v)
			}
		}
		out = append(out, r)
	}
	return out, c.lost(rs.Err())
}

// Variables reads global variables; those that the version lacks are absent.
func (c *Conn) Variables(ctx context.Context, names ...string) (map[string]string, error) {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = Quote(n)
	}
	rs, err := c.Rows(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+strings.Join(quoted, ", ")+")")
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	out := map[string]string{}
	for _, r := range rs {
		out[strings.ToLower(r["Variable_name"])] = r["Value"]
	}
	return out, nil
}

// Identity is the server's own identity, the same that the driver observes.
func (c *Conn) Identity(ctx context.Context) (string, error) {
	v, err := c.Variables(ctx, "server_uuid", "server_uid", "server_id")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"server_uuid", "server_uid"} {
		if v[name] != "" {
			return v[name], nil
		}
	}
	return "server_id-" + v["server_id"], nil
}

// ReadOnly tells whether the server is read-only. A statement that reads anything beside it would be wrong (trap 4).
func (c *Conn) ReadOnly(ctx context.Context) (bool, error) {
	var on bool
	if err := c.One(ctx, "SELECT @@global.read_only", &on); err != nil {
		return false, fmt.Errorf("read read_only of %s: %w", c.Node.Name, err)
	}
	return on, nil
}

// Quote makes a string literal.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `''`, "\x00", `\0`).Replace(s) + "'"
}

// Ident quotes an identifier.
func Ident(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// Table quotes schema and table.
func Table(schema, name string) string { return Ident(schema) + "." + Ident(name) }

// Int reads a number of a row; what is absent is 0.
func (r Row) Int(name string) (int64, error) {
	v, ok := r[name]
	if !ok || v == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("column %s: %w", name, err)
	}
	return n, nil
}
