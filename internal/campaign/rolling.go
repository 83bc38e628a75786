package campaign

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Rolling holds the settings of the rolling strategy.
type Rolling struct {
	Group         string        `json:"group"`          // nodes that are out at once: "33%" or "2"
	LeastServing  int           `json:"least_serving"`  // percent of the nodes that serve at any time
	DrainWithin   time.Duration `json:"drain_within"`   // how long requests on a node get to end before they are cut off
	HealthyWithin time.Duration `json:"healthy_within"` // how long a started node gets to be healthy
	SlowStart     time.Duration `json:"slow_start"`     // from the first request to the full share of them
	Watch         time.Duration `json:"watch"`          // how long a group has to serve well before the next
}

// DefaultRolling are the settings of a campaign that says nothing.
func DefaultRolling() Rolling {
	return Rolling{Group: "33%", LeastServing: 60, DrainWithin: time.Minute, HealthyWithin: 5 * time.Minute, SlowStart: 30 * time.Second, Watch: 2 * time.Minute}
}

// Rolls tells whether the campaign upgrades the nodes of engines, group by group.
func (c Campaign) Rolls() bool { return c.Strategy == strategy.Rolling().Name }

// fileRolling is the shape of the key "rolling".
type fileRolling struct {
	Group         groupSize     `yaml:"group" doc:"nodes that are out at once, as a number or as a share of all; the first group is one node" example:"33%"`
	LeastServing  share         `yaml:"least_serving" doc:"share of the nodes that serve at any time, those that fail by themselves counted" example:"60%"`
	DrainWithin   time.Duration `yaml:"drain_within" rule:"max=1d" doc:"how long requests on a node get to end before they are cut off" example:"1m"`
	HealthyWithin time.Duration `yaml:"healthy_within" rule:"min=1s max=1d" doc:"how long a started node gets to be healthy" example:"5m"`
	SlowStart     time.Duration `yaml:"slow_start" rule:"max=1d" doc:"from a node's first request to its full share of them" example:"30s"`
	Watch         time.Duration `yaml:"watch" rule:"max=7d" doc:"how long a group has to serve well before the next is taken out" example:"2m"`
}

// groupSize is a number of nodes or a share of them.
type groupSize string

// Parse reads "2" or "33%".
func (g *groupSize) Parse(s string) error {
	if _, err := GroupSize(s).Of(1); err != nil {
		return errors.New("it has to be a number of nodes from 1 on, or a share of 1% to 100%")
	}
	*g = groupSize(s)
	return nil
}

// Wanted names it in messages.
func (*groupSize) Wanted() string { return "a group of nodes" }

// Form shows how it is written.
func (*groupSize) Form() string { return "33%, or 2 for so many nodes" }

// share is a percentage.
type share int

// Parse reads "60%".
func (p *share) Parse(s string) error {
	text, ok := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n > 99 {
		return errors.New("it has to be 0% to 99%: with all of them serving, none could be taken out")
	}
	*p = share(n)
	return nil
}

// Wanted names it in messages.
func (*share) Wanted() string { return "a share of the nodes" }

// Form shows how it is written.
func (*share) Form() string { return "60%" }

// roll gives a campaign what follows from its strategy being rolling, or not: which keys mean nothing, whose defaults hold.
func roll(f *file, r *config.Report) {
	if r.At("strategy").Bad() { // what means something to it is not known
		f.Rolling = fileRolling{}
		return
	}
	if f.Strategy != strategy.Rolling().Name {
		if at := r.At("rolling"); at.Given() {
			at.KeyProblem(config.CodeContradiction, fmt.Sprintf("the strategy %s takes no groups of nodes out of a load balancer", f.Strategy), "remove it, or write \"strategy: rolling\"")
		}
		if f.Product != "" && !fleet.IsDatabase(f.Product) && f.Strategy != strategy.Contract().Name {
			hint := config.Meant(f.Product, []string{"mariadb", "mysql"}, "write \"strategy: rolling\" for the nodes of an engine behind a load balancer, or correct the product")
			r.At("product").Problem(config.CodeContradiction, fmt.Sprintf("the strategy %s is for databases, mariadb and mysql, and %q is none", f.Strategy, f.Product), hint)
		}
		f.Rolling = fileRolling{}
		return
	}
	ofEngines(f, r)
	checkGroups(f.Rolling, r.At("rolling"))
	if at := r.At("product"); f.Policy == builtinPolicy && f.Product != "" && !at.Bad() {
		var unknown *policy.UnknownProduct
		if _, err := policy.Builtin(f.Product); errors.As(err, &unknown) && !fleet.IsDatabase(f.Product) {
			at.Problem(config.CodeReference, fmt.Sprintf("nothing is known of the versions of %q: whether %s and %s may serve side by side, and on which schema", f.Product, f.From, f.To),
				"add \"policy: "+f.Product+".yaml\", a product file of your own (docs/policy.md), or write one of "+strings.Join(policy.Names(), ", "))
		}
	}
}

// featureFacts tells which features open at the end, and by what a use of them is seen before.
func (c Campaign) featureFacts(t *planText) {
	p, err := c.Rules()
	if err != nil || p == nil { // a finding says so
		return
	}
	all, err := p.Between(c.From, c.To)
	if err != nil || len(all) == 0 {
		return
	}
	var names []string
	for _, f := range all {
		names = append(names, f.String())
	}
	t.fact("features", "shut until every node serves on "+c.To+"; a use of one before is told: "+strings.Join(names, ", "))
}

