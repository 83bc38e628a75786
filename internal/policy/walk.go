package policy

import (
	"cmp"
	"errors"
	"slices"
)

// walk lays out the steps of one hop.
type walk struct {
	p        *Product
	strategy string
	from, to string
	now      map[string][]string // versions present, by component
	window   bool                // a rollback must be possible
	steps    []PathStep
	gone     bool // the point of no return is passed
	pairs    *pairs
	unproved bool
}

func (p *Product) walk(r Request, from, to string) (*walk, error) {
	w := &walk{p: p, strategy: r.Strategy, from: from, to: to, now: map[string][]string{}, unproved: r.unproved}
	for _, c := range p.Components {
		w.now[c.Name] = []string{from}
	}
	var err error
	w.pairs, err = p.pairs(from, to)
	return w, err
}

// inPlace upgrades component after component, node by node.
func (w *walk) inPlace(canary string) error {
	order, err := w.order()
	if err != nil {
		return err
	}
	if canary == "" {
		canary = w.wantedCanary(order)
	}
	if canary != "" {
		err := w.change(PathStep{Name: "canary: one node of " + canary, Component: canary}, canary, []string{w.from, w.to}, []string{w.from, w.to})
		var no *NoPath
		if errors.As(err, &no) {
			no.Hint = "plan without a canary of " + canary + ": it begins with " + order[0].Name + " then"
		}
		if err != nil {
			return err
		}
	}
	for _, c := range order {
		if c.RoleOf != "" {
			if err := w.moveRole(c); err != nil {
				return err
			}
			continue
		}
		if c.Single {
			if err := w.move(c); err != nil {
				return err
			}
			continue
		}
		name := "upgrade " + c.Name
		for _, role := range w.p.Components {
			if role.RoleOf == c.Name {
				name += ", but for the node that is " + role.Name
			}
		}
		if err := w.change(PathStep{Name: name, Component: c.Name}, c.Name, []string{w.from, w.to}, []string{w.to}); err != nil {
			return err
		}
	}
	return nil
}

// move moves what there is one of. If nothing takes it back, that is the point of no return for whatever has gone before it and may not meet it as it was.
func (w *walk) move(c Component) error {
	s := PathStep{Name: "move " + c.Name, Component: c.Name}
	for _, x := range w.p.Components {
		if c.Stays && slices.Contains(w.now[x.Name], w.to) && len(w.pairs.meet(Present{Component: x.Name, Version: w.from}, Present{Component: c.Name, Version: w.to}, w.window).bad) > 0 {
			s.NoReturn = true
		}
	}
	return w.change(s, c.Name, nil, []string{w.to})
}

// moveRole switches a role to an upgraded node, and upgrades the node that had it.
func (w *walk) moveRole(c Component) error {
	among := c.RoleOf
	both := []string{w.from, w.to}
	if !slices.Contains(w.now[among], w.to) { // there has to be an upgraded node first
		if err := w.change(PathStep{Name: "upgrade one node of " + among, Component: among}, among, both, both); err != nil {
			return err
		}
	}
	s := PathStep{Name: "switch " + c.Name + " to an upgraded node; the former one stays", Component: c.Name}
	if err := w.step(s, move{component: c.Name, after: []string{w.to}, former: among, opens: true}); err != nil {
		return err
	}
	// The last node of the old version: nodes that can only be made from an old one can't go back after it.
	s = PathStep{Name: "upgrade the node that was " + c.Name, Component: among, NoReturn: w.p.Back.Node == BackReseed}
	return w.step(s, move{component: among, during: both, after: []string{w.to}, closes: true})
}

// wantedCanary is the first component of the layer that the policy wants a canary of, if that goes before everything else.
func (w *walk) wantedCanary(order []Component) string {
	from, _ := w.p.Release(w.from)
	to, _ := w.p.Release(w.to)
	for _, o := range w.p.Orders {
		if o.Canary == "" || !o.Releases.HasAll(from, to) {
			continue
		}
		for _, c := range w.p.Components {
			if c.Layer == o.Canary && c.RoleOf == "" && !c.Single && order[0].Name != c.Name {
				return c.Name
			}
		}
	}
	return ""
}

// blueGreen adds new nodes beside the old ones, switches the roles, and takes the old ones away.
func (w *walk) blueGreen() error {
	var roles []Component
	for _, c := range w.p.Components {
		if c.RoleOf != "" {
			roles = append(roles, c)
		}
	}
	if len(roles) == 0 {
		return &NoPath{Product: w.p.Name, From: w.from, To: w.to, Why: "the strategy bluegreen switches a role, such as the source of replication, and this product has none", Hint: "plan it with the strategy inplace"}
	}
	order, err := w.order()
	if err != nil {
		return err
	}
	both := []string{w.from, w.to}
	for _, c := range order {
		switch {
		case c.RoleOf != "":
		case c.Single:
			if err := w.move(c); err != nil {
				return err
			}
		default:
			if err := w.change(PathStep{Name: "add new nodes of " + c.Name + " beside the old ones", Component: c.Name}, c.Name, both, both); err != nil {
				return err
			}
		}
	}
	for _, c := range roles {
		s := PathStep{Name: "switch " + c.Name + " to a new node; the old ones follow it", Component: c.Name}
		if err := w.step(s, move{component: c.Name, after: []string{w.to}, opens: true}); err != nil {
			return err
		}
	}
	var last []Component
	for _, c := range order {
		if c.RoleOf == "" && !c.Single {
			last = append(last, c)
		}
	}
	for i, c := range last {
		s := PathStep{Name: "tear down the old nodes of " + c.Name, Component: c.Name, NoReturn: true}
		if err := w.step(s, move{component: c.Name, during: both, after: []string{w.to}, closes: i == len(last)-1}); err != nil {
			return err
		}
	}
	return nil
}

