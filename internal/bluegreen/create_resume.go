package bluegreen

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// stoppedCopy is a copy of this action that has left something stopped, and the status that names it.
type stoppedCopy struct {
	SeedRequest
	status json.RawMessage
}

// leftStopped looks what the copies of this action have left stopped on the old cell. Only a copy that was killed at the wrong moment
// leaves anything, and the next try of it starts that again; there is none if the action turned round meanwhile.
func (h handlers) leftStopped(ctx context.Context, c *engine.Call) ([]stoppedCopy, error) {
	r, ok := h.Storage.(Resumer)
	i := slices.IndexFunc(c.Steps, func(rec engine.StepRecord) bool { return rec.Kind == strategy.SeedNodes })
	if !ok || i < 0 || len(c.Steps[i].Status) == 0 {
		return nil, nil
	}
	var st seedStatus
	if err := json.Unmarshal(c.Steps[i].Status, &st); err != nil {
		return nil, fmt.Errorf("the status of %s is unreadable: %w", strategy.SeedNodes, err)
	}
	var left []stoppedCopy
	for _, name := range slices.Sorted(maps.Keys(st.Nodes)) {
		s := stoppedCopy{seedRequest(c, fleet.Node{Name: name}), st.Nodes[name]}
		done, err := r.Resumed(ctx, s.SeedRequest, s.status)
		if err != nil {
			return nil, fmt.Errorf("look what the copy to %s has left stopped: %w", name, err)
		}
		if !done {
			left = append(left, s)
		}
	}
	return left, nil
}

// resume starts that again, after it has raised the term on the old cell: what a predecessor sent too late is refused (trap 1).
func (h handlers) resume(ctx context.Context, c *engine.Call) error {
	left, err := h.leftStopped(ctx, c)
	if err != nil || len(left) == 0 {
		return err
	}
	if err := h.Storage.Fence(ctx, only(c.Cluster, c.Campaign.FromCell), c.Term); err != nil {
		return fmt.Errorf("raise the term: %w", err)
	}
	for _, s := range left {
		if err := h.Storage.(Resumer).Resume(ctx, s.SeedRequest, s.status); err != nil {
			return fmt.Errorf("start what the copy to %s has left stopped: %w", s.Node.Name, err)
		}
	}
	return nil
}
