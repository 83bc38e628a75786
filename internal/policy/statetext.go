package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/config"
)

// ParseState reads a state as people write it: "vtgate@zone1=14.0,vttablet@zone1/100=13.0,vttablet=14.0". The place after the @ is optional, its
// parts are the product's kinds of places, the outermost first. All that is wrong is told at once, each at its place, as config.Problems.
func (p *Product) ParseState(text string) (State, error) {
	var s State
	var bad config.Problems
	at := 0 // in characters
	for part := range strings.SplitSeq(text, ",") {
		if strings.TrimSpace(part) != "" {
			x, problem := p.parsePresent(part)
			if problem != nil {
				problem.File, problem.Line, problem.Source = "state", 1, text
				problem.Column += at
				bad = append(bad, *problem)
			}
			s.Present = append(s.Present, x)
		}
		at += len([]rune(part)) + 1
	}
	if len(bad) > 0 {
		return State{}, bad
	}
	return s, nil
}

// parsePresent reads one part. The problem's column counts from the part's beginning.
func (p *Product) parsePresent(part string) (Present, *config.Problem) {
	wrong := func(before string, code, hint, format string, args ...any) (Present, *config.Problem) {
		return Present{}, &config.Problem{Column: len([]rune(before)) + 1, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	trimmed := strings.TrimSpace(part)
	lead := part[:strings.Index(part, trimmed)]
	before, version, ok := strings.Cut(trimmed, "=") // with spaces around the sign, as people write it
	who, toVersion := strings.TrimSpace(before), lead+before+"="
	toVersion += version[:len(version)-len(strings.TrimLeft(version, " \t"))]
	version = strings.TrimSpace(version)
	name, place, placed := strings.Cut(who, "@")
	example := "write COMPONENT=VERSION, such as " + p.example("") + ", or COMPONENT@PLACE=VERSION, such as " + p.example("@"+p.somewhere())
	switch {
	case name == "":
		return wrong(lead, config.CodeSyntax, example, "there is no component in %q", trimmed)
	case !ok || version == "":
		return wrong(lead+who, config.CodeSyntax, example, "%q has no version", who)
	}
	if _, known := p.Component(name); !known {
		err := &UnknownComponent{p, name}
		return wrong(lead, config.CodeReference, err.ErrorHint(), "%s", err)
	}
	if parts := strings.Split(place, "/"); placed {
		to := lead + name + "@"
		for i, one := range parts {
			switch {
			case one == "":
				return wrong(to, config.CodeSyntax, example, "a place of %q has no name", who)
			case i >= len(p.Places):
				return wrong(to, config.CodeValue, "a place is "+strings.Join(p.Places, "/")+", such as "+p.somewhere(), "%q has more parts than %s has kinds of places", place, p.Name)
			}
			to += one + "/"
		}
	}
	if _, err := p.Release(version); err != nil {
		hint := ""
		var unknown *UnknownVersion
		if errors.As(err, &unknown) {
			hint = unknown.ErrorHint()
		}
		return wrong(toVersion, config.CodeValue, hint, "%s", err)
	}
	return Present{Component: name, Version: version, Place: place}, nil
}

// example is a part of a state of this product.
func (p *Product) example(at string) string {
	if len(p.Components) == 0 || len(p.Releases) == 0 {
		return "component" + at + "=1.0"
	}
	return p.Components[0].Name + at + "=" + p.Releases[len(p.Releases)-1].Name
}

// somewhere is a place of this product, with every kind of place that it knows.
func (p *Product) somewhere() string {
	var all []string
	for _, kind := range p.Places {
		all = append(all, kind+"1")
	}
	return strings.Join(all, "/")
}
