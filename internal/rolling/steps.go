package rolling

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

func (h handlers) schemaFits(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cs, err := h.Schema.Check(ctx, c.Cluster, c.Campaign.To)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("compare the schemas: %w", err)
	}
	if !cs.OK() {
		return engine.Observation{}, &engine.Refusal{Checks: cs, Err: fmt.Errorf("the schema of %s is not one that %s works on: %s", c.Campaign.To, c.Campaign.From, cs.Bad())}
	}
	return engine.Observation{There: true, Checks: cs, Message: fmt.Sprintf("%d changes, none of which %s notices", len(cs), c.Campaign.From)}, nil
}

func (h handlers) expanded(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	ok, cs, err := h.Schema.Expanded(ctx, c.Cluster, c.Campaign.To)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the schema: %w", err)
	}
	o := engine.Observation{There: ok, Checks: cs, Message: "the schema of " + c.Campaign.To + " is there"}
	if !ok {
		o.Message = "missing of the schema of " + c.Campaign.To + ": " + cs.Bad().String()
	}
	return o, nil
}

func (h handlers) expand(ctx context.Context, c *engine.Call) (engine.Result, error) {
	if err := h.Schema.Expand(ctx, c.Cluster, c.Campaign.To, c.Term, c.Status, c.Save); err != nil {
		return engine.Result{}, fmt.Errorf("expand the schema: %w", err)
	}
	return engine.Result{Progress: 1, Message: "the schema of " + c.Campaign.To + " is there"}, nil
}

// on looks whether so many nodes serve on the version, and nobody is out. least and most count nodes; most < 0: all of them.
func (h handlers) on(ctx context.Context, c *engine.Call, version string, least func(nodes int) int) (engine.Observation, error) {
	st, err := engine.StatusOf[status](c)
	if err != nil {
		return engine.Observation{}, err
	}
	all, err := h.look(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	n, want := count(all, func(s seen) bool { return s.whole(version) }), least(len(all))
	o := engine.Observation{There: n >= want && len(st.Out) == 0, Progress: progress(all, version, want), Message: fmt.Sprintf("%d of %d nodes serve on %s", n, len(all), version)}
	if len(st.Out) > 0 {
		o.Message += "; out: " + strings.Join(st.Out, ", ")
	}
	if n > 0 && version == c.Campaign.To {
		o.Checks = check.Results{h.early(ctx, c)}
		if o.Checks[0].Verdict == check.Warn {
			o.Message += ". Warning: " + o.Checks[0].Detail
		}
	}
	return o, nil
}

func whole(n int) int     { return n }
func one(int) int         { return 1 }
func allButOne(n int) int { return n - 1 }

func (h handlers) canaryUp(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	return h.on(ctx, c, c.Campaign.To, one)
}

func (h handlers) allNew(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	return h.on(ctx, c, c.Campaign.To, whole)
}

func (h handlers) allOld(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	return h.on(ctx, c, c.Campaign.From, whole)
}

func (h handlers) onlyCanaryNew(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	return h.on(ctx, c, c.Campaign.From, allButOne)
}

// canaryWatched looks once more at the end of the canary's watch, which is part of its own step: a node that fell ill since goes back, and so does
// one that says nothing any more, for there is nothing to wait for.
func (h handlers) canaryWatched(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	all, err := h.look(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	for _, s := range all {
		if fleet.HasVersion(s.is.Version, c.Campaign.To) && !s.whole(c.Campaign.To) {
			return engine.Observation{}, engine.Refuse("the first node fell ill: %s", s)
		}
	}
	if count(all, func(s seen) bool { return s.whole(c.Campaign.To) }) == 0 {
		var left []string
		for _, s := range all {
			if !s.whole(c.Campaign.From) {
				left = append(left, s.String())
			}
		}
		return engine.Observation{}, engine.Refuse("no node serves on %s any more: %s", c.Campaign.To, strings.Join(left, "; "))
	}
	return h.on(ctx, c, c.Campaign.To, one)
}

func (h handlers) featuresFit(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	all, foreign, err := h.lookAround(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	cs := check.Results{onlyOurs(c, foreign), h.onlyOursConnected(ctx, c)}
	for _, s := range all {
		if s.whole(c.Campaign.To) {
			cs = append(cs, check.Passed("serves", s.String(), c.Now()))
		} else {
			cs = append(cs, check.Failed("serves", s.String(), "bring it to "+c.Campaign.To+" and let it serve: features open when the last node is there", c.Now()))
		}
	}
	open, used, err := h.features(ctx, c)
	switch {
	case err != nil:
		cs = append(cs, check.Unknowable("features", err, c.Now()))
	case open:
		cs = append(cs, check.Warned(engine.EarlyFeatures, "the features of "+c.Campaign.To+" are open already, and it was not this campaign that opened them", "find out who did: until now there was an old node", c.Now()))
	case len(used) > 0:
		cs = append(cs, check.Warned(engine.EarlyFeatures, inUse(c, used, nil), "an old node may not have understood them", c.Now()))
	default:
		cs = append(cs, check.Passed("features", "no feature of "+c.Campaign.To+" is in use yet", c.Now()))
	}
	o := engine.Observation{There: cs.OK(), Checks: cs, Message: fmt.Sprintf("all %d nodes serve on %s", len(all), c.Campaign.To)}
	if !o.There {
		o.Message = cs.Bad().String()
	}
	return o, nil
}

func (h handlers) featuresOpen(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	open, _, err := h.Features.Open(ctx, c.Cluster, c.Campaign.To, nil)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("ask for the features: %w", err)
	}
	if !open {
		return engine.Observation{Message: "the features of " + c.Campaign.To + " are shut"}, nil
	}
	cell, err := cellOf(c)
	if err != nil {
		return engine.Observation{}, err
	}
	cell.Version, cell.Nodes = c.Campaign.To, c.Cluster.Cells[0].Nodes
	return engine.Observation{There: true, Message: "the features of " + c.Campaign.To + " are open", Output: &engine.Outputs{Cells: []fleet.Cell{cell}}}, nil
}

func (h handlers) openFeatures(ctx context.Context, c *engine.Call) (engine.Result, error) {
	all, foreign, err := h.lookAround(ctx, c) // a node may have come back old since, or an unknown one
	if err != nil {
		return engine.Result{}, err
	}
	if cs := (check.Results{onlyOurs(c, foreign), h.onlyOursConnected(ctx, c)}); !cs.OK() {
		return engine.Result{Wait: true, Message: "the features stay shut: " + cs.Bad().String()}, nil
	}
	for _, s := range all {
		if !fleet.HasVersion(s.is.Version, c.Campaign.To) {
			return engine.Result{Wait: true, Message: fmt.Sprintf("the features stay shut: %s", s)}, nil
		}
	}
	if err := h.Features.SetOpen(ctx, c.Cluster, c.Campaign.To, c.Term); err != nil {
		return engine.Result{}, fmt.Errorf("open the features: %w", err)
	}
	return engine.Result{Progress: 1, Message: "the features of " + c.Campaign.To + " are open"}, nil
}
