package campaign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// CheckVersions is the name of the check that BeforeStep makes.
const CheckVersions = "versions-by-policy"

// GuardsStep tells whether the versions are judged before a step of the plan begins. They are, but for those that come after a step
// of a disruptive stage which moved something, and move nothing themselves: they prove it or wait for its end. To hold them
// would only take back what was moved; whatever they begin is held as the next stage.
func (c Campaign) GuardsStep(p strategy.Plan, step int) bool {
	product, err := c.Rules()
	if p.Direction == strategy.Back || product == nil && err == nil {
		return false
	}
	if !disruptive(p) || p.Steps[step].Undoes != "" {
		return true
	}
	return !slices.ContainsFunc(p.Steps[:step], func(s strategy.Step) bool { return s.Undoes != "" })
}

// BeforeStep judges by the campaign's policy what was seen before a step of its plan begins (V5): the versions as they are, and as
// the step would leave them. A node that could not be read is unknown, and holds what would touch traffic.
func (c Campaign) BeforeStep(p strategy.Plan, step int, o fleet.Observation) check.Results {
	product, err := c.Rules()
	if err != nil {
		return check.Results{check.Unknowable(CheckVersions, err, o.At)}
	}
	if product == nil {
		return nil
	}
	if unread := unread(o); disruptive(p) && len(unread) > 0 {
		r := check.Unknowable(CheckVersions, fmt.Errorf("%s", strings.Join(unread, "; ")), o.At)
		r.Remedy = "the step begins on nothing that is unknown: let every node be readable"
		return check.Results{r}
	}
	seen := SeenIn(o)
	if reason, bad := c.judge(product, seen, c.schemaBefore(p.Stage), c.window(p, step, o)); bad {
		return check.Results{check.Failed(CheckVersions, reason.Message, reason.Release, o.At)}
	}
	for _, s := range c.ahead(p, step, o) {
		if reason, bad := c.judge(product, s.seen, s.schema, s.window); bad {
			return check.Results{check.Failed(CheckVersions, p.Steps[step].Does+": "+reason.Message, reason.Release, o.At)}
		}
	}
	return check.Results{check.Passed(CheckVersions, fmt.Sprintf("%s may run side by side", sides(seen)), o.At)}
}

// window tells whether the way back is open before the step: the old version replicates from the new one. In the stage of the switch that
// is so where the new cell is seen to have the primary: a try was broken off behind its promotion.
func (c Campaign) window(p strategy.Plan, step int, o fleet.Observation) bool {
	strat, ok := strategy.ByName(p.Strategy)
	if !ok {
		return false
	}
	isSwitch := func(s strategy.Step) bool {
		return s.Kind == strategy.SwitchStorage || s.Kind == strategy.SwitchPrimary
	}
	for _, st := range strat.Stages {
		at := slices.IndexFunc(st.Steps, isSwitch)
		switch {
		case st.Name == p.Stage:
			primary, ok := o.Primary()
			return at >= 0 && (step > at || ok && c.target(primary))
		case at >= 0:
			return true
		}
	}
	return false
}

// ahead are the states that the step leads to, as far as its kind tells: what was seen, and what it brings.
func (c Campaign) ahead(p strategy.Plan, step int, o fleet.Observation) []aheadState {
	switch p.Steps[step].Kind {
	case strategy.ExpandSchema:
		return []aheadState{{seen: SeenIn(o), schema: c.To}}
	case strategy.UpgradeCanary, strategy.UpgradeNodes:
		return []aheadState{{seen: append(SeenIn(o), Seen{Role: fleet.RoleServing, Version: c.next()}), schema: c.schemaBefore(p.Stage)}}
	case strategy.ProvisionNodes, strategy.SeedNodes, strategy.StartReplication:
		return []aheadState{{seen: append(SeenIn(o), c.made(o)...)}}
	case strategy.UpgradeReplicas, strategy.UpgradeLast:
		return []aheadState{{seen: append(SeenIn(o), Seen{Role: fleet.RoleReplica, Version: c.next(), Cell: c.ToCell}), window: c.window(p, step, o)}}
	case strategy.Preflight, strategy.SwitchStorage, strategy.PreflightPrimary, strategy.SwitchPrimary:
		if primary, ok := o.Primary(); !ok || c.target(primary) {
			return nil // a switch was broken off, or is over: what is there counts
		}
		var all []aheadState
		for _, elect := range o.Nodes {
			if elect.Version == "" || !c.target(elect) {
				continue
			}
			s := aheadState{seen: []Seen{{Role: fleet.RolePrimary, Version: elect.Version, Cell: elect.Cell}}, window: true}
			for _, n := range o.Nodes {
				if n.Version != "" && n != elect && (n.Role == fleet.RolePrimary || n.Role == fleet.RoleReplica) {
					s.seen = append(s.seen, Seen{Role: fleet.RoleReplica, Version: n.Version, Cell: n.Cell})
				}
			}
			all = append(all, s)
		}
		return all
	}
	return nil
}

// target tells whether the node is where the primary goes: in the new cell, or on the new version if the cell is raised in place.
func (c Campaign) target(n fleet.NodeObservation) bool {
	if c.InPlace() {
		return n.Cell == c.ToCell && fleet.HasVersion(n.Version, c.To)
	}
	return n.Cell == c.ToCell
}

// made are the replicas that the new cell has, or will have.
func (c Campaign) made(o fleet.Observation) []Seen {
	var all []Seen
	for _, n := range o.Nodes {
		if n.Cell == c.ToCell && n.Version != "" {
			all = append(all, Seen{Role: fleet.RoleReplica, Version: n.Version, Cell: n.Cell})
		}
	}
	if len(all) > 0 {
		return all
	}
	return []Seen{{Role: fleet.RoleReplica, Version: c.next(), Cell: c.ToCell}}
}

// next is the version that a node gets, as far as it is known before it has it: a bridge is a proof of one build.
func (c Campaign) next() string {
	if len(c.Bridges) > 0 && len(c.Bridges[0].Builds) > 1 {
		return c.Bridges[0].Builds[1]
	}
	return c.To
}

type aheadState struct {
	seen   []Seen
	schema string
	window bool
}

func disruptive(p strategy.Plan) bool {
	strat, ok := strategy.ByName(p.Strategy)
	if !ok {
		return true // nothing is known of it
	}
	st, i := strat.Stage(p.Stage)
	return i < 0 || st.Disruptive
}

// unread names the nodes of which nothing is known, each with its cause.
func unread(o fleet.Observation) []string {
	var all []string
	for _, n := range o.Nodes {
		if n.Role == fleet.RoleUnknown || n.Version == "" && n.Role != fleet.RoleOut {
			all = append(all, strings.TrimSuffix(n.Cell+"/"+n.Node+": "+n.Error, ": "))
		}
	}
	return all
}

// sides words what was seen together.
func sides(seen []Seen) string {
	if len(seen) == 0 {
		return "no two that meet"
	}
	var all []string
	for _, s := range seen {
		if side := string(s.Role) + " " + s.Version; !slices.Contains(all, side) {
			all = append(all, side)
		}
	}
	return strings.Join(all, ", ")
}
