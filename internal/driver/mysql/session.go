package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"slices"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/fleet"
)

// place is a node with the cell that it is in.
type place struct {
	cell string
	node fleet.Node
}

func (p place) String() string { return p.cell + "/" + p.node.Name }

// places lists every node of the cluster.
func places(c fleet.Cluster) []place {
	var ps []place
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			ps = append(ps, place{cell.Name, n})
		}
	}
	return ps
}

// session is one connection to a node. What it writes is not logged to the binary log unless logged is called.
type session struct {
	place
	d       *Driver
	db      *sql.DB
	conn    *sql.Conn
	id      uint64
	version version
	fl      flavour
	looks   bool      // it never changes anything, and says so: a successor's Fence leaves it alone
	lost    bool      // an answer did not come: the connection is of no more use
	used    time.Time // when a switch was given it last
}

// dialTo opens a connection that may act. Close it.
func (d *Driver) dialTo(ctx context.Context, p place) (*session, error) { return d.dial(ctx, p, false) }

// lookTo opens a connection that only looks. Close it.
func (d *Driver) lookTo(ctx context.Context, p place) (*session, error) { return d.dial(ctx, p, true) }

// looking is the user lock by which a connection says that it only looks. Every version of both products has user locks and tells
// who holds one; connection attributes are in performance_schema, which MariaDB leaves off. The lock ends with its connection, so
// no other one is ever taken for it.
const looking = "CONCAT('windlass.look.', %s)"

func (d *Driver) dial(ctx context.Context, p place, looks bool) (_ *session, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Dial)
	defer cancel()
	wrap := func(err error) (*session, error) {
		return nil, fmt.Errorf("connect to %s (%s): %w", p, p.node.Address, err)
	}
	password, err := d.cfg.Admin.Password(ctx)
	if err != nil {
		return wrap(fmt.Errorf("the admin account's password: %w", err))
	}
	c := driver.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", p.node.Address, d.cfg.Admin.User, string(password)
	c.TLS = d.cfg.TLS
	c.Timeout, c.ReadTimeout, c.WriteTimeout = d.cfg.Dial, time.Minute, d.cfg.Query
	c.InterpolateParams = true
	c.Collation = "utf8mb4_general_ci"
	c.ConnectionAttributes = "program_name:windlass"
	c.Logger = log.New(io.Discard, "", 0) // errors are returned, and logged by whoever decides on them
	connector, err := driver.NewConnector(c)
	if err != nil {
		return wrap(err)
	}
	s := &session{place: p, d: d, db: sql.OpenDB(connector), looks: looks}
	s.db.SetMaxOpenConns(1)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.conn, err = s.db.Conn(ctx); err != nil {
		return wrap(err)
	}
	say := "1"
	if looks {
		say = "GET_LOCK(" + fmt.Sprintf(looking, "CONNECTION_ID()") + ", 0)"
	}
	var v string
	var said sql.NullInt64
	if err := s.conn.QueryRowContext(ctx, "SELECT CONNECTION_ID(), VERSION(), "+say).Scan(&s.id, &v, &said); err != nil {
		return wrap(err)
	}
	if said.Int64 != 1 {
		return wrap(errors.New("somebody else holds the lock of a connection that only looks"))
	}
	d.mark(p.node.Address, s.id, true)
	if s.version, err = parseVersion(v); err != nil {
		return wrap(err)
	}
	s.fl = flavourOf(v)
	if _, err := s.conn.ExecContext(ctx, s.fl.prelude()); err != nil {
		return wrap(fmt.Errorf("prepare the session: %w", err))
	}
	return s, nil
}

// mark notes a connection id of this driver, or forgets it.
func (d *Driver) mark(address string, id uint64, open bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if open {
		if d.open[address] == nil {
			d.open[address] = map[uint64]bool{}
		}
		d.open[address][id] = true
		return
	}
	delete(d.open[address], id)
}

func (d *Driver) mine(address string, id uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[address][id]
}

func (s *session) close() {
	if s == nil {
		return
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.db.Close()
	if s.id != 0 {
		s.d.mark(s.node.Address, s.id, false)
	}
}

// exec runs a short statement.
func (s *session) exec(ctx context.Context, query string, args ...any) error {
	return s.execFor(ctx, s.d.cfg.Query, query, args...)
}

// execFor runs a statement that may take that long.
func (s *session) execFor(ctx context.Context, limit time.Duration, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if _, err := s.conn.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("%s: %s: %w", s.place, query, err)
	}
	return nil
}

