// Package load puts readers and writers on a cluster, as applications would, and keeps a ledger of what was promised to them.
//
// Clients resolve the cluster's name again every second and go through the gateway that it names. Every write has a
// unique key. A write whose commit was answered is acknowledged; one whose answer was lost is unknown: written or not,
// both are right; any other failed definitely. At the end the ledger is held against the table: an acknowledged write
// that is missing is lost, and one that is there twice is doubled. The table has no unique key on the write's number,
// so that a doubled write would be stored, and seen.
package load

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sync/errgroup"
)

// Config is the load on one cluster.
type Config struct {
	Name     string                                    // of the cluster, for messages
	Resolve  func(ctx context.Context) (string, error) // host:port of the gateway that the name leads to now
	User     string
	Password string
	Schema   string
	Readers  int           // connections that read
	Writers  int           // connections that write
	Pause    time.Duration // between two transactions of one connection
	Also     []string      // what readers ask beside it, now and then, in turn
}

// Report is what the clients noticed.
type Report struct {
	Queries          int64
	Errors           int64
	ForcedReconnects int64
	Acked            int64
	Unknown          int64
	Lost             int64
	Duplicate        int64
	LongestStall     time.Duration // from sending a statement to its reply
	FirstError       string
}

// Ledger remembers writes by their number.
type ledger struct {
	mu      sync.Mutex
	acked   map[int64]time.Time
	unknown map[int64]bool
}

// Load is a running load.
type Load struct {
	cfg     Config
	ledger  ledger
	next    atomic.Int64
	queries atomic.Int64
	errs    atomic.Int64
	broken  atomic.Int64
	stall   atomic.Int64
	first   atomic.Pointer[string]

	mu    sync.Mutex
	where string // the gateway that the name led to last
}

// New makes a load. Run starts it.
func New(cfg Config) *Load {
	return &Load{cfg: cfg, ledger: ledger{acked: map[int64]time.Time{}, unknown: map[int64]bool{}}}
}

// Schema is what the load needs in the cluster's schema. The collations are said, so that both versions take them alike.
var Schema = []string{
	`CREATE TABLE IF NOT EXISTS orders (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, write_id BIGINT NOT NULL, customer VARCHAR(60) NOT NULL, note TEXT, total DECIMAL(12,2) NOT NULL, weight DOUBLE, detail JSON, placed DATETIME(6) NOT NULL, receipt BLOB, KEY by_write (write_id), KEY by_customer (customer)) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`,
	`CREATE TABLE IF NOT EXISTS order_lines (order_id BIGINT NOT NULL, line INT NOT NULL, item VARCHAR(40) NOT NULL, amount INT NOT NULL, PRIMARY KEY (order_id, line)) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`,
}

// Run puts the load on until the context ends, and returns when every connection is closed. A statement that was sent
// gets its answer first.
func (l *Load) Run(ctx context.Context) error {
	if err := l.resolve(ctx); err != nil {
		return fmt.Errorf("load on %s: %w", l.cfg.Name, err)
	}
	g, run := errgroup.WithContext(ctx)
	g.Go(func() error { return l.followName(run) })
	for i := range l.cfg.Writers {
		g.Go(func() error { return l.client(run, func(c *client) error { return l.write(c, i) }) })
	}
	for range l.cfg.Readers {
		g.Go(func() error { return l.client(run, l.readOne) })
	}
	return g.Wait()
}

func (l *Load) resolve(ctx context.Context) error {
	a, err := l.cfg.Resolve(ctx)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.where = a
	return nil
}

func (l *Load) address() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.where
}

// followName asks for the name every second. A name server that is away for a moment leaves clients where they are.
func (l *Load) followName(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := l.resolve(ctx); err != nil && ctx.Err() == nil {
				continue
			}
		}
	}
}

// client is one connection with its prepared statements.
type client struct {
	conn    *sql.Conn
	insert  *sql.Stmt
	lines   *sql.Stmt
	read    *sql.Stmt
	address string
}

// opTime bounds one statement. It is long: a stall is to be measured, not cut off.
const opTime = 60 * time.Second

