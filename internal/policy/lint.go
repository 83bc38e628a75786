package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/windlass-db/windlass/internal/config"
)

// Lint finds what is not wrong in any one place of a product's file, and makes the policy useless as a whole. Findings are named by their
// paths in the file.
func (p *Product) Lint() []config.Finding {
	all, _ := p.LintContext(context.Background()) // nothing else ends it
	return all
}

// LintContext is Lint, which a context ends: then the error is the context's.
func (p *Product) LintContext(ctx context.Context) ([]config.Finding, error) {
	var all []config.Finding
	add := func(path, hint, format string, args ...any) {
		all = append(all, config.Finding{Path: path, Code: config.CodeContradiction, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	look := p.rules()
	if len(p.Releases) == 1 {
		add("releases", "add the release to go to", "no upgrade is possible: %s is the only release", p.Releases[0].Name)
	}
	p.useless(add)
	p.unreached(add)
	for i, c := range p.Calls {
		if c.Ignored != "" {
			continue
		}
		for r := range p.Releases {
			if _, _, ok := look.skew(c.From, c.To, r); !ok {
				add(fmt.Sprintf("calls[%d]", i), "add a skew rule for all calls, or for this one", "no skew rule speaks of %s and %s in release %s: any distance would be legal", c.From, c.To, p.Releases[r].Name)
				break
			}
		}
	}
	for i, s := range p.Skews {
		if _, there := look.calls[[2]string{s.From, s.To}]; s.From != "" && !there {
			add(fmt.Sprintf("skew[%d]", i), "add the call, or take the rule out", "the rule speaks of a call from %s to %s that there is not", s.From, s.To)
		}
	}
	more, err := p.impossible(ctx)
	return append(all, more...), err
}

// useless finds what is said and has no effect.
func (p *Product) useless(add func(path, hint, format string, args ...any)) {
	for i, layer := range p.Layers {
		if !slices.ContainsFunc(p.Components, func(c Component) bool { return c.Layer == layer }) {
			add(fmt.Sprintf("layers[%d]", i), "name the layer at its components, or leave it out", "no component is of the layer %s", layer)
		}
	}
	for i, o := range p.Orders {
		if o.Canary != "" && !slices.ContainsFunc(p.Components, func(c Component) bool { return c.Layer == o.Canary && c.unmixed() == "" }) {
			add(fmt.Sprintf("order[%d].canary", i), "name a layer with a component of several nodes, or leave it out", "no canary can go first: the layer %s has no component of which there are several nodes", o.Canary)
		}
	}
	named := slices.ContainsFunc(p.Releases, func(r Release) bool { return r.Innovation })
	switch {
	case named && p.Hop.OverInnovation == 0:
		add("innovation", "say at hops over how many of them one goes, or leave the list out", "no hop goes over an innovation release, so that to be one means nothing")
	case !named && p.Hop.OverInnovation != 0:
		add("hops.over_innovation", "list them under innovation, or leave it out", "no release is an innovation release, so that there is none to go over")
	}
}

// unreached finds components that no rule speaks of, and those that no rule joins to the rest, by however many between.
func (p *Product) unreached(add func(path, hint, format string, args ...any)) {
	joined := map[string][]string{}
	join := func(a, b string) { joined[a], joined[b] = append(joined[a], b), append(joined[b], a) }
	for _, c := range p.Calls {
		if c.Ignored == "" {
			join(c.From, c.To)
		}
	}
	for _, n := range p.Newers {
		join(n.Who, n.Than)
	}
	group := map[string]int{} // by component, from 1
	var sizes []int           // of each group
	for _, c := range p.Components {
		if group[c.Name] > 0 || len(joined[c.Name]) == 0 {
			continue
		}
		sizes = append(sizes, 0)
		for queue := []string{c.Name}; len(queue) > 0; queue = queue[1:] {
			if at := queue[0]; group[at] == 0 {
				group[at] = len(sizes)
				sizes[len(sizes)-1]++
				queue = append(queue, joined[at]...)
			}
		}
	}
	if len(sizes) == 0 {
		sizes = []int{0}
	}
	rest := slices.Index(sizes, slices.Max(sizes)) + 1
	for i, c := range p.Components {
		switch at := fmt.Sprintf("components[%d]", i); group[c.Name] {
		case rest:
		case 0:
			add(at, "add its calls, or leave it out", "no rule speaks of %s: it meets nothing, so every version of it is legal", c.Name)
		default:
			other := p.Components[slices.IndexFunc(p.Components, func(x Component) bool { return group[x.Name] == rest })].Name
			add(at, "add the calls between them, or make it a product of its own", "no rule joins %s to %s and what that meets: any version of the one is legal beside any of the other", c.Name, other)
		}
	}
}

// closed tells whether a release is one that nobody has to go to: it may be jumped over, and there is a way from the release before it to the one behind it. No way
// leads to some such releases, since their makers allow none.
func (p *Product) closed(release int) bool {
	if release+1 >= len(p.Releases) || !p.Releases[release].Innovation {
		return false
	}
	_, err := p.Plan(Request{From: p.Releases[release-1].Name, To: p.Releases[release+1].Name, unproved: true})
	return err == nil
}

// impossible finds hops from one release to the next that no order of the components allows: those that the same rule forbids are one finding.
func (p *Product) impossible(ctx context.Context) ([]config.Finding, error) {
	type hop struct{ from, to, why string }
	byRule, order := map[string][]hop{}, []string{}
	for from := range max(0, len(p.Releases)-1) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("check the policy of %s: %w", p.Name, err)
		}
		h := hop{from: p.Releases[from].Name, to: p.Releases[from+1].Name}
		_, err := p.Plan(Request{From: h.from, To: h.to, unproved: true})
		var no *NoPath
		if !errors.As(err, &no) || p.closed(from+1) {
			continue
		}
		path := "releases"
		h.why = no.Why
		if len(no.Forbidden) > 0 {
			path, h.why = no.Forbidden[0].Rule.ID, no.Forbidden[0].String()
			if n := len(no.Forbidden); n > 1 {
				h.why += fmt.Sprintf(", and %d more", n-1)
			}
		}
		if byRule[path] == nil {
			order = append(order, path)
		}
		byRule[path] = append(byRule[path], h)
	}
	var all []config.Finding
	for _, path := range order {
		first, more := byRule[path][0], ""
		switch n := len(byRule[path]) - 1; {
		case n == 1:
			more = ", nor over one further hop"
		case n > 1:
			more = fmt.Sprintf(", nor over %d further hops", n)
		}
		all = append(all, config.Finding{Path: path, Code: config.CodeContradiction, Message: fmt.Sprintf("no upgrade is possible from %s to %s%s: %s", first.from, first.to, more, first.why), Hint: "loosen one of the rules: under them no order of the components is legal"})
	}
	return all, nil
}