// one reads a single row. sql.ErrNoRows if there is none.
func (s *session) one(ctx context.Context, query string, into ...any) error {
	ctx, cancel := context.WithTimeout(ctx, s.d.cfg.Query)
	defer cancel()
	if err := s.conn.QueryRowContext(ctx, query).Scan(into...); err != nil {
		return fmt.Errorf("%s: %s: %w", s.place, query, err)
	}
	return nil
}

// row is a row by column name; a NULL is not in it.
type row map[string]string

// rows reads a whole result.
func (s *session) rows(ctx context.Context, query string, args ...any) ([]row, error) {
	return s.rowsFor(ctx, s.d.cfg.Query, query, args...)
}

func (s *session) rowsFor(ctx context.Context, limit time.Duration, query string, args ...any) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wrap := func(err error) ([]row, error) { return nil, fmt.Errorf("%s: %s: %w", s.place, query, err) }
	rs, err := s.conn.QueryContext(ctx, query, args...)
	if err != nil {
		return wrap(err)
	}
	defer rs.Close()
	names, err := rs.Columns()
	if err != nil {
		return wrap(err)
	}
	var out []row
	for rs.Next() {
		cells := make([]sql.NullString, len(names))
		into := make([]any, len(names))
		for i := range cells {
			into[i] = &cells[i]
		}
		if err := rs.Scan(into...); err != nil {
			return wrap(err)
		}
		r := row{}
		for i, c := range cells {
			if c.Valid {
				r[names[i]] = c.String
			}
		}
		out = append(out, r)
	}
	if err := rs.Err(); err != nil {
		return wrap(err)
	}
	return out, nil
}

// variables reads global variables; those that the server does not have are not in it.
func (s *session) variables(ctx context.Context, names ...string) (map[string]string, error) {
	rs, err := s.rows(ctx, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ("+quoteAll(names)+")")
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, r := range rs {
		out[r["Variable_name"]] = r["Value"]
	}
	return out, nil
}

// readOnly asks for the role, alone (trap 4).
func (s *session) readOnly(ctx context.Context) (bool, error) {
	var v int
	if err := s.one(ctx, "SELECT @@global.read_only", &v); err != nil {
		return false, err
	}
	return v != 0, nil
}

// end kills a connection of that id and sees it gone. It is for connections whose statement may still run.
func (s *session) end(ctx context.Context, ids ...uint64) error {
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		if err := s.exec(ctx, fmt.Sprintf("KILL CONNECTION %d", id)); err != nil && number(err) != errnoNoSuchThread {
			return err
		}
	}
	for {
		ps, err := s.processes(ctx)
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(ps, func(p process) bool { return !slices.Contains(ids, p.id) })
		if len(left) == 0 {
			return nil
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s: %d killed connections are still there: %w", s.place, len(left), err)
		}
	}
}

// sleep waits, or returns the context's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// hostPort splits an address for CHANGE MASTER.
func hostPort(address string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(address)
	if err != nil {
		return "", "", fmt.Errorf("address %q: %w", address, err)
	}
	return host, port, nil
}

// waitFor calls a function (position, seconds) that answers 0 once the server has applied the position. It waits in slices,
// so that a connection that died is noticed, and an applier that has stopped with an error: what it waits for will not come.
func (s *session) waitFor(ctx context.Context, limit time.Duration, query, position string) (bool, error) {
	const slice, least = 300 * time.Millisecond, time.Millisecond // MySQL takes a wait of no time for one without end
	stop := time.Now().Add(limit)
	for {
		left := max(time.Until(stop), 0)
		step := max(min(left, slice), least)
		call, cancel := context.WithTimeout(ctx, step+s.d.cfg.Query)
		var answer sql.NullInt64
		err := s.conn.QueryRowContext(call, query, position, step.Seconds()).Scan(&answer)
		cancel()
		switch {
		case err != nil:
			return false, fmt.Errorf("%s: wait for position %s: %w", s.place, position, err)
		case !answer.Valid:
			return false, fmt.Errorf("%s: wait for position %s: the server does not say", s.place, position)
		case answer.Int64 == 0:
			return true, nil
		case left <= slice:
			return false, nil
		}
		chs, err := s.fl.channels(ctx, s)
		if err != nil {
			return false, err
		}
		for _, c := range chs {
			if !c.sql && c.sqlError != "" {
				return false, nil
			}
		}
	}
}
