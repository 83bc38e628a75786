// Package workflow is the engine of examples/jobs.
//
// A job has a key of its client's and so many steps. Any node does any step, one after the other: it claims a step that is due, works, and
// writes what came of it in one transaction. Between two steps lies a timer; some steps fail the first time, and are tried again. A node
// that dies in a step loses its claim after claimFor, and another node does the step.
//
// # Exactly once
//
// A step may be worked at twice, by a node that was too slow and by the one that took over. It has effect once: the transaction that writes
// the effect also moves the job on from that very step, and of two only one finds it there. A client that lost an answer posts its job again
// under the same key, and it is the same job.
//
// # Versions
//
// This package is what both versions share, and all that 1.0 is. What 1.1 has besides, priorities, is in a package of its own, is compiled into its
// program alone, and is told to this one as an Addition: a column that the schema of 1.0 does not have, and a feature that stays shut until the table
// windlass_features has a row for 1.1. Until then 1.1 writes and reads nothing that 1.0 does not know. On the schema of 1.0 it is not healthy.
//
//	POST /jobs?key=K&steps=N[&delay=MILLISECONDS]   201; 200 if the key has that job already; 409 if it asks for what is shut, or not known
//	GET  /jobs/K · GET /health · GET /version · GET /features
//
// gRPC's health service is answered on the same port.
package workflow

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Config is one node.
type Config struct {
	DSN     string // postgres://…, or mysql:// before a name as go-sql-driver wants it
	Listen  string
	Node    string
	Workers int // steps at once
	Release Release
}

// Release is one version of the engine, which a program is for good.
type Release struct {
	Version string    // such as "1.1.0"
	Adds    *Addition // nil: it has what this package has
}

// Addition is what a release has that the one before does not know. It stays shut until the table windlass_features has a row for it.
type Addition struct {
	Since     string // the version of the table's row
	Name      string // as GET /features tells it
	Column    string // of the table job, a number; where it is missing the node is not healthy
	Parameter string // of POST /jobs, which goes there
	Order     string // of steps that are due, once it is open
	// Routes registers more requests; open tells whether it is open by now.
	Routes func(m *http.ServeMux, db *sql.DB, open func(context.Context) bool)
}

// Run serves until the context ends; then requests are answered and steps are finished that are under way.
func Run(ctx context.Context, c Config) error {
	e := &engine{node: c.Node, version: c.Release.Version, adds: c.Release.Adds, toil: toil}
	var err error
	if e.db, err = open(c.DSN, c.Node, c.Workers+8); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	defer e.db.Close()
	var work sync.WaitGroup
	for range c.Workers {
		work.Go(func() { e.work(ctx) })
	}
	s := &http.Server{Addr: c.Listen, Handler: e.withGRPC(e.routes()), ReadHeaderTimeout: 5 * time.Second, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true) // what gRPC speaks
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe() }()
	log.Printf("%s is version %s on %s", c.Node, c.Release.Version, c.Listen)
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = s.Shutdown(grace)
	work.Wait()
	return err
}

// engine is one node.
type engine struct {
	db            store
	node, version string
	adds          *Addition
	toil          func(claim)

	mu   sync.Mutex
	open bool // the feature was open when it was last looked for; it is never shut again
}

// feature tells whether what the version adds is open.
func (e *engine) feature(ctx context.Context) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.adds != nil && !e.open {
		n := 0
		if err := e.db.QueryRowContext(ctx, e.db.q("SELECT COUNT(*) FROM windlass_features WHERE version = ?"), e.adds.Since).Scan(&n); err == nil {
			e.open = n > 0 // no table: nobody has opened anything
		}
	}
	return e.open
}

// store is the database, and how it numbers parameters.
type store struct {
	*sql.DB
	postgres bool
}

// open opens the database. Connections say which node they are of: as application_name, or program_name.
func open(dsn, node string, connections int) (store, error) {
	var db *sql.DB
	rest, isMySQL := strings.CutPrefix(dsn, "mysql://")
	if isMySQL {
		c, err := mysql.ParseDSN(rest)
		if err != nil {
			return store{}, err
		}
		c.ConnectionAttributes = "program_name:jobs-" + node
		connector, err := mysql.NewConnector(c)
		if err != nil {
			return store{}, err
		}
		db = sql.OpenDB(connector)
	} else {
		c, err := pgx.ParseConfig(dsn)
		if err != nil {
			return store{}, err
		}
		c.RuntimeParams["application_name"] = "jobs-" + node
		db = stdlib.OpenDB(*c)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return store{db, !isMySQL}, nil
}

// q writes ? as the database wants it.
func (s store) q(query string) string {
	for i := 1; s.postgres && strings.Contains(query, "?"); i++ {
		query = strings.Replace(query, "?", "$"+strconv.Itoa(i), 1)
	}
	return query
}
