package datacheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Released tells whether every applier that the status of a comparison names as stopped runs again, without an end. A node that is not in the
// cluster any more has none.
func (k *Checker) Released(ctx context.Context, c fleet.Cluster, status json.RawMessage) (bool, error) {
	st, err := decode(status)
	if err != nil {
		return false, err
	}
	all := true
	err = k.stopped(ctx, st, nodes(c), func(ctx context.Context, c *node.Conn) error {
		a, err := c.Applier(ctx)
		all = all && a.Endless()
		return err
	})
	return all, err
}

// Release starts the appliers that the status names, and no other: who stopped another had a reason.
func (k *Checker) Release(ctx context.Context, c fleet.Cluster, status json.RawMessage) error {
	st, err := decode(status)
	if err != nil {
		return err
	}
	return k.stopped(ctx, st, nodes(c), resume)
}

func decode(status json.RawMessage) (st Status, err error) {
	if len(status) == 0 {
		return st, nil
	}
	if err := json.Unmarshal(status, &st); err != nil {
		return st, fmt.Errorf("the data check's status can't be read: %w", err)
	}
	return st, nil
}

func nodes(c fleet.Cluster) []fleet.Node {
	var all []fleet.Node
	for _, cell := range c.Cells {
		all = append(all, cell.Nodes...)
	}
	return all
}

// stopped calls for each node that the status names as stopped. One that fails keeps none of the others waiting.
func (k *Checker) stopped(ctx context.Context, st Status, nodes []fleet.Node, call func(ctx context.Context, c *node.Conn) error) error {
	var errs []error
	for _, n := range nodes {
		if !slices.Contains(st.Stopped, n.Name) {
			continue
		}
		c, err := node.Open(ctx, k.cfg.Access, n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, call(ctx, c))
		c.Close()
	}
	return errors.Join(errs...)
}
