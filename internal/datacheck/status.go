package datacheck

import (
	"context"
	"fmt"
	"time"
)

// Status is what is persisted: with it a killed comparison goes on.
type Status struct {
	// Stopped are the nodes whose appliers were about to be stopped, or are. Whoever reads it starts them.
	Stopped []string `json:"stopped,omitempty"`
	Rounds  []Round  `json:"rounds"`
	// Done are the tables that were compared, as schema.name.
	Done      []string  `json:"done,omitempty"`
	Cursor    *Cursor   `json:"cursor,omitempty"`
	Findings  []Finding `json:"findings,omitempty"`
	Skipped   []string  `json:"skipped,omitempty"` // tables that were not compared, and why
	AllTables int       `json:"all_tables"`
	Bytes     int64     `json:"bytes"`     // of the tables that are compared, the server's estimate
	AllBytes  int64     `json:"all_bytes"` // of all tables
}

// Round is a time at one position.
type Round struct {
	Position string    `json:"position"`
	At       time.Time `json:"at"`
	Chunks   int       `json:"chunks"` // compared at that position
	Rows     int64     `json:"rows"`
}

// Cursor is how far the table in work was compared.
type Cursor struct {
	Table      string   `json:"table"`
	Definition string   `json:"definition"` // digest: a changed table is compared anew
	After      []string `json:"after"`      // the key, as literals; empty: nothing yet
	Rows       int64    `json:"rows"`
}

// Finding is what differs in one table on one server.
type Finding struct {
	Table    string   `json:"table"`
	Node     string   `json:"node"`     // compared
	With     string   `json:"with"`     // the reference
	Position string   `json:"position"` // at which it was seen
	Ranges   []string `json:"ranges"`   // of keys, at most maxRanges
	Chunks   int      `json:"chunks"`   // that differ
	Examples []string `json:"examples,omitempty"`
	Missing  int64    `json:"missing"` // rows seen to be on the reference only, in the ranges that were narrowed down
	Added    int64    `json:"added"`   // on the other server only
	Changed  int64    `json:"changed"` // on both, with different values
	Gave     string   `json:"gave,omitempty"`
}

// maxRanges is how many ranges of one table are told.
const maxRanges = 10

// maxChunks is how many chunks of a table may differ before the rest of it is not looked at.
const maxChunks = 200

// String tells the finding in one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%s on %s differs from %s at %s: %d chunks", f.Table, f.Node, f.With, f.Position, f.Chunks)
	if n := f.Missing + f.Added + f.Changed; n > 0 {
		s += fmt.Sprintf(", of them narrowed down %d rows changed, %d missing, %d added", f.Changed, f.Missing, f.Added)
	}
	for i, r := range f.Ranges {
		s += [2]string{"; in ", ", "}[min(i, 1)] + r
	}
	if f.Chunks > len(f.Ranges) && len(f.Ranges) == maxRanges {
		s += " and more"
	}
	for i, e := range f.Examples {
		s += [2]string{"; such as ", ", "}[min(i, 1)] + e
	}
	if f.Gave != "" {
		s += "; " + f.Gave
	}
	return s
}

// finding gets or makes the entry of a table and node.
func (r *run) finding(table, node string) *Finding {
	for i := range r.status.Findings {
		if f := &r.status.Findings[i]; f.Table == table && f.Node == node {
			return f
		}
	}
	r.status.Findings = append(r.status.Findings, Finding{Table: table, Node: node, With: r.ref.name, Position: r.position})
	return &r.status.Findings[len(r.status.Findings)-1]
}

// tell persists the status, at most once in a while unless forced.
func (r *run) tell(ctx context.Context, force bool, message string) error {
	now := r.cfg.Now()
	if !force && now.Sub(r.saved) < r.cfg.Every {
		return nil
	}
	r.saved = now
	progress := 0.0
	if r.status.AllBytes > 0 {
		progress = min(0.99, float64(r.status.Bytes)/float64(r.status.AllBytes))
	}
	if n := len(r.status.Findings); n > 0 {
		message += fmt.Sprintf("; %d tables differ", n)
	}
	if err := r.save(ctx, r.status, progress, message); err != nil {
		return fmt.Errorf("persist the data check's status: %w", err)
	}
	return nil
}
