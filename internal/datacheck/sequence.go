package datacheck

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// sequence is where a sequence stands. It is not part of a snapshot: servers read its last state. So it is read where a
// server is stopped, and on a reference that is not stopped before and after the snapshot.
type sequence struct {
	next, increment, round int64
	rest                   string
}

func (s sequence) String() string { return fmt.Sprintf("%d", s.next) }

// between tells whether a state lies between two others of the same sequence, which may have turned over between them.
func (s sequence) between(a, b sequence) bool {
	if s.rest != a.rest || s.increment != a.increment {
		return false
	}
	order := func(x, y sequence) bool { // x is not after y
		if x.round != y.round {
			return x.round < y.round
		}
		if x.increment < 0 {
			return x.next >= y.next
		}
		return x.next <= y.next
	}
	return order(a, s) && order(s, b)
}

func readSequences(ctx context.Context, c *node.Conn, k *catalog.Catalog) (map[string]sequence, error) {
	out := map[string]sequence{}
	for _, p := range k.Programs {
		if p.Kind != catalog.KindSequence {
			continue
		}
		var s sequence
		if err := c.One(ctx, "SELECT next_not_cached_value, increment, cycle_count, CONCAT_WS(' ', minimum_value, maximum_value, start_value, cache_size, cycle_option) FROM "+node.Table(p.Schema, p.Name), &s.next, &s.increment, &s.round, &s.rest); err != nil {
			return nil, fmt.Errorf("read sequence %s on %s: %w", p, c.Node.Name, err)
		}
		out[p.String()] = s
	}
	return out, nil
}
