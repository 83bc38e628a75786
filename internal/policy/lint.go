package policy

import (
	"context"
	"errors"
	"fmt"

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
	for i, c := range p.Components {
		if !p.spokenOf(c.Name) {
			add(fmt.Sprintf("components[%d]", i), "add its calls, or leave it out", "no rule speaks of %s: it meets nothing, so every version of it is legal", c.Name)
		}
	}
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
		if !errors.As(err, &no) {
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

// spokenOf reports whether any rule concerns the component.
func (p *Product) spokenOf(name string) bool {
	for _, c := range p.Calls {
		if c.Ignored == "" && (c.From == name || c.To == name) {
			return true
		}
	}
	for _, n := range p.Newers {
		if n.Who == name || n.Than == name {
			return true
		}
	}
	return false
}
