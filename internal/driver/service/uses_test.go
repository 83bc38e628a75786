package service

import (
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
)

// counted sees uses of features by rows and columns of a real database: what an old node writes, which does not know of them, is none. Two features
// that can't be asked for are told as such, beside what is used.
func counted(t *testing.T, db *sql.DB, d Dialect) {
	t.Helper()
	do := func(stmts ...string) {
		t.Helper()
		for _, stmt := range stmts {
			_, err := db.Exec(stmt)
			must(t, err)
		}
	}
	do("CREATE TABLE thing (id INT, state VARCHAR(20) DEFAULT 'it''s new', grade INT NOT NULL DEFAULT -1, note TEXT, made TIMESTAMP DEFAULT CURRENT_TIMESTAMP)", "CREATE TABLE batch (id INT)")
	f := Features{DB: db, Dialect: d, Used: map[string]string{"joined": "SELECT COUNT(*) FROM thing, batch", "unnamed": "SELECT COUNT(*) FROM batch"}}
	named := []policy.Feature{{Name: "states", Column: "thing.state"}, {Name: "pauses", Column: "thing.state", Values: []string{"paused", "it's late"}}, {Name: "grades", Column: "thing.grade"},
		{Name: "notes", Column: "thing.note"}, {Name: "batches", Table: "batch"}, {Name: "joined"}}
	want := func(used ...string) {
		t.Helper()
		slices.Sort(used)
		open, is, err := f.Open(ctx, jobs, "1.1", named)
		slices.Sort(is)
		if err != nil || open || !slices.Equal(is, used) {
			t.Errorf("used: %v, %v, %v; want %v", open, is, err, used)
		}
	}
	do("INSERT INTO thing (id) VALUES (1)", "INSERT INTO thing (id) VALUES (2)")
	want()
	do("UPDATE thing SET state = 'other' WHERE id = 1")
	want("states (1)")
	do("UPDATE thing SET state = 'it''s late'", "UPDATE thing SET grade = 0, note = '' WHERE id = 2", "INSERT INTO batch VALUES (1)", "INSERT INTO batch VALUES (2)")
	want("states (2)", "pauses (2)", "grades (1)", "notes (1)", "batches (2)", "joined (4)", "unnamed (2)")

	f.Used = nil
	named = []policy.Feature{{Name: "clocks", Column: "thing.made"}, {Name: "ghosts", Column: "thing.ghost"}, {Name: "tables", Table: "nowhere"}, {Name: "nothing"}, {Name: "ends", Endpoint: "/ends"}, {Name: "batches", Table: "batch"}}
	_, used, err := f.Open(ctx, jobs, "1.1", named)
	if err == nil || !slices.Equal(used, []string{"batches (2)"}) {
		t.Fatalf("%v, %v", used, err)
	}
	for _, text := range []string{"clocks is in use: the default of thing.made is not the same for every row", "ghosts is in use: the database has no column thing.ghost", "tables is in use: ", "nothing is in use: nothing tells it", "features.nodes"} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("what can't be asked for: %v; want %q", err, text)
		}
	}
}

// An endpoint that answers with success has its feature open; one that refuses has it shut; another answer is not known.
func TestFeaturesSeenByAnEndpoint(t *testing.T) {
	code := map[string]int{"/old": http.StatusNotFound, "/new": http.StatusNotFound}
	c := fleet.Cluster{Env: "qa", Name: "jobs", Cells: []fleet.Cell{{Name: "main"}}}
	for i, own := range []string{"/old", "/new"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodGet || r.URL.Path != "/batches" {
				t.Errorf("it was asked by %s %s", r.Method, r.URL)
			}
			if code[own] == http.StatusFound {
				w.Header().Set("Location", "/login")
			}
			w.WriteHeader(code[own])
		}))
		defer s.Close()
		c.Cells[0].Nodes = append(c.Cells[0].Nodes, fleet.Node{Name: fmt.Sprint("n", i+1), Address: strings.TrimPrefix(s.URL, "http://")})
	}
	f := Features{Nodes: "http://{address}/"}
	named := []policy.Feature{{Name: "batches", Endpoint: "/batches"}}
	for said, want := range map[int]string{404: "[] <nil>", 403: "[] <nil>", 302: "[] <nil>", 501: "[] <nil>", 200: "[batches (/batches is answered by n2)] <nil>", 204: "[batches (/batches is answered by n2)] <nil>",
		503: "[] look whether batches is in use: n2 answers /batches with 503 Service Unavailable: "} {
		code["/new"] = said
		used, err := f.uses(ctx, c, named)
		if got := fmt.Sprint(used, err); got != want && !(used == nil && fmt.Sprint("[] ", err) == want) {
			t.Errorf("%d: %s, want %s", said, got, want)
		}
	}
}