// change is a step of one component: the versions that are present during it, and after it.
func (w *walk) change(s PathStep, component string, during, after []string) error {
	return w.step(s, move{component: component, during: during, after: after})
}

// move is what a step does to the versions that are present.
type move struct {
	component     string   // "": nothing moves
	during, after []string // its versions; during is nil if it moves at once
	former        string   // component that a role was taken from: the node that had it is one of these now, on the old version
	opens, closes bool     // the rollback window: open from the switch on, and closed when the last node of the old version is gone
}

// step proves the states before, during and after a step, and goes on from there.
func (w *walk) step(s PathStep, m move) error {
	prove := func(when string) error {
		st := w.state()
		pairs, bad := w.pairs.check(st, !w.unproved)
		if len(bad) > 0 {
			return &NoPath{Product: w.p.Name, From: w.from, To: w.to, Why: "the step \"" + s.Name + "\" would pass through a state that is not legal", Forbidden: bad, Hint: noOrder}
		}
		s.States = append(s.States, ProvedState{When: when, State: st, Pairs: pairs})
		return nil
	}
	if err := prove("before"); err != nil {
		return err
	}
	if m.component != "" {
		w.window = w.window || m.opens
		if m.during != nil {
			w.now[m.component] = m.during
			if err := prove("during"); err != nil {
				return err
			}
			s.Guarded = w.failovers()
		}
		w.now[m.component] = m.after
		if m.former != "" {
			w.now[m.former] = []string{w.from, w.to}
		}
		w.window = w.window && !m.closes
		if err := prove("after"); err != nil {
			return err
		}
		if m.during == nil {
			s.Guarded = w.failovers()
		}
		s.Guarded = append(s.Guarded, w.perturbed(m.component)...)
		slices.SortFunc(s.Guarded, func(a, b Perturbation) int { return cmp.Compare(a.What, b.What) })
	}
	w.gone = w.gone || s.NoReturn || w.p.Back.Node == BackNever
	s.NoReturn = w.gone
	if !w.gone {
		s.Back = w.back(m)
	}
	w.steps = append(w.steps, s)
	return nil
}

// back says how a step is undone, as the strategies do it.
func (w *walk) back(m move) string {
	c, _ := w.p.Component(m.component)
	switch {
	case c.Stays:
		return c.Name + " stays on " + w.to + ": what is on " + w.from + " may meet it, as the proof of this step says"
	case m.component != "" && m.during == nil:
		return "the same back to " + w.from
	case w.strategy == BlueGreen:
		return "the new nodes are taken away again; those on " + w.from + " were not touched"
	case w.p.Back.Node == BackReseed:
		return "the same nodes back on " + w.from + ", in reverse order, through the same states: the copy of its data that each kept is put back; a node without one is made anew from one on " + w.from
	}
	return "the same nodes back on " + w.from + ", in reverse order, through the same states"
}

func (w *walk) state() State {
	s := State{Window: w.window}
	for _, c := range w.p.Components {
		for _, v := range w.now[c.Name] {
			s.Present = append(s.Present, Present{Component: c.Name, Version: v})
		}
	}
	return s
}

// perturbed lists what would be illegal if a node came up on the hop's other version (trap 39).
func (w *walk) perturbed(moving string) []Perturbation {
	var all []Perturbation
	for _, c := range w.p.Components {
		have := w.now[c.Name]
		if c.Name == moving || c.RoleOf != "" || c.Single || len(have) != 1 {
			continue
		}
		other, what := w.from, "comes back on "
		if have[0] == w.from {
			other, what = w.to, "is added on "
		}
		if bad := w.pairs.with(w.state(), Present{Component: c.Name, Version: other}); len(bad) > 0 {
			all = append(all, Perturbation{What: "a node of " + c.Name + " " + what + other, Violation: bad[0]})
		}
	}
	return all
}

// failovers lists what would be illegal if a role went to a node on the hop's other version, while there are such nodes (trap 39): nobody plans when
// a source dies.
func (w *walk) failovers() []Perturbation {
	var all []Perturbation
	for _, c := range w.p.Components {
		if c.RoleOf == "" || len(w.now[c.RoleOf]) < 2 {
			continue
		}
		st := w.state()
		st.Present = slices.DeleteFunc(st.Present, func(x Present) bool { return x.Component == c.Name })
		for _, to := range w.now[c.RoleOf] {
			if bad := w.pairs.with(st, Present{Component: c.Name, Version: to}); !slices.Contains(w.now[c.Name], to) && len(bad) > 0 {
				all = append(all, Perturbation{What: c.Name + " fails over to a node on " + to, Violation: bad[0]})
			}
		}
	}
	return all
}
