package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/patterns"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/replay/writes"
)

// explained is what EXPLAIN said of both versions, of reads and of writes: those are not replayed here, and a text that the new version does not understand is found all the same (H9). Beside it
// is what clients do that a new version or a switch bears badly (H20).
type explained struct {
	Asked    int                `json:"asked"`   // kinds of statements
	Refused  int                `json:"refused"` // for want of rights, or as a server is read-only
	Findings []plans.Finding    `json:"findings"`
	Patterns []patterns.Pattern `json:"patterns,omitempty"`
	Failed   string             `json:"failed,omitempty"` // why they were not all asked
}

const (
	mostKinds  = 1000
	plansLimit = 10 * time.Minute
)

// explain asks both versions for the plans of what was captured, once. That it can't is noted in the report, and is no failure: it adds to what was seen, and stands for nothing of it.
func (d *Driver) explain(ctx context.Context, r bluegreen.ReplayRequest, s sides, at cursor, here place) error {
	if data, err := here.kept(ctx, namePlans); err != nil || data != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, plansLimit)
	defer cancel()
	out, err := d.explainAll(within, r, s, at)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		d.cfg.Log.Warn("plans could not all be compared", "cluster", r.Cluster.Ref(), "err", err)
		out.Failed = err.Error()
	}
	data, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("encode the plans: %w", err)
	}
	return here.keep(ctx, namePlans, data)
}

func (d *Driver) explainAll(ctx context.Context, r bluegreen.ReplayRequest, s sides, at cursor) (out explained, err error) {
	g, err := gateway(r)
	if err != nil {
		return out, err
	}
	captures, err := d.captures(ctx, g)
	if err != nil {
		return out, err
	}
	defer captures.Close()
	key, err := d.key()
	if err != nil {
		return out, fmt.Errorf("the key of the captures: %w", err)
	}
	blocks := func(ctx context.Context) iter.Seq2[capture.Block, error] {
		return writes.Blocks(ctx, captures, store.Range{From: at.From, Gateways: []string{g.Name}}, key)
	}
	var found patterns.Finder
	kinds, err := plans.Collect(ctx, found.Beside(blocks), mostKinds)
	out.Patterns = found.Found()
	if err != nil {
		return out, err
	}
	var on [2]*probe.Session
	for i, n := range []string{s.reference.Name, s.target.Name} {
		node := *s.reference
		if i == 1 {
			node = s.target
		}
		server, err := d.server(ctx, node)
		if err != nil {
			return out, err
		}
		if on[i], err = probe.Open(ctx, server); err != nil {
			return out, fmt.Errorf("open a session on %s: %w", n, err)
		}
		defer on[i].Close()
	}
	for _, k := range kinds {
		e, old, new, err := plans.Compare(ctx, on[0], on[1], k.Example)
		if err != nil {
			return out, fmt.Errorf("explain %s: %w", k.Fingerprint, err)
		}
		out.Asked++
		f := plans.Finding{Kind: k, Old: e.Old, New: e.New, Why: e.Why, Worse: e.Worse}
		switch {
		case syntax(new.Refused) && !syntax(old.Refused): // a text is parsed before any right is looked at
			f.Error = compare.Syntax
			f.Why = fmt.Sprintf("%s does not understand it: error %d", r.To, new.Refused.Errno)
			out.Findings = append(out.Findings, f)
		case old.Refused.Errno != 0 || new.Refused.Errno != 0:
			out.Refused++
		case e.Differs:
			out.Findings = append(out.Findings, f)
		}
	}
	return out, nil
}

func syntax(a compare.Answer) bool { return a.Errno == 1064 || a.Errno == 1149 }

// tell gives it to a tally.
func (e explained) tell(t *tally.Tally) {
	for _, f := range e.Findings {
		if f.Error == compare.Syntax {
			t.AddFound(f.Fingerprint, tally.Seen{Text: []byte(f.Text), Traits: query.Look(f.Example.Text, query.Mode{})}, compare.Syntax, tally.Found{ID: uint64(f.Fingerprint), Detail: f.Why, Statement: f.Example})
			continue
		}
		t.AddPlan(f.Fingerprint, tally.Explained{Old: f.Old, New: f.New, Differs: true, Worse: f.Worse, Why: f.Why})
	}
	for i := range e.Patterns {
		e.Patterns[i].Traits = query.Look(e.Patterns[i].Example.Text, query.Mode{})
	}
	patterns.Tell(t, e.Patterns)
	if e.Refused > 0 {
		t.AddNote("kinds of statements whose plans could not be compared, for want of rights or as a server is read-only (windlass replay plans)", int64(e.Refused))
	}
	if e.Failed != "" {
		t.AddNote("plans were not all compared: "+e.Failed, 1)
	}
}