// client keeps one connection busy, opening it anew when the name leads elsewhere.
func (l *Load) client(ctx context.Context, transaction func(*client) error) error {
	var db *sql.DB
	var c *client
	closeAll := func() error {
		var err error
		if c != nil {
			err = c.conn.Close()
			c = nil
		}
		if db != nil {
			err = errors.Join(err, db.Close())
			db = nil
		}
		return err
	}
	for ctx.Err() == nil {
		if c != nil && c.address != l.address() {
			// The name's answer changed: an application's pool closes the old connection and opens one there.
			if err := closeAll(); err != nil {
				l.failed("close", err)
			}
		}
		if c == nil {
			var err error
			if db, c, err = l.open(); err != nil {
				l.failed("connect", err)
				if err := errors.Join(closeAll(), wait(ctx, 100*time.Millisecond)); err != nil {
					break
				}
				continue
			}
		}
		if err := transaction(c); err != nil {
			l.failed("transaction", err)
			if isBroken(err) {
				l.broken.Add(1)
				_ = closeAll() // it is broken: closing it may fail too
			}
		}
		if wait(ctx, l.cfg.Pause) != nil {
			break
		}
	}
	return closeAll()
}

func (l *Load) open() (*sql.DB, *client, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", l.address(), l.cfg.User, l.cfg.Password, l.cfg.Schema
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout, cfg.Logger = 10*time.Second, opTime, opTime, quiet{}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, nil, err
	}
	db := sql.OpenDB(connector)
	ctx, cancel := context.WithTimeout(context.Background(), opTime)
	defer cancel()
	c := &client{address: cfg.Addr}
	if c.conn, err = db.Conn(ctx); err != nil {
		return db, nil, err
	}
	for text, stmt := range map[string]**sql.Stmt{
		"INSERT INTO orders (write_id, customer, note, total, weight, detail, placed, receipt) VALUES (?, ?, ?, ?, ?, ?, ?, ?)": &c.insert,
		"INSERT INTO order_lines (order_id, line, item, amount) VALUES (?, ?, ?, ?)":                                            &c.lines,
		"SELECT id, customer, total FROM orders WHERE write_id = ?":                                                             &c.read,
	} {
		if *stmt, err = c.conn.PrepareContext(ctx, text); err != nil {
			return db, nil, errors.Join(err, c.conn.Close())
		}
	}
	return db, c, nil
}

type quiet struct{}

func (quiet) Print(...any) {}

// timed runs one statement and remembers the longest.
func (l *Load) timed(fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), opTime)
	defer cancel()
	begin := time.Now()
	err := fn(ctx)
	took := int64(time.Since(begin))
	l.queries.Add(1)
	for {
		longest := l.stall.Load()
		if took <= longest || l.stall.CompareAndSwap(longest, took) {
			return err
		}
	}
}

