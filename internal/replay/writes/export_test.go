package writes

import (
	"context"
	"iter"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Arranged gives the texts of a capture's steps in their order.
func Arranged(ctx context.Context, events func(context.Context) iter.Seq2[capture.Block, error], after string) []string {
	p, err := parsePosition(after)
	if err != nil {
		panic(err)
	}
	r := &run{Config: Config{Events: events}.filled(), out: &Result{Tally: &tally.Tally{}}, after: p}
	steps, err := r.load(ctx)
	if err != nil {
		panic(err)
	}
	var out []string
	for _, s := range steps {
		out = append(out, string(s.stmt.Text))
	}
	return out
}
