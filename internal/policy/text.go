package policy

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// WriteText writes the path for people. all adds the proof of every state: its pairs, each with the rule that allows it.
func (p Path) WriteText(w io.Writer, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s → %s, %s: %s\n", p.Product, p.From, p.To, p.Strategy, count(len(p.Hops), "hop"))
	proved := 0
	for i, h := range p.Hops {
		fmt.Fprintf(&b, "\nHop %d: %s → %s, %s\n", i+1, h.From, h.To, h.Why)
		if h.Bridge != nil {
			fmt.Fprintf(&b, "  bridge %s\n", h.Bridge)
		}
		for j, s := range h.Steps {
			if s.NoReturn && (j == 0 || !h.Steps[j-1].NoReturn) {
				b.WriteString("  ────── point of no return: there is no way back behind it ──────\n")
			}
			fmt.Fprintf(&b, "  %d. %s\n", j+1, s.Name)
			for _, st := range s.States {
				proved++
				if st.When == "before" && !all {
					continue
				}
				window := ""
				if st.Window && !s.NoReturn { // behind it the pair in reverse is only taken apart
					window = "  (a rollback is possible: replication in reverse behind its guards)"
				}
				fmt.Fprintf(&b, "     %-7s %s%s\n", st.When, st.State, window)
				if all {
					for _, pair := range st.Pairs {
						fmt.Fprintf(&b, "             %s, %s: %s (%s: %s)\n", pair.A, pair.B, pair.Rule.Text, pair.Rule.ID, pair.Rule.Source)
					}
				}
			}
			if s.Back != "" {
				fmt.Fprintf(&b, "     back    %s\n", s.Back)
			}
			for _, g := range s.Guarded {
				fmt.Fprintf(&b, "     guarded if %s: held, since %s\n", g.What, g.Violation.Rule.Text)
			}
		}
	}
	if !p.NoReturn() {
		b.WriteString("\nThere is no point of no return: every step has its way back.\n")
	}
	fmt.Fprintf(&b, "\n%s proved: every pair of versions that can meet is allowed by a rule.\n", count(proved, "state"))
	_, err := io.WriteString(w, b.String())
	return err
}

// NoReturn tells whether the path passes a point of no return.
func (p Path) NoReturn() bool {
	return slices.ContainsFunc(p.Hops, func(h PathHop) bool {
		return slices.ContainsFunc(h.Steps, func(s PathStep) bool { return s.NoReturn })
	})
}

// Over tells whether the path goes over the bridge of that name.
func (p Path) Over(bridge string) bool {
	return slices.ContainsFunc(p.Hops, func(h PathHop) bool { return h.Bridge != nil && h.Bridge.Name == bridge })
}

// Proved counts the states of the path and the pairs in them that a rule allows.
func (p Path) Proved() (states, pairs int) {
	for _, h := range p.Hops {
		for _, s := range h.Steps {
			for _, st := range s.States {
				states++
				pairs += len(st.Pairs)
			}
		}
	}
	return states, pairs
}

// String lists the components with the versions that are present: "vtgate 13.0|14.0, vttablet 13.0".
func (s State) String() string {
	var order []string
	versions := map[string][]string{}
	for _, p := range s.Present {
		if _, ok := versions[p.Component]; !ok {
			order = append(order, p.Component)
		}
		versions[p.Component] = append(versions[p.Component], p.Version)
	}
	for i, c := range order {
		order[i] = c + " " + strings.Join(versions[c], "|")
	}
	return strings.Join(order, ", ")
}

// String is one sentence: what it joins, who vouches for it, by what, and until when.
func (b Bridge) String() string {
	var checks []string
	for _, e := range b.Evidence {
		checks = append(checks, fmt.Sprintf("%s: %s, %s", e.Check, e.Result, e.At.Format(time.DateOnly)))
	}
	return fmt.Sprintf("%s from %s to %s, for the builds %s; %s vouches for it until %s, by %s", b.Name, b.From, b.To, strings.Join(b.Builds, " and "), b.Who, b.Expires.Format(time.DateOnly), strings.Join(checks, "; "))
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
