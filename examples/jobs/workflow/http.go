package workflow

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func (e *engine) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("POST /jobs", e.create)
	m.HandleFunc("GET /jobs/{key}", e.read)
	m.HandleFunc("GET /health", func(w http.ResponseWriter, r *http.Request) {
		if err := e.healthy(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	m.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		Answer(w, map[string]string{"version": e.version, "node": e.node})
	})
	m.HandleFunc("GET /features", func(w http.ResponseWriter, r *http.Request) {
		features := map[string]bool{}
		if e.adds != nil {
			features[e.adds.Name] = e.feature(r.Context())
		}
		Answer(w, features)
	})
	if e.adds != nil {
		e.adds.Routes(m, e.db.DB, e.feature)
	}
	return m
}

// healthy tells whether the node can do anything at all: a newer one on an older schema can't.
func (e *engine) healthy(ctx context.Context) error {
	query := "SELECT COUNT(*) FROM job WHERE id = 0"
	if e.adds != nil {
		query = "SELECT COUNT(" + e.adds.Column + ") FROM job WHERE id = 0"
	}
	n := 0
	return e.db.QueryRowContext(ctx, query).Scan(&n)
}

// Answer answers with JSON.
func Answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // who does not wait for it does not get it
}

// order is what a client asks for.
type order struct {
	key          string
	steps, delay int
	more         map[string]int // what only a later version knows
}

func read(r *http.Request) (o order, err error) {
	if err := r.ParseForm(); err != nil {
		return o, err
	}
	o.more = map[string]int{}
	for name := range r.Form {
		text := r.Form.Get(name)
		if name == "key" {
			o.key = text
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return o, fmt.Errorf("%s is %q, and no number from 0 on", name, text)
		}
		switch name {
		case "steps":
			o.steps = n
		case "delay":
			o.delay = n
		default:
			o.more[name] = n
		}
	}
	if o.key == "" || o.steps < 1 {
		return o, errors.New("a job needs a key and a number of steps")
	}
	return o, nil
}

func (e *engine) create(w http.ResponseWriter, r *http.Request) {
	o, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	query, args := "INSERT INTO job (name, steps, due, started_on) VALUES (?, ?, ?, ?)", []any{o.key, o.steps, time.Now().UnixMilli() + int64(o.delay), e.version}
	for name, n := range o.more {
		if e.adds == nil || name != e.adds.Parameter || !e.feature(r.Context()) {
			http.Error(w, name+" is not known to this version, or not open", http.StatusConflict)
			return
		}
		query, args = "INSERT INTO job (name, steps, due, started_on, "+e.adds.Column+") VALUES (?, ?, ?, ?, ?)", append(args, n)
	}
	_, err = e.db.ExecContext(r.Context(), e.db.q(query), args...)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusCreated)
	case isTwice(err):
		e.again(r.Context(), w, o)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// again answers a client that posts a job which is there: it may not have seen the answer.
func (e *engine) again(ctx context.Context, w http.ResponseWriter, o order) {
	steps := 0
	err := e.db.QueryRowContext(ctx, e.db.q("SELECT steps FROM job WHERE name = ?"), o.key).Scan(&steps)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case steps != o.steps:
		http.Error(w, fmt.Sprintf("the key %q has another job, of %d steps", o.key, steps), http.StatusConflict)
	default:
		w.WriteHeader(http.StatusOK)
	}
}

// isTwice tells whether the key is there already.
func isTwice(err error) bool {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	return errors.As(err, &pg) && pg.Code == "23505" || errors.As(err, &my) && my.Number == 1062
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
		Answer(w, j)
	}
}
