package web

import (
	"errors"
	"net/http"
	"slices"

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

// plan draws a path. It asks nothing but the policy.
func (h *Handler) plan(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	v := planView{Products: policy.Names(), Strategies: []string{policy.InPlace, policy.BlueGreen}, Product: q.Get("product"),
		Request: policy.Request{From: q.Get("from"), To: q.Get("to"), Strategy: q.Get("strategy"), Canary: q.Get("canary")}}
	status := http.StatusOK
	if v.Product != "" {
		v.fill()
		if v.Problem != "" {
			status = http.StatusUnprocessableEntity
		}
	}
	h.render(w, r, status, "plan", page{Title: "Plan", Nav: "plan", Data: v})
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
	v.States, v.Pairs = path.Proved()
	for _, hop := range path.Hops {
		view := planHop{PathHop: hop}
		for _, c := range p.Components {
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
