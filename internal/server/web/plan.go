package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/policy"
)

// planView is the page of a product's path: components × steps, with the proof of each state.
type planView struct {
	Products   []string
	Strategies []string
	Product    string
	Components []string
	Request    policy.Request
	Problem    string
	Hint       string
	Forbidden  []policy.Violation
	Hops       []planHop
	States     int
	Pairs      int
	NoReturn   bool
	Campaign   string // whose path it is, by its own policy and bridges; "" if it was asked for by versions
	Policy     string // the campaign's own product file; "" if the built-in policy judges
	Bridges    []planBridge
	State      *planState // a state that is asked about instead of a path; nil: none
}

// planState is the judgement of one state.
type planState struct {
	Text     string
	Window   bool
	Problems config.Problems // why it can't be read
	Pairs    []policy.Pair
	Bad      []policy.Violation
}

// planBridge is a bridge of a campaign, and why it is not good now.
type planBridge struct {
	policy.Bridge
	Refused string
}

// Specs is a Source that knows campaigns as they were applied: the plan page draws their paths.
type Specs interface {
	// Spec answers ErrNotFound for a campaign that it does not know.
	Spec(ctx context.Context, name string) (campaign.Campaign, error)
}

type planHop struct {
	policy.PathHop
	Rows []planRow // one for each component
}

type planRow struct {
	Component string
	Cells     []planCell // one for each step
}

// planCell is one component during one step.
type planCell struct {
	Versions []string
	Look     string // "old", "mixed" or "new": the colour says no more than the versions
	Pairs    []policy.Pair
	Moves    bool // the step is about this component
}

// plan draws a path: of a campaign as it was applied, or of the versions that are asked for by the policy alone.
func (h *Handler) plan(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := planView{Products: policy.Names(), Strategies: []string{policy.InPlace, policy.BlueGreen}, Product: q.Get("product"),
		Request: policy.Request{From: q.Get("from"), To: q.Get("to"), Strategy: q.Get("strategy"), Canary: q.Get("canary")}}
	status := http.StatusOK
	if specs, ok := h.cfg.Source.(Specs); ok && q.Get("campaign") != "" {
		c, err := specs.Spec(r.Context(), q.Get("campaign"))
		if err != nil {
			h.fail(w, r, err)
			return
		}
		v.of(c, h.cfg.Now())
	} else if v.Product != "" {
		if q.Has("state") {
			v.judge(q.Get("state"), q.Has("window"))
		} else {
			v.fill()
		}
		if v.Problem != "" {
			status = http.StatusUnprocessableEntity
		}
	}
	h.render(w, r, status, "plan", page{Title: "Plan", Nav: "plan", Data: v})
}

// judge says whether a state is legal, as windlass check state does.
func (v *planView) judge(text string, window bool) {
	v.State = &planState{Text: text, Window: window}
	p, err := policy.Builtin(v.Product)
	if err != nil {
		v.fail(err)
		return
	}
	for _, c := range p.Components {
		v.Components = append(v.Components, c.Name)
	}
	s, err := p.ParseState(text)
	switch {
	case errors.As(err, &v.State.Problems):
		v.Problem = "The state can't be read."
		return
	case err != nil:
		v.fail(err)
		return
	case len(s.Present) == 0:
		v.Problem, v.Hint = "No component is given.", "Write COMPONENT=VERSION, once for each that is there, with commas between."
		return
	}
	s.Window = window
	if v.State.Pairs, v.State.Bad, err = p.Check(s); err != nil {
		v.fail(err)
	}
}

func (v *planView) fill() {
	p, err := policy.Builtin(v.Product)
	if err != nil {
		v.fail(err)
		return
	}
	for _, c := range p.Components {
		v.Components = append(v.Components, c.Name)
	}
	if v.Request.From == "" || v.Request.To == "" {
		v.Problem, v.Hint = "Two versions are needed.", "Give the version that runs, and the one to go to."
		return
	}
	path, err := p.Plan(v.Request)
	if err != nil {
		v.fail(err)
		return
	}
	v.draw(path, p.Components)
}

// of draws the path of a campaign: by its own policy if it has one, and over its bridges.
func (v *planView) of(c campaign.Campaign, now time.Time) {
	v.Campaign, v.Product, v.Request = c.Name, c.Product, policy.Request{From: c.From, To: c.To, Strategy: c.Strategy}
	if c.Policy != nil {
		v.Policy = c.Policy.File
	}
	for _, b := range c.Bridges {
		v.Bridges = append(v.Bridges, planBridge{b, b.Refuse(now)})
	}
	path, err := c.Path(now)
	if err != nil {
		v.fail(err)
	}
	p, err := c.Rules()
	if err != nil {
		v.fail(err)
		return
	}
	if p == nil {
		v.Problem, v.Hint = "No policy is known for the product "+c.Product+".", "Give the campaign a product file of your own with the key policy."
		return
	}
	for _, component := range p.Components {
		v.Components = append(v.Components, component.Name)
	}
	v.draw(path, p.Components)
}

func (v *planView) draw(path policy.Path, components []policy.Component) {
	v.States, v.Pairs = path.Proved()
	v.NoReturn = path.NoReturn()
	for _, hop := range path.Hops {
		view := planHop{PathHop: hop}
		for _, c := range components {
			row := planRow{Component: c.Name}
			for _, s := range hop.Steps {
				row.Cells = append(row.Cells, cell(s, c.Name, hop.From))
			}
			view.Rows = append(view.Rows, row)
		}
		v.Hops = append(v.Hops, view)
	}
}

func (v *planView) fail(err error) {
	v.Problem = err.Error()
	var no *policy.NoPath
	if errors.As(err, &no) && len(no.Forbidden) > 0 {
		v.Problem, v.Forbidden = "There is no path from "+no.From+" to "+no.To+".", no.Forbidden
		if no.Why != "" {
			v.Problem += " For " + no.Why + "."
		}
	}
	var known interface{ ErrorHint() string }
	if errors.As(err, &known) {
		v.Hint = known.ErrorHint()
	}
}

// cell looks at the state that has all others of the step in it: the one during it, or after it if the component moves at once.
func cell(s policy.PathStep, component, from string) planCell {
	st := s.States[len(s.States)-1]
	if i := slices.IndexFunc(s.States, func(x policy.ProvedState) bool { return x.When == "during" }); i >= 0 {
		st = s.States[i]
	}
	c := planCell{Moves: s.Component == component}
	for _, p := range st.Present {
		if p.Component == component {
			c.Versions = append(c.Versions, p.Version)
		}
	}
	for _, pair := range st.Pairs {
		if pair.A.Component == component || pair.B.Component == component {
			c.Pairs = append(c.Pairs, pair)
		}
	}
	switch {
	case len(c.Versions) > 1:
		c.Look = "mixed"
	case len(c.Versions) == 1 && c.Versions[0] == from:
		c.Look = "old"
	default:
		c.Look = "new"
	}
	return c
}