// checkGroups finds a group that is too large for the share that has to serve, as far as it is known without the nodes.
func checkGroups(f fileRolling, at config.Spot) {
	text, percent := strings.CutSuffix(string(f.Group), "%")
	n, err := strconv.Atoi(text)
	if !percent || err != nil || n+int(f.LeastServing) <= 100 || at.At("group").Bad() || at.At("least_serving").Bad() {
		return
	}
	spot := at.At("group")
	if !spot.Given() {
		spot = at.At("least_serving")
	}
	spot.Problem(config.CodeContradiction, fmt.Sprintf("a group of %s leaves %d%% of the nodes, and %d%% have to serve", f.Group, 100-n, int(f.LeastServing)), fmt.Sprintf("write a group of at most %d%%, or a least_serving of at most %d%%", 100-int(f.LeastServing), 100-n))
}

// groupsOf lays out in which groups the nodes go if all of them serve, with the same function that takes them out.
func (c Campaign) groupsOf(cl fleet.Cluster) PlanGroups {
	p := PlanGroups{Ref: cl.Ref()}
	if len(cl.Cells) != 1 {
		return p
	}
	todo := Spread(cl.Cells[0].Nodes)
	p.Nodes = len(todo)
	p.Least = LeastServing(p.Nodes, c.Rolling.LeastServing)
	size, err := GroupSize(c.Rolling.Group).Of(p.Nodes)
	if err != nil {
		return p
	}
	for most := 1; len(todo) > 0; most = size { // the first group is one node
		group := NextGroup(todo, nil, most, p.Nodes, p.Least)
		if len(group) == 0 {
			return p // none may be taken out: a finding says so
		}
		p.Groups = append(p.Groups, group)
		todo = todo[len(group):]
	}
	return p
}

// Bound gives the steps of a rolling upgrade that take nodes out, and that of a replay, as long as the campaign's own settings may take for these many nodes. What the
// strategy says is on top: for stopping, for waiting until enough nodes serve, and for a person. Other plans stay as they are.
func (c Campaign) Bound(p strategy.Plan, cl fleet.Cluster) strategy.Plan {
	nodes := 0
	for _, cell := range cl.Cells {
		nodes += len(cell.Nodes)
	}
	p.Steps = c.bound(p.Steps, nodes)
	return p
}

func (c Campaign) bound(steps []strategy.Step, nodes int) []strategy.Step {
	if c.replays() {
		return c.boundReplay(steps)
	}
	if !c.Rolls() {
		return steps
	}
	r := c.Rolling
	// A node's health is waited for when it was started, before each of three larger shares of its slow start, and by the load balancer's word.
	group := r.DrainWithin + 5*r.HealthyWithin + r.SlowStart + r.Watch
	steps = slices.Clone(steps)
	for i := range steps {
		switch steps[i].Kind {
		case strategy.UpgradeCanary:
			steps[i].Deadline += group
		case strategy.UpgradeNodes:
			steps[i].Deadline += time.Duration(nodes) * group // a group may come down to one node
		}
	}
	return steps
}

// checkRolling looks whether every selected cluster has what a rolling upgrade begins with.
func (c Campaign) checkRolling(selected []fleet.Cluster, add adder) {
	var cells, version, few, large named
	for _, cl := range selected {
		name := cl.Ref().String()
		if len(cl.Cells) != 1 {
			cells.add(fmt.Sprintf("%s (%d)", name, len(cl.Cells)))
			continue
		}
		cell := cl.Cells[0]
		if !fleet.HasVersion(cell.Version, c.From) && !fleet.HasVersion(cell.Version, c.To) {
			version.add(name + " (" + cell.Version + ")")
		}
		nodes := len(cell.Nodes)
		least := LeastServing(nodes, c.Rolling.LeastServing)
		if size, err := GroupSize(c.Rolling.Group).Of(nodes); err == nil && least < nodes && nodes-size < least && !strings.HasSuffix(c.Rolling.Group, "%") {
			large.add(fmt.Sprintf("%s (%d nodes, of which %d have to serve)", name, nodes, least))
		}
		if least >= nodes {
			few.add(fmt.Sprintf("%s (%d of %d have to serve)", name, least, nodes))
		}
	}
	if cells.n > 0 {
		add("clusters", config.CodeContradiction, "put all nodes into one cell in the fleet, or exclude these clusters", "%s another number of cells than one: %s", have(cells.n), &cells)
	}
	if version.n > 0 {
		add("from", config.CodeContradiction, "correct the version here or in the fleet, or exclude these clusters", "%s another version than %s: %s", have(version.n), c.From, &version)
	}
	if few.n > 0 {
		add("rolling.least_serving", config.CodeContradiction, "lower it, add a node, or exclude these clusters", "%s no node that could be taken out: %s", have(few.n), &few)
	}
	if large.n > 0 {
		add("rolling.group", config.CodeContradiction, "write a smaller group, such as 1, or lower rolling.least_serving", "%s too few nodes for a group of %s: %s", have(large.n), c.Rolling.Group, &large)
	}
}
