package campaign

import (
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Seen is a role on a version, as it was observed. How many nodes have it is of no concern to any policy; in which cell they are may be.
type Seen struct {
	Role    fleet.Role `json:"role"`
	Version string     `json:"version"`
	Cell    string     `json:"cell,omitempty"` // "": not known
	Node    string     `json:"node,omitempty"` // of replicas: the first that was seen so, for people's eyes; nothing is judged by it
}

// SeenIn lists what an observation saw, each role on each version once for each cell. Nodes that replicate from nowhere, or that are out, meet nobody, and of
// those that could not be read nothing is known.
func SeenIn(o fleet.Observation) []Seen {
	var all []Seen
	have := map[Seen]bool{}
	for _, n := range o.Nodes {
		s := Seen{Role: n.Role, Version: n.Version, Cell: n.Cell}
		if (n.Role == fleet.RolePrimary || n.Role == fleet.RoleReplica || n.Role == fleet.RoleServing) && n.Version != "" && !have[s] {
			have[s] = true
			if s.Role == fleet.RoleReplica {
				s.Node = n.Node
			}
			all = append(all, s)
		}
	}
	return all
}

// mixedState holds a cluster whose versions may not run side by side (V5): somebody upgraded a node by hand, or a node came back on its old
// version. What was seen before the end of the last stage judges nothing.
func (t *tick) mixedState(c *candidate, at time.Time) (Reason, bool) {
	if r, holds := t.expiredBridge(c, at); holds {
		return r, true
	}
	if t.noPolicy != nil && c.next >= 0 {
		return Reason{Code: CodePolicy, Message: "nothing can be judged: " + t.noPolicy.Error(), Release: "the campaign is applied with a policy that this release can read"}, true
	}
	if t.product == nil || c.next < 0 || len(c.Seen) == 0 || !c.looked().After(c.Since) {
		return Reason{}, false
	}
	moves := t.strat.PrimaryMoves()
	window := moves >= 0 && c.next > moves || t.switched(c) // the way back is open: the old version replicates from the new one
	schema := t.Campaign.schemaBefore(c.name)
	var key strings.Builder
	fmt.Fprint(&key, window, schema)
	for _, s := range c.Seen {
		s.Node = "" // nothing is judged by it, and it is another one in every cluster
		fmt.Fprint(&key, s)
	}
	if m, ok := t.judged[key.String()]; ok {
		return m.Reason, m.made
	}
	m := memo{}
	m.Reason, m.made = t.Campaign.judge(t.product, c.Seen, schema, window)
	t.judged[key.String()] = m
	return m.Reason, m.made
}

// schemaBefore is the version of the schema that a rolling upgrade has before a stage: its first stage expands it; a contract step leaves the new one. "" for other strategies.
func (c Campaign) schemaBefore(stage string) string {
	switch {
	case !c.OfEngines():
		return ""
	case stage == strategy.StageExpandSchema:
		return c.From
	}
	return c.To
}

// judge says why versions that were seen may not be together, nor on a schema of that version; "" if there is none.
func (c Campaign) judge(product *policy.Product, seen []Seen, schema string, window bool) (Reason, bool) {
	s := policy.State{Window: window}
	for _, one := range seen {
		for _, component := range roleComponents(product, one.Role) {
			x := policy.Present{Component: component, Version: one.Version}
			if product.Stays() { // to the others it is of no concern where they are
				x.Place = product.Place(map[string]string{policy.PlaceCell: one.Cell})
			}
			s.Present = append(s.Present, x)
		}
	}
	for _, x := range product.Components {
		if x.Single && schema != "" && len(s.Present) > 0 {
			s.Present = append(s.Present, policy.Present{Component: x.Name, Version: schema})
		}
	}
	_, bad, err := product.Check(s)
	switch {
	case err != nil:
		return Reason{Code: CodePolicy, Message: "it can't be told whether its versions may run side by side: " + err.Error(), Release: "the version is seen to be another one, or its release is added to the product's policy"}, true
	case len(bad) > 0:
		more := ""
		if len(bad) > 1 {
			more = fmt.Sprintf(", and %d pairs more", len(bad)-1)
		}
		return Reason{Code: CodePolicy, Message: "versions that may not run side by side were seen: " + bad[0].String() + more,
			Release: "the node with the wrong version is brought to one that the policy allows, or taken out of the cluster"}, true
	}
	return c.otherBuild(product, seen)
}

// roleComponents are the product's components for a role: the one that is a role of another is the primary's, the other the replicas'. A node
// of an engine is all that there may be several of: which of it a node runs is not told, so it has to be allowed for each.
func roleComponents(p *policy.Product, role fleet.Role) (all []string) {
	for _, c := range p.Components {
		switch {
		case role == fleet.RoleServing:
			if c.RoleOf == "" && !c.Single {
				all = append(all, c.Name)
			}
		case c.RoleOf == "":
		case role == fleet.RolePrimary:
			return []string{c.Name}
		case role == fleet.RoleReplica:
			return []string{c.RoleOf}
		}
	}
	return all
}
