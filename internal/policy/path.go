package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Strategies that a path can be planned for.
const (
	InPlace   = "inplace"   // each component's nodes one after the other
	BlueGreen = "bluegreen" // new nodes beside the old ones, then a switch of the role
)

// Request asks for a path.
type Request struct {
	From, To string
	Strategy string // "": InPlace
	Canary   string // component of which one node goes before everything else; "": the policy's own wish
	Bridges  []Bridge
}

// Path is a plan with its proof.
type Path struct {
	Product  string    `json:"product"`
	Strategy string    `json:"strategy"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Hops     []PathHop `json:"hops"`
}

// PathHop is one hop from a version to the next.
type PathHop struct {
	From   string     `json:"from"`
	To     string     `json:"to"`
	Why    string     `json:"why"`              // the rule that makes it one hop
	Bridge *Bridge    `json:"bridge,omitempty"` // if a bridge does
	Steps  []PathStep `json:"steps"`
}

// PathStep replaces a component's version on its nodes.
type PathStep struct {
	Name      string         `json:"name"`
	Component string         `json:"component"`
	States    []ProvedState  `json:"states"` // before, during and after it; the one during it has every state in it that the step can produce
	Back      string         `json:"back"`   // "" past the point of no return
	NoReturn  bool           `json:"no_return,omitempty"`
	Guarded   []Perturbation `json:"guarded,omitempty"`
}

// ProvedState is a state with the rules that allow its pairs.
type ProvedState struct {
	When string `json:"when"` // "before", "during" or "after"
	State
	Pairs []Pair `json:"pairs"`
}

// Perturbation is what no plan means: a node that comes back on its old version after its component's step, or one that is added on
// the new version before it. It would be illegal; the recheck of observed versions before every step holds then.
type Perturbation struct {
	What      string    `json:"what"`
	Violation Violation `json:"violation"`
}

// NoPath says that there is no way, and the fewest rules that forbid it.
type NoPath struct {
	Product, From, To string
	Forbidden         []Violation
	Why               string // when no pair forbids it
}

// UnknownStrategy is a strategy that no path can be planned for.
type UnknownStrategy struct{ Name string }

// Error names it.
func (e *UnknownStrategy) Error() string {
	return fmt.Sprintf("no path is known for the strategy %q", e.Name)
}

// ErrorHint says which there are.
func (*UnknownStrategy) ErrorHint() string {
	return "write " + InPlace + " or " + BlueGreen
}

// Error says which rules forbid it.
func (e *NoPath) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "there is no path for %s from %s to %s", e.Product, e.From, e.To)
	if e.Why != "" {
		b.WriteString(": " + e.Why)
	}
	for _, v := range e.Forbidden {
		b.WriteString("\n  - " + v.String())
	}
	return b.String()
}

// Plan finds a path and proves it.
func (p *Product) Plan(r Request) (Path, error) {
	if r.Strategy == "" {
		r.Strategy = InPlace
	}
	out := Path{Product: p.Name, Strategy: r.Strategy, From: r.From, To: r.To}
	from, err := p.Release(r.From)
	if err != nil {
		return out, err
	}
	to, err := p.Release(r.To)
	if err != nil {
		return out, err
	}
	if from >= to {
		return out, &NoPath{Product: p.Name, From: r.From, To: r.To, Why: "the version to go to is not a later release; a rollback is the way back of the steps of an upgrade"}
	}
	if r.Canary != "" {
		if _, ok := p.Component(r.Canary); !ok {
			return out, &UnknownComponent{p, r.Canary}
		}
	}
	out.Hops, err = p.route(r, from, to)
	return out, err
}

// hop orders the components of one hop, lays out its steps, and proves each.
func (p *Product) hop(r Request, from, to string) ([]PathStep, error) {
	w := &walk{p: p, from: from, to: to, now: map[string][]string{}}
	for _, c := range p.Components {
		w.now[c.Name] = []string{from}
	}
	var err error
	switch r.Strategy {
	case InPlace:
		err = w.inPlace(r.Canary)
	case BlueGreen:
		err = w.blueGreen()
	default:
		err = &UnknownStrategy{r.Strategy}
	}
	if err != nil {
		return nil, err
	}
	if f := p.Finalize; f != nil {
		if err := w.step(PathStep{Name: f.What, NoReturn: true}, "", nil, nil); err != nil {
			return nil, err
		}
	}
	return w.steps, nil
}

// walk lays out the steps of one hop.
type walk struct {
	p        *Product
	from, to string
	now      map[string][]string // versions present, by component
	window   bool                // a rollback must be possible
	steps    []PathStep
	gone     bool // the point of no return is passed
}

// order sorts the components so that none meets what it may not. Among those that may go next, the lowest layer goes first.
func (w *walk) order() ([]Component, error) {
	before := map[string]map[string][]Violation{} // by component: those that must have gone before it, and why
	for _, a := range w.p.Components {
		before[a.Name] = map[string][]Violation{}
		for _, b := range w.p.Components {
			state := []Present{{Component: a.Name, Version: w.to}, {Component: b.Name, Version: w.from}}
			if a.Name == b.Name && (a.RoleOf != "" || a.Single) {
				continue // never mixed
			}
			_, bad, err := w.p.Check(State{Present: state})
			if err != nil {
				return nil, err
			}
			if len(bad) > 0 && a.Name == b.Name {
				return nil, &NoPath{Product: w.p.Name, From: w.from, To: w.to, Forbidden: bad}
			}
			if len(bad) > 0 {
				before[a.Name][b.Name] = bad
			}
		}
	}
	var out []Component
	left := slices.Clone(w.p.Components)
	layer := func(c Component) int { return slices.Index(w.p.Layers, c.Layer) }
	for len(left) > 0 {
		best := -1
		for i, c := range left {
			if len(before[c.Name]) == 0 && (best < 0 || layer(c) > layer(left[best])) {
				best = i
			}
		}
		if best < 0 {
			return nil, &NoPath{Product: w.p.Name, From: w.from, To: w.to, Forbidden: shortestCycle(left, before)}
		}
		for _, c := range left {
			delete(before[c.Name], left[best].Name)
		}
		out = append(out, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return out, nil
}

// shortestCycle finds the fewest pairs that forbid every order: a shortest cycle of "must go before".
func shortestCycle(left []Component, before map[string]map[string][]Violation) []Violation {
	var best []string
	for _, start := range left {
		prev := map[string]string{}
		queue := []string{start.Name}
		for len(queue) > 0 {
			at := queue[0]
			queue = queue[1:]
			for _, next := range slices.Sorted(keys(before[at])) {
				if next == start.Name {
					path := []string{at}
					for at != start.Name {
						at = prev[at]
						path = append(path, at)
					}
					slices.Reverse(path)
					if best == nil || len(path) < len(best) {
						best = path
					}
					queue = nil
					break
				}
				if _, seen := prev[next]; !seen {
					prev[next] = at
					queue = append(queue, next)
				}
			}
		}
	}
	var bad []Violation
	for i, a := range best {
		bad = append(bad, before[a][best[(i+1)%len(best)]]...)
	}
	return bad
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
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
		if err := w.change(PathStep{Name: "canary: one node of " + canary, Component: canary}, canary, []string{w.from, w.to}, []string{w.from, w.to}); err != nil {
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
			if err := w.change(PathStep{Name: "move " + c.Name, Component: c.Name}, c.Name, nil, []string{w.to}); err != nil {
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

// moveRole switches a role to an upgraded node, and upgrades the node that had it.
func (w *walk) moveRole(c Component) error {
	among := c.RoleOf
	both := []string{w.from, w.to}
	if !slices.Contains(w.now[among], w.to) { // there has to be an upgraded node first
		if err := w.change(PathStep{Name: "upgrade one node of " + among, Component: among}, among, both, both); err != nil {
			return err
		}
	}
	w.window = true
	if err := w.change(PathStep{Name: "switch " + c.Name + " to an upgraded node; the former one stays", Component: c.Name}, c.Name, nil, []string{w.to}); err != nil {
		w.window = false
		return err
	}
	w.now[among] = []string{w.from, w.to}
	return w.last(PathStep{Name: "upgrade the node that was " + c.Name, Component: among}, among)
}

// last removes the last nodes of the old version: nodes that can only be made from an old one can't go back after it.
func (w *walk) last(s PathStep, component string) error {
	s.NoReturn = w.p.Back.Node == BackReseed
	err := w.change(s, component, []string{w.from, w.to}, []string{w.to})
	w.window = false
	return err
}

// wantedCanary is the first component of the layer that the policy wants a canary of, if that goes before everything else.
func (w *walk) wantedCanary(order []Component) string {
	release, _ := w.p.Release(w.to)
	for _, o := range w.p.Orders {
		if o.Canary == "" || !o.Releases.Has(release) {
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
		return &NoPath{Product: w.p.Name, From: w.from, To: w.to, Why: "the strategy bluegreen switches a role, such as the source of replication, and this product has none; plan it with the strategy inplace"}
	}
	order, err := w.order()
	if err != nil {
		return err
	}
	both := []string{w.from, w.to}
	for _, c := range order {
		if c.RoleOf == "" {
			if err := w.change(PathStep{Name: "add new nodes of " + c.Name + " beside the old ones", Component: c.Name}, c.Name, both, both); err != nil {
				return err
			}
		}
	}
	w.window = true
	for _, c := range roles {
		if err := w.change(PathStep{Name: "switch " + c.Name + " to a new node; the old ones follow it", Component: c.Name}, c.Name, nil, []string{w.to}); err != nil {
			return err
		}
	}
	for _, c := range order {
		if c.RoleOf == "" {
			s := PathStep{Name: "tear down the old nodes of " + c.Name, Component: c.Name, NoReturn: true}
			if err := w.change(s, c.Name, both, []string{w.to}); err != nil {
				return err
			}
		}
	}
	w.window = false
	return nil
}

// change is a step of one component: the versions that are present during it, and after it.
func (w *walk) change(s PathStep, component string, during, after []string) error {
	return w.step(s, component, during, after)
}

// step proves the states before, during and after a step, and goes on from there.
func (w *walk) step(s PathStep, component string, during, after []string) error {
	prove := func(when string) error {
		st := w.state()
		pairs, bad, err := w.p.Check(st)
		if err != nil {
			return err
		}
		if len(bad) > 0 {
			return &NoPath{Product: w.p.Name, From: w.from, To: w.to, Why: "the step \"" + s.Name + "\" would pass through a state that is not legal", Forbidden: bad}
		}
		s.States = append(s.States, ProvedState{When: when, State: st, Pairs: pairs})
		return nil
	}
	if err := prove("before"); err != nil {
		return err
	}
	if component != "" {
		if during != nil {
			w.now[component] = during
			if err := prove("during"); err != nil {
				return err
			}
		}
		w.now[component] = after
		if err := prove("after"); err != nil {
			return err
		}
		s.Guarded = w.perturbed(component)
	}
	w.gone = w.gone || s.NoReturn || w.p.Back.Node == BackNever
	s.NoReturn = w.gone
	if !w.gone {
		s.Back = map[string]string{BackRestart: "the same nodes back on " + w.from + ", in reverse order, through the same states", BackReseed: "nodes of " + w.from + " are made anew from one that still is, through the same states"}[w.p.Back.Node]
		if during == nil {
			s.Back = "the same back to " + w.from
		}
	}
	w.steps = append(w.steps, s)
	return nil
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
		st := w.state()
		st.Present = append(st.Present, Present{Component: c.Name, Version: other})
		if _, bad, err := w.p.Check(st); err == nil && len(bad) > 0 {
			all = append(all, Perturbation{What: "a node of " + c.Name + " " + what + other, Violation: bad[0]})
		}
	}
	slices.SortFunc(all, func(a, b Perturbation) int { return cmp.Compare(a.What, b.What) })
	return all
}
