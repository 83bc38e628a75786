package policy

import (
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
	unproved bool // only whether there is a path matters, and not the proof of it
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
	Hint              string // what to do
}

// UnknownStrategy is a strategy that no path can be planned for.
type UnknownStrategy struct{ Name string }

// Error names it.
func (e *UnknownStrategy) Error() string {
	return fmt.Sprintf("no path is known for the strategy %q", e.Name)
}

// ErrorHint says which there are.
func (*UnknownStrategy) ErrorHint() string {
	return "write " + InPlace + " or " + BlueGreen + "; the path of a rolling upgrade is that of " + InPlace
}

// ErrorHint says what to do.
func (e *NoPath) ErrorHint() string { return e.Hint }

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
	if from == to {
		return out, &NoPath{Product: p.Name, From: r.From, To: r.To, Why: "both versions are of the release " + p.Releases[from].Name + ", which is not a later release than itself; versions of one release may run side by side, so a patch within it needs no plan", Hint: "name a version of a later release"}
	}
	if from > to {
		return out, &NoPath{Product: p.Name, From: r.From, To: r.To, Why: "the version to go to is not a later release; a rollback is the way back of the steps of an upgrade", Hint: "exchange the two versions; each step of the plan has its way back in it"}
	}
	if r.Canary != "" {
		c, ok := p.Component(r.Canary)
		no := &NoPath{Product: p.Name, From: r.From, To: r.To, Hint: "plan without a canary, or with one of another component"}
		switch {
		case !ok:
			return out, &UnknownComponent{p, r.Canary}
		case c.unmixed() != "":
			no.Why = "no canary of " + c.Name + " can go first: " + c.unmixed()
			return out, no
		case r.Strategy == BlueGreen:
			no.Why = "the strategy bluegreen has no canary: all of its new nodes stand beside the old ones before anything is switched"
			no.Hint = "plan without one, or with the strategy inplace"
			return out, no
		}
	}
	out.Hops, err = p.route(r, from, to)
	return out, err
}

// hop orders the components of one hop, lays out its steps, and proves each.
func (p *Product) hop(r Request, from, to string) ([]PathStep, error) {
	w, err := p.walk(r, from, to)
	if err != nil {
		return nil, err
	}
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
		if err := w.step(PathStep{Name: f.What, NoReturn: true}, move{}); err != nil {
			return nil, err
		}
	}
	return w.steps, nil
}

// order sorts the components so that none meets what it may not. Among those that may go next, the lowest layer goes first.
func (w *walk) order() ([]Component, error) {
	before := map[string]map[string][]Violation{} // by component: those that must have gone before it, and why
	for _, a := range w.p.Components {
		before[a.Name] = map[string][]Violation{}
		for _, b := range w.p.Components {
			if a.Name == b.Name && (a.RoleOf != "" || a.Single) {
				continue // never mixed
			}
			if bad := w.pairs.meet(Present{Component: a.Name, Version: w.to}, Present{Component: b.Name, Version: w.from}, false).bad; len(bad) > 0 { // of a itself too: then it can't be mixed, and the cycle is one of itself
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
			return nil, &NoPath{Product: w.p.Name, From: w.from, To: w.to, Forbidden: shortestCycle(left, before), Hint: noOrder}
		}
		for _, c := range left {
			delete(before[c.Name], left[best].Name)
		}
		out = append(out, left[best])
		left = slices.Delete(left, best, best+1)
	}
	return out, nil
}

// noOrder is what can be done where rules leave no order.
const noOrder = "no order of the components keeps all of these: if one is wrong for your builds, plan by a product file of your own"

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
