package campaign

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Plan is what a campaign would do to a fleet, before anything runs. WriteText shows it.
type Plan struct {
	Campaign     Campaign          `json:"campaign"`
	Fleet        string            `json:"fleet"`
	Stages       []PlanStage       `json:"stages"`
	Environments []PlanEnvironment `json:"environments"`
	Path         policy.Path       `json:"path"`      // by the product's policy, with the proof of every mixed state
	NoReturn     string            `json:"no_return"` // the stage with whose beginning the way back ends; "" if there is none
	Findings     []config.Finding  `json:"findings"`  // why it can't be applied as it is
}

// PlanStage is one stage, with the steps that every cluster goes through.
type PlanStage struct {
	Name       string          `json:"name"`
	Summary    string          `json:"summary"`
	Disruptive bool            `json:"disruptive"` // it touches traffic
	NoReturn   bool            `json:"no_return"`
	Approval   bool            `json:"approval"` // a person approves it first
	Steps      []strategy.Step `json:"steps"`
	Soak       time.Duration   `json:"soak"` // after its end, before the cluster's next stage
}

// PlanEnvironment is one environment's share.
type PlanEnvironment struct {
	Name     string             `json:"name"`
	Known    bool               `json:"known"` // the fleet has it
	Clusters []fleet.ClusterRef `json:"clusters"`
	Limits   []StageLimit       `json:"limits"`
	Groups   []PlanGroups       `json:"groups,omitempty"` // of a rolling upgrade: of each cluster, which nodes are out together
	Waits    string             `json:"waits"`            // what it waits for in the environments before it; "" for the first one
}

// PlanGroups is how a rolling upgrade takes a cluster's nodes, if all of them serve: the first group is the canary.
type PlanGroups struct {
	Ref    fleet.ClusterRef `json:"ref"`
	Nodes  int              `json:"nodes"`
	Least  int              `json:"least"`  // so many serve at any time
	Groups [][]fleet.Node   `json:"groups"` // in order; those that serve then are all others
}

// StageLimit is how many clusters may be in a stage at the same time.
type StageLimit struct {
	Stage string `json:"stage"`
	Limit int    `json:"limit"`
}

// PlanOf lays out what the campaign would do to the fleet, if it were applied now.
func PlanOf(c Campaign, f fleet.Fleet, now time.Time) Plan {
	p := Plan{Campaign: c, Fleet: f.Name, Findings: c.Check(f, now)}
	strat, ok := strategy.ByName(c.Strategy)
	if !ok {
		p.Findings = append(p.Findings, config.Finding{Path: "strategy", Code: config.CodeReference, Message: fmt.Sprintf("there is no strategy %q", c.Strategy), Hint: "write bluegreen, inplace, rolling or contract"})
		return p
	}
	p.NoReturn = strat.PointOfNoReturn()
	p.Path, _ = c.Path(now) // why there is none is among the findings
	most := 0               // nodes of a cluster
	for _, cl := range c.Select(f) {
		if len(cl.Cells) == 1 {
			most = max(most, len(cl.Cells[0].Nodes))
		}
	}
	for i, st := range strat.Stages {
		stage := PlanStage{Name: st.Name, Summary: st.Summary, Disruptive: st.Disruptive, NoReturn: st.PointOfNoReturn, Steps: c.bound(st.Steps, most)}
		if i < len(strat.Stages)-1 {
			stage.Soak = c.Soak.Stages[st.Name]
		}
		for _, a := range c.Approve {
			stage.Approval = stage.Approval || a == st.Name
		}
		p.Stages = append(p.Stages, stage)
	}
	byEnv, groups := map[string][]fleet.ClusterRef{}, map[string][]PlanGroups{}
	for _, cl := range c.Select(f) {
		byEnv[cl.Env] = append(byEnv[cl.Env], cl.Ref())
		if c.Rolls() {
			groups[cl.Env] = append(groups[cl.Env], c.groupsOf(cl))
		}
	}
	before := ""
	for _, name := range c.Environments {
		e := PlanEnvironment{Name: name, Clusters: byEnv[name], Groups: groups[name], Waits: c.waits(before)}
		for _, fe := range f.Environments {
			e.Known = e.Known || fe.Name == name
		}
		for _, st := range strat.Stages {
			e.Limits = append(e.Limits, StageLimit{st.Name, c.Limits.Of(name, st.Name)})
		}
		p.Environments = append(p.Environments, e)
		if len(e.Clusters) > 0 {
			before = name
		}
	}
	return p
}

// waits says what an environment waits for in the one before it.
func (c Campaign) waits(before string) string {
	if before == "" || c.Order == OrderNone {
		return ""
	}
	what := "each stage starts when every cluster of " + before + " has completed it"
	if c.Order == OrderCampaign {
		what = "starts when every cluster of " + before + " has arrived"
	}
	if c.Soak.Environments > 0 {
		what += ", " + human(c.Soak.Environments) + " after the last of them"
	}
	return what
}
