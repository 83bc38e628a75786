// Package priorities is what version 1.1 of the engine of examples/jobs has, and 1.0 has not: a column that the schema of 1.0 does not have, by which
// steps are done, and an endpoint that counts by it. It stays shut until every node is of 1.1.
//
//	POST /jobs?…&priority=P                  409 while priorities are shut
//	GET  /priorities                         how many jobs wait with each priority; 404 until the feature is open
//	GET  /features/1.1 · PUT /features/1.1   as docs/engines.md has it: whether they are open, and that they are to be
package priorities

import (
	"context"
	"database/sql"
	"net/http"
	"strconv"

	"github.com/windlass-db/windlass/examples/jobs/workflow"
)

const since = "1.1"

// Addition is what is compiled into 1.1.
func Addition() *workflow.Addition {
	return &workflow.Addition{Since: since, Name: "priorities", Column: "priority", Parameter: "priority", Order: "priority DESC, due", Routes: routes}
}

func routes(m *http.ServeMux, db *sql.DB, open func(context.Context) bool) {
	gate := func(w http.ResponseWriter, r *http.Request) { gate(w, r, open(r.Context())) }
	m.HandleFunc("GET /features/"+since, gate)
	m.HandleFunc("PUT /features/"+since, gate)
	m.HandleFunc("GET /priorities", func(w http.ResponseWriter, r *http.Request) {
		if !open(r.Context()) {
			http.NotFound(w, r)
			return
		}
		counts, err := waiting(r.Context(), db)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		workflow.Answer(w, counts)
	})
}

// gate tells whether the version's features are open. They open by the table, which is there before a node is told to open them.
func gate(w http.ResponseWriter, r *http.Request, open bool) {
	if r.Method == http.MethodPut && !open {
		http.Error(w, "the table windlass_features has no row for "+since, http.StatusServiceUnavailable)
		return
	}
	workflow.Answer(w, map[string]any{"open": open, "used": []string{}})
}

// waiting counts the jobs that are not done by their priority.
func waiting(ctx context.Context, db *sql.DB) (map[string]int, error) {
	rows, err := db.QueryContext(ctx, "SELECT priority, COUNT(*) FROM job WHERE state <> 'done' GROUP BY priority")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		priority, n := 0, 0
		if err := rows.Scan(&priority, &n); err != nil {
			return nil, err
		}
		counts[strconv.Itoa(priority)] = n
	}
	return counts, rows.Err()
}
