package service

import (
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// gate is a node's endpoint.
type gate struct {
	mu    sync.Mutex
	knows string // version whose features it has
	open  bool
	used  []string
	term  int64
	ill   bool
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.ill:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case r.URL.Path != "/features/"+g.knows:
		http.NotFound(w, r)
	case r.Method == http.MethodPut:
		var asked struct {
			Open bool
			Term int64
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || !asked.Open {
			http.Error(w, "what?", http.StatusBadRequest)
			return
		}
		if asked.Term < g.term {
			http.Error(w, "fenced", http.StatusConflict)
			return
		}
		g.open, g.term = true, asked.Term
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"open": g.open, "used": g.used})
	}
}

// Features are open when the table and every node say so; an old node has none, and whatever is there too early is named.
func TestFeaturesByAnEndpoint(t *testing.T) {
	db, err := sql.Open("pgx", statetest.Postgres(t))
	must(t, err)
	defer db.Close()
	g := Gates{Features: Features{DB: db, Dialect: Postgres}, URL: "http://{address}/features/{version}"}
	c := fleet.Cluster{Env: "qa", Name: "jobs", Cells: []fleet.Cell{{Name: "main"}}}
	gates := []*gate{{knows: "1.1"}, {knows: "1.0"}}
	for i, one := range gates {
		s := httptest.NewServer(one)
		defer s.Close()
		c.Cells[0].Nodes = append(c.Cells[0].Nodes, fleet.Node{Name: []string{"n1", "n2"}[i], Address: strings.TrimPrefix(s.URL, "http://")})
	}
	want := func(what string, open bool, used ...string) {
		t.Helper()
		if is, by, err := g.Open(ctx, c, "1.1", nil); err != nil || is != open || !reflect.DeepEqual(append([]string{}, by...), append([]string{}, used...)) {
			t.Errorf("%s: open %v, used %v, %v; want %v, %v", what, is, by, err, open, used)
		}
	}
	want("at first", false)
	gates[0].used = []string{"priorities"}
	want("one is used early", false, "priorities")
	gates[0].used, gates[0].open = nil, true
	want("one is open early", false, "n1 says that they are open")
	gates[0].open = false
	if err := g.SetOpen(ctx, c, "1.1", 7); err == nil || !strings.Contains(err.Error(), "n2 does not open the features of 1.1: 404") {
		t.Errorf("a node that has no such features: %v", err)
	}
	want("not everywhere", false)
	gates[1].knows = "1.1"
	must(t, g.SetOpen(ctx, c, "1.1", 7))
	want("everywhere", true)
	gates[1].term = 9
	if err := g.SetOpen(ctx, c, "1.1", 8); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("a lower term: %v", err)
	}
	gates[1].ill = true
	if _, _, err := g.Open(ctx, c, "1.1", nil); err == nil || !strings.Contains(err.Error(), "n2 does not say") {
		t.Errorf("a node that does not answer is unknown: %v", err)
	}
}
