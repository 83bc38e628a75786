package plans

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/conns"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// Kind is one kind of statement of a capture, with the first that was seen of it.
type Kind struct {
	Fingerprint tally.Fingerprint `json:"fingerprint"`
	Text        string            `json:"text"` // the normal form
	Count       int64             `json:"count"`
	Write       bool              `json:"write,omitempty"`
	Example     tally.Statement   `json:"example"`
	Traits      query.Traits      `json:"-"`
}

// mostText is of a statement that is kept, in bytes.
const mostText = 64 << 10

// Collect finds the kinds of statements of a capture that can be explained, the most frequent first, at most so many. It looks at four times as many at the most; a kind whose first statement
// is longer than 64 KiB is left out.
func Collect(ctx context.Context, blocks func(context.Context) iter.Seq2[capture.Block, error], most int) ([]Kind, error) {
	var all conns.All
	found := map[tally.Fingerprint]*Kind{}
	unfit := map[tally.Fingerprint]bool{}
	var buf []byte
	for b, err := range blocks(ctx) {
		if err != nil {
			return nil, fmt.Errorf("read the capture: %w", err)
		}
		if b.Meta.Masked {
			return nil, errors.New("the capture is masked: without their values its statements have no plans")
		}
		for i := range b.Events {
			e := &b.Events[i]
			c := all.Event(&b.Meta, e)
			if cmd := wire.Command(e.Command); e.Kind != capture.Start || cmd != wire.ComQuery && cmd != wire.ComStmtExecute {
				continue
			}
			s, reason := c.Statement(e)
			if reason != "" {
				continue
			}
			var hash uint64
			hash, buf = query.Fingerprint(buf, s.Text, c.Mode)
			f := tally.Fingerprint(hash)
			if k := found[f]; k != nil {
				k.Count++
				continue
			}
			if unfit[f] {
				continue
			}
			if len(found) >= 4*most || len(s.Text)+len(s.Params) > mostText {
				continue
			}
			write, err := Fit(s)
			if err != nil {
				if len(unfit) < 4*most {
					unfit[f] = true
				}
				continue
			}
			found[f] = &Kind{Fingerprint: f, Text: string(buf), Count: 1, Write: write, Example: s, Traits: query.Look(s.Text, c.Mode)}
		}
	}
	out := make([]Kind, 0, len(found))
	for _, k := range found {
		out = append(out, *k)
	}
	slices.SortFunc(out, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Fingerprint, b.Fingerprint))
	})
	return out[:min(len(out), most)], nil
}

// Finding is a kind of statement of which the plans differ, or that one version refuses.
type Finding struct {
	Kind
	Old   string       `json:"old"`
	New   string       `json:"new"`
	Why   string       `json:"why"`
	Worse bool         `json:"worse,omitempty"`
	Error compare.Kind `json:"error,omitempty"` // the new version alone does not take it: a syntax error, or another
}

// All explains every kind on both servers. What an account may not, or a read-only server refuses, is counted and not compared.
func All(ctx context.Context, old, new *probe.Session, kinds []Kind) (found []Finding, refused int, err error) {
	for _, k := range kinds {
		e, a, b, err := Compare(ctx, old, new, k.Example)
		if err != nil {
			return found, refused, fmt.Errorf("explain %s: %w", k.Text, err)
		}
		f := Finding{Kind: k, Old: e.Old, New: e.New, Why: e.Why, Worse: e.Worse}
		switch {
		case misunderstood(a, b):
			f.Error, f.Worse = compare.Syntax, true
		case mute(a, b):
			refused++
			continue
		case a.Refused.Errno == 0 && b.Refused.Errno != 0:
			f.Error = compare.Difference(k.Traits, a.Refused, b.Refused)
		}
		if e.Differs || f.Error != "" {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return cmp.Compare(grade(a), grade(b)) })
	return found, refused, nil
}

func grade(f Finding) int {
	switch {
	case f.Error != "":
		return 0
	case f.Worse:
		return 1
	}
	return 2
}

// Tell gives the plans to a tally that knows the fingerprints, so that they are in its report.
func Tell(t *tally.Tally, found []Finding) {
	for _, f := range found {
		t.AddPlan(f.Fingerprint, tally.Explained{Old: f.Old, New: f.New, Differs: true, Worse: f.Worse, Why: f.Why})
	}
}

// Write writes the findings for a person.
func Write(w io.Writer, found []Finding, asked, refused int) error {
	if _, err := fmt.Fprintf(w, "%d kinds of statements were explained on both versions; the plans of %d differ.\n", asked-refused, len(found)); err != nil {
		return err
	}
	if refused > 0 {
		if _, err := fmt.Fprintf(w, "%d were not: the account may not, or a server is read-only and the account lacks READ ONLY ADMIN.\n", refused); err != nil {
			return err
		}
	}
	for _, f := range found {
		how := "differs"
		switch {
		case f.Error != "":
			how = "refused by the new version: " + string(f.Error)
		case f.Worse:
			how = "worse"
		}
		_, err := fmt.Fprintf(w, "\n%s  %s, %d times\n  %s\n  %s\n  old:\n%s  new:\n%s", f.Fingerprint, how, f.Count, f.Text, f.Why, indented(f.Old), indented(f.New))
		if err != nil {
			return err
		}
	}
	return nil
}

func indented(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
