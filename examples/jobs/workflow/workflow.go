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
// 1.1 has priorities: a column that the schema of 1.0 does not have, and a feature that stays shut until the table windlass_features has a
// row for 1.1. Until then it writes and reads nothing that 1.0 does not know. On the schema of 1.0 it is not healthy.
//
//	POST /jobs?key=K&steps=N[&delay=MILLISECONDS][&priority=P]   201; 200 if the key has that job already; 409 if priorities are shut
//	GET  /jobs/K · GET /health · GET /version · GET /features
//	GET  /features/1.1 · PUT /features/1.1   as docs/engines.md has it: whether they are open, and that they are to be
//	GET  /priorities                         how many jobs wait with each priority; 404 until the feature is open
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
	Version string // "1.0…" or "1.1…"
	Workers int    // steps at once
}

// Run serves until the context ends; then requests are answered and steps are finished that are under way.
func Run(ctx context.Context, c Config) error {
	e := &engine{node: c.Node, version: c.Version, toil: toil}
	switch {
	case strings.HasPrefix(c.Version, "1.0"):
	case strings.HasPrefix(c.Version, "1.1"):
		e.priorities = true
	default:
		return fmt.Errorf("there is no version %q: there are 1.0 and 1.1", c.Version)
	}
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
	log.Printf("%s is version %s on %s", c.Node, c.Version, c.Listen)
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
	priorities    bool // this version knows them
	toil          func(claim)

	mu   sync.Mutex
	open bool // the feature was open when it was last looked for; it is never shut again
}

// feature tells whether the version's feature is open.
func (e *engine) feature(ctx context.Context) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.priorities && !e.open {
		n := 0
		if err := e.db.QueryRowContext(ctx, "SELECT COUNT(*) FROM windlass_features WHERE version = '1.1'").Scan(&n); err == nil {
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
