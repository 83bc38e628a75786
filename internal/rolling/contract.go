package rolling

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Contracting takes away what only versions before the one that serves used. The schema package gives it.
type Contracting interface {
	// CheckContract judges what will be taken away: what would make the version that serves fail, or wait, fails.
	CheckContract(ctx context.Context, c fleet.Cluster, version string) (check.Results, error)
	// Contracted tells whether all of it is gone.
	Contracted(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error)
	// Contract takes it away. After a kill it goes on where the database is. There is no way back.
	Contract(ctx context.Context, c fleet.Cluster, version string, term int64, status json.RawMessage, save Save) error
}

// Opened tells since when a version's features are open. What gives Features may give it too; else the rollback window is not known.
type Opened interface {
	OpenedAt(ctx context.Context, c fleet.Cluster, version string) (at time.Time, open bool, err error)
}

// ContractHandlers returns the handler of every step of the contract strategy.
func ContractHandlers(p Ports) []engine.Handler {
	if p.Sleep == nil {
		p.Sleep = sleep
	}
	h := handlers{p, &sync.Mutex{}}
	return []engine.Handler{
		{Kind: strategy.CheckContract, Version: 1, Forward: engine.Act{Observe: h.contractFits}},
		{Kind: strategy.ContractSchema, Version: 1, Forward: engine.Act{Observe: h.contracted, Do: h.contract}, Saves: true},
	}
}

// nothingOld looks whether anything of an old version may still be there, or come back: every node serves on the new one, its features are
// open, and the rollback window is over since.
func (h handlers) nothingOld(ctx context.Context, c *engine.Call) (check.Results, error) {
	all, foreign, err := h.lookAround(ctx, c)
	if err != nil {
		return nil, err
	}
	cs := check.Results{onlyOurs(c, foreign), h.onlyOursConnected(ctx, c)}
	for _, s := range all {
		if s.whole(c.Campaign.To) {
			cs = append(cs, check.Passed("serves", s.String(), c.Now()))
		} else {
			cs = append(cs, check.Failed("serves", s.String(), "bring it to "+c.Campaign.To+" and let it serve: nothing is taken away that an old node may use", c.Now()))
		}
	}
	opened, ok := h.Features.(Opened)
	if !ok {
		return append(cs, check.Unknowable("rollback-window", fmt.Errorf("this engine does not say when its features were opened"), c.Now())), nil
	}
	at, open, err := opened.OpenedAt(ctx, c.Cluster, c.Campaign.To)
	ends := at.Add(c.Campaign.Contract.Window)
	switch {
	case err != nil:
		cs = append(cs, check.Unknowable("rollback-window", err, c.Now()))
	case !open:
		cs = append(cs, check.Failed("rollback-window", "the features of "+c.Campaign.To+" are shut: until they open the old version may come back", "end the upgrade to "+c.Campaign.To+" first", c.Now()))
	case c.Now().Before(ends):
		cs = append(cs, check.Failed("rollback-window", fmt.Sprintf("the features of %s are open since %s, and the rollback window of %v ends at %s", c.Campaign.To, stamp(at), c.Campaign.Contract.Window, stamp(ends)), "wait until then, or shorten contract.window", c.Now()))
	default:
		cs = append(cs, check.Passed("rollback-window", fmt.Sprintf("the features of %s are open since %s, and the rollback window of %v is over since %s", c.Campaign.To, stamp(at), c.Campaign.Contract.Window, stamp(ends)), c.Now()))
	}
	return cs, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// contractFits holds while something old may be there, and refuses what the version that serves would notice.
func (h handlers) contractFits(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	cs, err := h.nothingOld(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	if !cs.OK() {
		return engine.Observation{Checks: cs, Message: cs.Bad().String()}, nil
	}
	more, err := h.Contracting.CheckContract(ctx, c.Cluster, c.Campaign.To)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at what is to be taken away: %w", err)
	}
	cs = append(cs, more...)
	if !more.OK() {
		return engine.Observation{}, &engine.Refusal{Checks: cs, Err: fmt.Errorf("nothing is taken away: %s", more.Bad())}
	}
	return engine.Observation{There: true, Checks: cs, Message: "nothing of a version before " + c.Campaign.To + " is left"}, nil
}

func (h handlers) contracted(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	ok, cs, err := h.Contracting.Contracted(ctx, c.Cluster, c.Campaign.To)
	if err != nil {
		return engine.Observation{}, fmt.Errorf("look at the schema: %w", err)
	}
	o := engine.Observation{There: ok, Checks: cs, Message: "nothing is left to take away"}
	if !ok {
		o.Message = cs.Bad().String()
	}
	return o, nil
}

// contract looks once more before it takes anything away: a node may have come back old since.
func (h handlers) contract(ctx context.Context, c *engine.Call) (engine.Result, error) {
	cs, err := h.nothingOld(ctx, c)
	if err != nil {
		return engine.Result{}, err
	}
	if !cs.OK() {
		return engine.Result{Wait: true, Status: c.Status, Message: "nothing is taken away: " + cs.Bad().String()}, nil
	}
	if err := h.Contracting.Contract(ctx, c.Cluster, c.Campaign.To, c.Term, c.Status, c.Save); err != nil {
		return engine.Result{}, fmt.Errorf("take away what the old version used: %w", err)
	}
	return engine.Result{Progress: 1, Message: "what only versions before " + c.Campaign.To + " used is gone"}, nil
}
