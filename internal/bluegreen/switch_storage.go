package bluegreen

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/switchover"
)

// verifyStatus is how far the data check is: the checker's own cursor, and its verdict once it is there.
type verifyStatus struct {
	Cursor json.RawMessage `json:"cursor,omitempty"`
	Equal  check.Results   `json:"equal,omitempty"`
}

// verified looks whether this action has compared the data: the world does not keep the proof, the status does.
func (h handlers) verified(_ context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Equal.OK() {
		return engine.Missing("the rows are not compared yet"), nil
	}
	o := engine.There("the rows of %s and %s are equal", c.Campaign.FromCell, c.Campaign.ToCell)
	o.Checks = st.Equal
	return o, nil
}

func (h handlers) verify(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if _, _, err := bothCells(c); err != nil {
		return engine.Result{}, err
	}
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	save := func(ctx context.Context, cursor any, progress float64, message string) error {
		b, err := json.Marshal(cursor)
		if err != nil {
			return fmt.Errorf("save how far the comparison is: %w", err)
		}
		st.Cursor = b
		return c.Save(ctx, st, progress, message)
	}
	cs, err := h.DataChecker.Compare(ctx, c.Cluster, c.Campaign.FromCell, c.Campaign.ToCell, c.Campaign.Verify, st.Cursor, save)
	if err != nil {
		return engine.Result{}, fmt.Errorf("compare the rows: %w", err)
	}
	for _, r := range cs {
		if r.Verdict == check.Fail {
			return engine.Result{}, &engine.Refusal{Checks: cs, Err: fmt.Errorf("the data differs: %s", cs.Bad())}
		}
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: "the rows could not all be compared: " + cs.Bad().String()}, nil
	}
	return engine.Result{Checks: cs, Progress: 1, Status: engine.Status(verifyStatus{Equal: cs})}, nil
}

// released looks whether a comparison that was broken off has left an applier stopped.
func (h handlers) released(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	ok, err := h.DataChecker.Released(ctx, c.Cluster, st.Cursor)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look what the comparison has left stopped: %w", err)
	}
	if !ok {
		return engine.Missing("the comparison was broken off, and replication that it stopped does not run yet"), nil
	}
	return engine.There("nothing is left stopped by the comparison"), nil
}

func (h handlers) release(ctx context.Context, c *engine.Call) (engine.Result, error) {
	st, err := engine.StatusOf[verifyStatus](c)
	if err != nil {
		return engine.Result{}, err
	}
	if err := h.DataChecker.Release(ctx, c.Cluster, st.Cursor); err != nil {
		return engine.Result{}, fmt.Errorf("start the replication that the comparison stopped: %w", err)
	}
	c.Point("released")
	return engine.Result{}, nil
}

// move is the storage switch: from the old cell into the new one.
func (h handlers) move() switchover.Move {
	return switchover.Move{Storage: h.Storage, Switcher: h.Switcher, Ends: func(c *engine.Call) (switchover.Ends, error) {
		return switchover.Ends{Old: switchover.In(c.Campaign.FromCell), New: switchover.In(c.Campaign.ToCell)}, nil
	}}
}

func (h handlers) preflight(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	if _, _, err := bothCells(c); err != nil {
		return engine.Observation{}, err
	}
	return h.move().Preflight(ctx, c)
}

// proofStatus remembers that the proof was made, and its evidence.
type proofStatus struct {
	Proved check.Results `json:"proved,omitempty"`
}

func (h handlers) proved(_ context.Context, c *engine.Call) (engine.Observation, error) {
	st, err := engine.StatusOf[proofStatus](c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !st.Proved.OK() {
		return engine.Missing("no row was written and seen on every replica yet"), nil
	}
	o := engine.There("a row written on the primary arrived on every replica")
	o.Checks = st.Proved
	return o, nil
}

func (h handlers) prove(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if err := h.fence(ctx, c, c.Cluster); err != nil {
		return engine.Result{}, err
	}
	cs, err := h.Switcher.Prove(ctx, c.Cluster, c.Term)
	if err != nil {
		return engine.Result{}, fmt.Errorf("write a row and wait for it: %w", err)
	}
	c.Point("proved")
	if !cs.OK() {
		return engine.Result{Wait: true, Checks: cs, Message: cs.Bad().String()}, nil
	}
	return engine.Result{Checks: cs, Status: engine.Status(proofStatus{Proved: cs})}, nil
}
