package seed

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// Resumed tells whether no applier that the status of a copy names is left stopped. One that has stopped at an error of its own, and one of
// a server that follows nobody, were not stopped by us.
func (s *Seeder) Resumed(ctx context.Context, r bluegreen.SeedRequest, status json.RawMessage) (done bool, err error) {
	done = true
	err = s.stopped(ctx, r, status, func(c *node.Conn) error {
		a, err := c.Applier(ctx)
		done = err == nil && (!a.Exists || a.SQL || a.IO && a.Error != "") // while it receives, the error is the applier's
		return err
	})
	return done && err == nil, err
}

// Resume starts the applier that an earlier try has stopped, and was killed before it could start it again.
func (s *Seeder) Resume(ctx context.Context, r bluegreen.SeedRequest, status json.RawMessage) error {
	return s.stopped(ctx, r, status, func(c *node.Conn) error { return apply(ctx, c) })
}

// stopped opens the node that the status names, if it names one that the cluster still has.
func (s *Seeder) stopped(ctx context.Context, r bluegreen.SeedRequest, status json.RawMessage, do func(*node.Conn) error) error {
	var st Status
	if len(status) == 0 {
		return nil
	}
	if err := json.Unmarshal(status, &st); err != nil {
		return fmt.Errorf("the status of the copy is unreadable: %w", err)
	}
	if st.Stopped == "" {
		return nil
	}
	for _, cell := range r.Cluster.Cells {
		for _, n := range cell.Nodes {
			if n.Name != st.Stopped {
				continue
			}
			c, err := node.Open(ctx, s.cfg.Access, n)
			if err != nil {
				return fmt.Errorf("look at the applier that an earlier try may have stopped: %w", err)
			}
			defer c.Close()
			return do(c)
		}
	}
	return nil
}