// write inserts an order with its lines in one transaction, or one order by itself: both kinds of write that applications make.
func (l *Load) write(c *client, writer int) error {
	id := l.next.Add(1)
	order := []any{id, fmt.Sprintf("customer %d ☕", writer), "Grüße 🍺", fmt.Sprintf("%d.%02d", id%1000, id%100), float64(id) / 3, fmt.Sprintf(`{"write": %d}`, id), time.Now().UTC(), []byte{0, 1, byte(id)}}
	if id%3 == 0 { // autocommit: its one reply is its commit
		err := l.timed(func(ctx context.Context) error {
			_, err := c.insert.ExecContext(ctx, order...)
			return err
		})
		l.account(id, err)
		return err
	}
	var tx *sql.Tx
	err := l.timed(func(ctx context.Context) (err error) {
		tx, err = c.conn.BeginTx(context.WithoutCancel(ctx), nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	var order64 int64
	err = l.timed(func(ctx context.Context) error {
		r, err := tx.StmtContext(ctx, c.insert).ExecContext(ctx, order...)
		if err != nil {
			return err
		}
		order64, err = r.LastInsertId()
		return err
	})
	for line := 1; err == nil && line <= 2; line++ {
		err = l.timed(func(ctx context.Context) error {
			_, err := tx.StmtContext(ctx, c.lines).ExecContext(ctx, order64, line, "item", line)
			return err
		})
	}
	if err != nil {
		return fmt.Errorf("in a transaction: %w", errors.Join(err, tx.Rollback()))
	}
	err = l.timed(func(context.Context) error { return tx.Commit() })
	l.account(id, err)
	return err
}

// account puts a write into the ledger by the answer to its commit.
func (l *Load) account(id int64, err error) {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	var refused *mysql.MySQLError
	switch {
	case err == nil:
		l.ledger.acked[id] = time.Now()
	case errors.As(err, &refused):
		// The server's own word: it was not committed.
	default:
		l.ledger.unknown[id] = true
	}
}

// readOne reads an order back by a prepared statement, now and then something by text.
func (l *Load) readOne(c *client) error {
	top := l.next.Load()
	if top == 0 {
		top = 1
	}
	id := rand.Int64N(top) + 1
	return l.timed(func(ctx context.Context) error {
		if n := l.queries.Load(); len(l.cfg.Also) > 0 && n%4 == 0 {
			rows, err := c.conn.QueryContext(ctx, l.cfg.Also[n/4%int64(len(l.cfg.Also))])
			if err != nil {
				return err
			}
			for rows.Next() {
			}
			return errors.Join(rows.Err(), rows.Close())
		}
		if id%5 == 0 {
			var n int
			return c.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM order_lines WHERE order_id = ?", id).Scan(&n)
		}
		rows, err := c.read.QueryContext(ctx, id)
		if err != nil {
			return err
		}
		for rows.Next() {
			var order int64
			var customer, total string
			if err := rows.Scan(&order, &customer, &total); err != nil {
				return errors.Join(err, rows.Close())
			}
		}
		return errors.Join(rows.Err(), rows.Close())
	})
}

func (l *Load) failed(what string, err error) {
	l.errs.Add(1)
	text := fmt.Sprintf("%s, %s: %v", l.cfg.Name, what, err)
	l.first.CompareAndSwap(nil, &text)
}

// isBroken tells whether the connection is gone, rather than a statement refused.
func isBroken(err error) bool {
	var ne net.Error
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, sql.ErrConnDone) || errors.As(err, &ne)
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Report counts without looking at the table; Verify does.
func (l *Load) Report() Report {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	r := Report{Queries: l.queries.Load(), Errors: l.errs.Load(), ForcedReconnects: l.broken.Load(), Acked: int64(len(l.ledger.acked)), Unknown: int64(len(l.ledger.unknown)), LongestStall: time.Duration(l.stall.Load())}
	if e := l.first.Load(); e != nil {
		r.FirstError = *e
	}
	return r
}

// AckedBetween lists the writes acknowledged in a span of time.
func (l *Load) AckedBetween(from, to time.Time) []int64 {
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	var ids []int64
	for id, at := range l.ledger.acked {
		if !at.Before(from) && at.Before(to) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Stored reads from a server how often each write is in its table.
func Stored(ctx context.Context, db *sql.DB, schema string) (map[int64]int, error) {
	rows, err := db.QueryContext(ctx, "SELECT write_id, COUNT(*) FROM "+schema+".orders GROUP BY write_id")
	if err != nil {
		return nil, fmt.Errorf("read the table of writes: %w", err)
	}
	defer rows.Close()
	stored := map[int64]int{}
	for rows.Next() {
		var id int64
		var n int
		if err := rows.Scan(&id, &n); err != nil {
			return nil, err
		}
		stored[id] = n
	}
	return stored, rows.Err()
}

// Verify holds the ledger against what is stored on a server. Call it when Run has returned.
func (l *Load) Verify(ctx context.Context, db *sql.DB) (Report, error) {
	stored, err := Stored(ctx, db, l.cfg.Schema)
	if err != nil {
		return Report{}, err
	}
	r := l.Report()
	l.ledger.mu.Lock()
	defer l.ledger.mu.Unlock()
	for id := range l.ledger.acked {
		if stored[id] == 0 {
			r.Lost++
		}
	}
	for _, n := range stored {
		if n > 1 {
			r.Duplicate += int64(n - 1)
		}
	}
	return r, nil
}
