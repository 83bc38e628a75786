// Command jobs is a small workflow engine, made to be upgraded: jobs of several steps that outlive the node that began them, timers,
// retries, over one database that all nodes share. It is the example of docs/design/rolling.md, and it knows nothing of Windlass.
//
// One source, two versions: `go build -ldflags "-X main.version=1.1.0"`. Version 1.1 knows priorities: a column that the schema of 1.0 does
// not have, and a feature that stays shut until the table windlass_features has a row for 1.1.
//
//	JOBS_DSN=postgres://… jobs --listen 127.0.0.1:8081 --node n1
//
// POST /jobs?key=K&steps=N[&priority=P] · GET /jobs/K · GET /health · GET /version · GET /features
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// version is set when it is built.
var version = "1.0.0"

func main() {
	listen := flag.String("listen", "127.0.0.1:8081", "`ADDRESS` to serve on")
	node := flag.String("node", "n1", "this node's `NAME`")
	workers := flag.Int("workers", 2, "steps at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *listen, *node, *workers); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, listen, node string, workers int) error {
	db, err := open(os.Getenv("JOBS_DSN"))
	if err != nil {
		return err
	}
	defer db.Close()
	e := &engine{db: db, node: node, priorities: !strings.HasPrefix(version, "1.0")}
	var work sync.WaitGroup
	for range workers {
		work.Go(func() { e.work(ctx) })
	}
	s := &http.Server{Addr: listen, Handler: e.routes(), ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- s.ListenAndServe() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = s.Shutdown(grace) // requests under way are answered
	work.Wait()             // and steps under way are finished
	return err
}

// store is the database, and how it numbers parameters.
type store struct {
	*sql.DB
	postgres bool
}

func open(dsn string) (store, error) {
	driver, source := "pgx", dsn
	if rest, ok := strings.CutPrefix(dsn, "mysql://"); ok {
		driver, source = "mysql", rest
	}
	db, err := sql.Open(driver, source)
	if err == nil {
		db.SetMaxOpenConns(8)
	}
	return store{db, driver == "pgx"}, err
}

// q writes ? as the database wants it.
func (s store) q(query string) string {
	for i := 1; s.postgres && strings.Contains(query, "?"); i++ {
		query = strings.Replace(query, "?", "$"+strconv.Itoa(i), 1)
	}
	return query
}

type engine struct {
	db         store
	node       string
	priorities bool // this version knows them

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

func (e *engine) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /jobs", e.create)
	m.HandleFunc("GET /jobs/{key}", e.read)
	m.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		query := "SELECT COUNT(*) FROM job WHERE id = 0"
		if e.priorities { // a newer node on an older schema is not fit for anything
			query = "SELECT COUNT(priority) FROM job WHERE id = 0"
		}
		n := 0
		if err := e.db.QueryRowContext(r.Context(), query).Scan(&n); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	m.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"version": version, "node": e.node})
	})
	m.HandleFunc("GET /features", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]bool{"priorities": e.feature(r.Context())})
	})
	return m
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	key := r.FormValue("key")
	steps, err := strconv.Atoi(r.FormValue("steps"))
	if key == "" || err != nil || steps < 1 {
		http.Error(w, "a job needs a key and a number of steps", http.StatusBadRequest)
		return
	}
	query, args := "INSERT INTO job (name, steps, started_on) VALUES (?, ?, ?)", []any{key, steps, version}
	if p := r.FormValue("priority"); p != "" {
		n, err := strconv.Atoi(p)
		if err != nil || !e.feature(r.Context()) {
			http.Error(w, "priorities are not open", http.StatusConflict)
			return
		}
		query, args = "INSERT INTO job (name, steps, started_on, priority) VALUES (?, ?, ?, ?)", append(args, n)
	}
	if _, err := e.db.ExecContext(r.Context(), e.db.q(query), args...); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
}

func (e *engine) read(w http.ResponseWriter, r *http.Request) {
	var j struct {
		Steps    int    `json:"steps"`
		Step     int    `json:"step"`
		State    string `json:"state"`
		Started  string `json:"started_on"`
		Finished string `json:"finished_on,omitempty"`
	}
	err := e.db.QueryRowContext(r.Context(), e.db.q("SELECT steps, step, state, started_on, finished_on FROM job WHERE name = ?"), r.PathValue("key")).Scan(&j.Steps, &j.Step, &j.State, &j.Started, &j.Finished)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		http.NotFound(w, r)
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	default:
		answer(w, j)
	}
}

// work takes steps that are due, until it is told to end; a step that it has begun it finishes.
func (e *engine) work(ctx context.Context) {
	for ctx.Err() == nil {
		did, err := e.step()
		if err != nil {
			log.Printf("a step: %v", err)
		}
		if !did {
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
}

// A step belongs to its node for as long as claimFor, in milliseconds. If the node dies another takes it up then.
const claimFor = 3000

// step does the next step of a job: it claims it, works, and writes what came of it exactly once, for the step's row can be there but once.
func (e *engine) step() (did bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	id, n, attempts, err := e.claim(ctx)
	if err != nil || id == 0 {
		return false, err
	}
	time.Sleep(time.Duration(20+(id*31+int64(n)*17)%60) * time.Millisecond) // the work
	now := time.Now().UnixMilli()
	if (id+int64(n))%7 == 0 && attempts == 0 { // the first try of some fails, and is done again later
		_, err := e.db.ExecContext(ctx, e.db.q("UPDATE job SET due = ?, attempts = 1, claimed_by = '' WHERE id = ? AND step = ? AND claimed_by = ?"), now+100, id, n, e.node)
		return true, err
	}
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return true, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	if _, err := tx.ExecContext(ctx, e.db.q("INSERT INTO job_step (job_id, step, node, version) VALUES (?, ?, ?, ?)"), id, n, e.node, version); err != nil {
		return true, err
	}
	// MySQL's assignments see the ones before them, so the step is counted last.
	res, err := tx.ExecContext(ctx, e.db.q(`UPDATE job SET attempts = 0, claimed_by = '', due = ?, finished_on = CASE WHEN step + 1 >= steps THEN ? ELSE '' END,
		state = CASE WHEN step + 1 >= steps THEN 'done' ELSE 'ready' END, step = step + 1 WHERE id = ? AND step = ? AND claimed_by = ?`), now+250, version, id, n, e.node)
	if err != nil {
		return true, err
	}
	if rows, err := res.RowsAffected(); err != nil || rows != 1 {
		return true, errors.Join(errors.New("somebody else has the step"), err)
	}
	return true, tx.Commit()
}

// claim takes a step that is due and nobody has.
func (e *engine) claim(ctx context.Context) (id int64, step, attempts int, err error) {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, 0, err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	order := "due"
	if e.feature(ctx) {
		order = "priority DESC, due"
	}
	now := time.Now().UnixMilli()
	err = tx.QueryRowContext(ctx, e.db.q("SELECT id, step, attempts FROM job WHERE state = 'ready' AND due <= ? AND (claimed_by = '' OR claimed_until < ?) ORDER BY "+order+" LIMIT 1 FOR UPDATE SKIP LOCKED"), now, now).Scan(&id, &step, &attempts)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, 0, 0, nil
	}
	if err != nil {
		return 0, 0, 0, err
	}
	if _, err := tx.ExecContext(ctx, e.db.q("UPDATE job SET claimed_by = ?, claimed_until = ? WHERE id = ?"), e.node, now+claimFor, id); err != nil {
		return 0, 0, 0, err
	}
	return id, step, attempts, tx.Commit()
}
