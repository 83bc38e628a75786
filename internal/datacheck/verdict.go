package datacheck

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/datacheck/catalog"
)

// difference is what differs in the definitions of one server.
type difference struct {
	catalog.Difference
	node string
}

// definitions compares the objects of a server with the reference's, both as of the round's position.
func (r *run) definitions(s *side) {
	old, new := r.ref.catalog, s.catalog
	if !r.old {
		old, new = new, old
	}
	for _, d := range catalog.Diff(old, new, r.reserved) {
		// An account that only the new server has is shown; it is no loss of data.
		if d.Added && (d.ID.Kind == catalog.KindAccount || d.ID.Kind == catalog.KindGrant) {
			d.Harmless = true
		}
		r.differs = append(r.differs, difference{d, s.name})
	}
}

func (r *run) reserved(a catalog.Account) bool {
	return catalog.SystemAccount(a) || slices.Contains(r.cfg.Reserved, a.User) || slices.Contains(r.me, a.String())
}

// counters compares sequences, and the next numbers of AUTO_INCREMENT columns.
func (r *run) counters() error {
	r.autos = nil
	for _, p := range r.ref.catalog.Programs {
		if p.Kind != catalog.KindSequence {
			continue
		}
		before, after := r.seqBefore[p.String()], r.seqAfter[p.String()]
		for _, s := range r.subs {
			got, has := s.sequences[p.String()]
			if has && !got.between(before, after) {
				want := before.String()
				if after != before {
					want += " to " + after.String()
				}
				r.autos = append(r.autos, check.Failed("data-sequence", fmt.Sprintf("sequence %s is at %s on %s and at %s on %s, at %s", p, got, s.name, want, r.ref.name, r.position), "find out who used it on "+s.name+"; delete the cell and seed it anew", r.opened))
			}
		}
	}
	for _, t := range r.ref.catalog.Tables {
		if t.AutoIncrement == "" {
			continue
		}
		want, err := strconv.ParseUint(t.AutoIncrement, 10, 64)
		if err != nil {
			return fmt.Errorf("next number of %s: %w", t, err)
		}
		for _, s := range r.subs {
			o := s.tables[t.String()]
			if o == nil || o.AutoIncrement == "" {
				continue
			}
			got, err := strconv.ParseUint(o.AutoIncrement, 10, 64)
			if err != nil {
				return fmt.Errorf("next number of %s: %w", t, err)
			}
			if got < want {
				r.autos = append(r.autos, check.Warned("data-auto-increment", fmt.Sprintf("the next number of %s is %d on %s and %d on %s: numbers of deleted or undone rows may be given again", t, got, s.name, want, r.ref.name), "if numbers must never come back, set it with ALTER TABLE … AUTO_INCREMENT after the switch", r.opened))
			}
		}
	}
	return nil
}

// results says what was found.
func (r *run) results() check.Results {
	now := r.cfg.Now()
	var out check.Results
	var rows int64
	var chunks int
	var at []string
	for _, x := range r.status.Rounds {
		if x.Chunks == 0 {
			continue
		}
		rows, chunks = rows+x.Rows, chunks+x.Chunks
		at = append(at, fmt.Sprintf("%d rows in %d chunks at %s (%s)", x.Rows, x.Chunks, x.Position, x.At.UTC().Format(time.RFC3339)))
	}
	names := make([]string, len(r.subs))
	for i, s := range r.subs {
		names[i] = s.name
	}
	evidence := "compared: " + strings.Join(at, "; ")
	if len(r.status.Findings) == 0 {
		out = append(out, check.Result{Name: "data-rows", Verdict: check.Pass, Detail: fmt.Sprintf("%d rows in %d tables are equal on %s and %s", rows, len(r.status.Done), r.ref.name, strings.Join(names, ", ")), Evidence: evidence, At: now})
	}
	for _, f := range r.status.Findings {
		out = append(out, check.Result{Name: "data-rows", Verdict: check.Fail, Detail: f.String(), Remedy: "find out who wrote to " + f.Node + ", or what its version replays otherwise; delete the cell and seed it anew", Evidence: evidence, At: now})
	}
	for _, s := range r.status.Skipped {
		out = append(out, check.Failed("data-without-key", s+" has no key and is too large to be compared whole", "give it a primary key, or raise the limit of the data check", now))
	}
	out = append(out, r.definitionResults()...)
	return append(out, r.autos...)
}

// definitionResults puts the differing definitions of one kind into one check.
func (r *run) definitionResults() check.Results {
	type group struct {
		kind     catalog.Kind
		harmless bool
	}
	lists := map[group][]string{}
	var order []group
	for _, d := range r.differs {
		g := group{d.ID.Kind, d.Harmless}
		if lists[g] == nil {
			order = append(order, g)
		}
		lists[g] = append(lists[g], d.node+": "+d.String())
	}
	var out check.Results
	bad := false
	for _, g := range order {
		text := lists[g]
		if len(text) > 12 {
			text = append(text[:12:12], fmt.Sprintf("and %d more", len(lists[g])-12))
		}
		if g.harmless {
			out = append(out, check.Warned("data-definitions", strings.Join(text, "; "), "look whether it is meant to be so", r.opened))
			continue
		}
		bad = true
		out = append(out, check.Failed("data-definitions", strings.Join(text, "; "), "make the definitions equal: delete the cell and seed it anew, or change them on the primary", r.opened))
	}
	if !bad {
		out = append(check.Results{check.Passed("data-definitions", fmt.Sprintf("%d objects are equal at %s", len(r.ref.catalog.Facts), r.position), r.opened)}, out...)
	}
	return out
}
