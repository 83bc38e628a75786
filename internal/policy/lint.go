package policy

import (
	"errors"
	"fmt"

	"github.com/windlass-db/windlass/internal/config"
)

// Lint finds what is not wrong in any one place of a product's file, and makes the policy useless as a whole. Findings are named by their
// paths in the file.
func (p *Product) Lint() []config.Finding {
	var all []config.Finding
	add := func(path, hint, format string, args ...any) {
		all = append(all, config.Finding{Path: path, Code: config.CodeContradiction, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
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
			if _, _, ok := p.skew(c.From, c.To, r); !ok {
				add(fmt.Sprintf("calls[%d]", i), "add a skew rule for all calls, or for this one", "no skew rule speaks of %s and %s in release %s: any distance would be legal", c.From, c.To, p.Releases[r].Name)
				break
			}
		}
	}
	for i, s := range p.Skews {
		if s.From != "" && !p.calls(s.From, s.To) {
			add(fmt.Sprintf("skew[%d]", i), "add the call, or take the rule out", "the rule speaks of a call from %s to %s that there is not", s.From, s.To)
		}
	}
	for from := range max(0, len(p.Releases)-1) {
		_, err := p.Plan(Request{From: p.Releases[from].Name, To: p.Releases[from+1].Name})
		var no *NoPath
		if errors.As(err, &no) {
			path, why := "releases", no.Why
			if len(no.Forbidden) > 0 {
				why = no.Forbidden[0].String()
				if n := len(no.Forbidden); n > 1 {
					why += fmt.Sprintf(", and %d more", n-1)
				}
				path = no.Forbidden[0].Rule.ID
			}
			add(path, "loosen one of the rules: under them no order of the components is legal", "no upgrade is possible from %s to %s: %s", p.Releases[from].Name, p.Releases[from+1].Name, why)
		}
	}
	return all
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
