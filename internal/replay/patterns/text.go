package patterns

import (
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Find looks through a whole capture.
func Find(ctx context.Context, blocks func(context.Context) iter.Seq2[capture.Block, error], r Rules) ([]Pattern, error) {
	f := Finder{Rules: r}
	for _, err := range f.Beside(blocks)(ctx) {
		if err != nil {
			return nil, fmt.Errorf("read the capture: %w", err)
		}
	}
	return f.Found(), nil
}

// Beside looks through the blocks that somebody else reads.
func (f *Finder) Beside(blocks func(context.Context) iter.Seq2[capture.Block, error]) func(context.Context) iter.Seq2[capture.Block, error] {
	return func(ctx context.Context) iter.Seq2[capture.Block, error] {
		return func(yield func(capture.Block, error) bool) {
			for b, err := range blocks(ctx) {
				if err == nil {
					for i := range b.Events {
						f.Event(&b.Meta, &b.Events[i])
					}
				}
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

// Tell gives the patterns to a tally, so that they are in its report.
func Tell(t *tally.Tally, found []Pattern) {
	for i, p := range found {
		text := p.Text
		if p.Fingerprint == 0 {
			text = string(p.Kind) + " " + text
		}
		t.AddFound(p.Fingerprint, tally.Seen{Text: []byte(text), Traits: p.Traits &^ query.Multi}, compare.Pattern, tally.Found{ID: uint64(i), At: p.Last, Detail: p.String(), Statement: p.Example, Count: p.Count})
	}
}

// String is the pattern in a sentence.
func (p Pattern) String() string {
	s := fmt.Sprintf("%s, %s", p.Kind, times(p.Count))
	if p.Worst > 0 {
		s += fmt.Sprintf(", for %v at the longest", p.Worst.Round(time.Millisecond))
	}
	return s + ": " + p.Why + ". " + strings.ToUpper(p.Do[:1]) + p.Do[1:] + "."
}

// Text writes the patterns for a person.
func Text(w io.Writer, found []Pattern) error {
	if len(found) == 0 {
		_, err := fmt.Fprintln(w, "Nothing that is known to hurt was found.")
		return err
	}
	var last Kind
	for _, p := range found {
		if p.Kind != last {
			if _, err := fmt.Fprintf(w, "\n%s\n  why: %s\n  do:  %s\n", p.Kind, p.Why, p.Do); err != nil {
				return err
			}
			last = p.Kind
		}
		long := ""
		if p.Worst > 0 {
			long = fmt.Sprintf(", %v at the longest", p.Worst.Round(time.Millisecond))
		}
		who := ""
		if len(p.Users) > 0 {
			who = ", by " + strings.Join(p.Users, ", ")
		}
		if _, err := fmt.Fprintf(w, "  %s  %s%s%s\n      %s\n", p.Fingerprint, times(p.Count), long, who, clip(p.Text)); err != nil {
			return err
		}
	}
	return nil
}

func times(n int64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func clip(s string) string {
	if r := []rune(s); len(r) > 160 {
		return string(r[:159]) + "…"
	}
	return s
}
