package campaign

import (
	"fmt"
	"io"
	"strings"
)

// planWidth is the widest line of a plan's text.
const planWidth = 100

// NoFleet is the name of the fleet when none was given to plan against.
const NoFleet = "(none given)"

// WriteText writes the plan for people, at most 100 characters wide.
func (p Plan) WriteText(w io.Writer) error {
	t := &planText{}
	c := p.Campaign
	t.line("Campaign %s: %s %s to %s, by %s, on fleet %s", c.Name, c.Product, c.From, c.To, c.Strategy, p.Fleet)
	t.line("")
	if len(p.Findings) > 0 { // nothing else is true of what is never begun
		t.line("It can't be applied as it is:")
		for _, f := range p.Findings {
			t.wrap("  ", "  ", f.String())
		}
	} else {
		p.writeFacts(t)
		p.writeEnvironments(t)
		for i, st := range p.Stages {
			p.writeStage(t, i, st)
		}
	}
	_, err := io.WriteString(w, t.b.String())
	return err
}

func (p Plan) writeFacts(t *planText) {
	c := p.Campaign
	switch {
	case c.InPlace():
		t.fact("cells", c.FromCell+", whose nodes are raised one after the other, each behind a copy of its data")
	case c.Contracts():
		c.contractFacts(t)
	case c.Rolls():
		g := c.Rolling
		t.fact("nodes", fmt.Sprintf("first one, then groups of %s; never fewer than %d%% of them serve, whichever falls ill by itself", g.Group, g.LeastServing))
		t.fact("each group", fmt.Sprintf("drained within %s, else cut off; healthy within %s of its start; back to its full share over %s; watched for %s", human(g.DrainWithin), human(g.HealthyWithin), human(g.SlowStart), human(g.Watch)))
	default:
		t.fact("cells", fmt.Sprintf("%s (old) beside %s (new, %s)", c.FromCell, c.ToCell, nodes(c.Nodes)))
	}
	t.fact("schedule", c.Schedule.describe())
	for _, f := range c.Freezes {
		where := ""
		if len(f.Environments) > 0 {
			where = " in " + strings.Join(f.Environments, ", ")
		}
		t.fact("freeze", fmt.Sprintf("%s to %s%s: %s", f.From.Format("2006-01-02 15:04 MST"), f.To.Format("2006-01-02 15:04 MST"), where, f.Reason))
	}
	t.fact("budget", fmt.Sprintf("failed clusters that are borne: %s in the campaign, %s in an environment, %s in a stage of it", allowed(c.Budget.Campaign), allowed(c.Budget.Environment), allowed(c.Budget.Stage)))
	c.replayFact(t)
	p.writeSwitch(t)
	if states, pairs := p.Path.Proved(); states > 0 {
		t.fact("proof", fmt.Sprintf("%s, with %s of versions that meet in them, each allowed by a rule of the policy of %s", plural(states, "mixed state"), plural(pairs, "pair"), c.Product))
	}
	if c.Policy != nil {
		t.fact("policy", "of "+c.Policy.File+", instead of the built-in one of "+c.Product)
	}
	for _, b := range c.Bridges {
		t.fact("bridge", b.String())
	}
	if c.Rolls() {
		c.featureFacts(t)
	}
	if c.Rehearse != "" {
		t.fact("rehearsal", fmt.Sprintf("one cluster goes through %s and back before the others start it", c.Rehearse))
	}
	switch {
	case p.NoReturn == "":
	case c.Contracts():
		t.fact("no return", fmt.Sprintf("from the beginning of %s on: what is dropped is gone", p.NoReturn))
	case c.Rolls():
		t.fact("no return", fmt.Sprintf("from the beginning of %s on. Until then every node can go back to %s; the expanded schema stays, and %s works on it", p.NoReturn, c.From, c.From))
	default:
		t.fact("no return", fmt.Sprintf("from the beginning of %s on; earlier if replication to %s breaks, which holds %s", p.NoReturn, c.From, p.NoReturn))
	}
	t.line("")
}

// writeSwitch says how the strategies that switch a primary do it.
func (p Plan) writeSwitch(t *planText) {
	if p.Campaign.OfEngines() {
		return
	}
	s := p.Campaign.Switch
	open := "the switch is called off"
	if s.OnOpenTransaction == OnOpenFail {
		open = "it fails with a clear error"
	}
	t.fact("switch", fmt.Sprintf("gateways hold for at most %s; open write transactions get %s to end, %s, else %s; lag at most %s; %s for all of it",
		human(s.HoldTTL), human(s.Drain), times(s.Tries), open, human(s.MaxLag), human(s.Timeout)))
}

func (p Plan) writeEnvironments(t *planText) {
	name, width := 0, make([]int, len(p.Stages))
	for i, st := range p.Stages {
		width[i] = len(st.Name)
	}
	for _, e := range p.Environments {
		name = max(name, len(e.Name))
	}
	head := fmt.Sprintf("%-*s  clusters", max(name, len("environment")), "environment")
	for i, st := range p.Stages {
		head += fmt.Sprintf("  %*s", width[i], st.Name)
	}
	t.line("Clusters, and how many of them may be in a stage at the same time:")
	t.line("  %s", head)
	for _, e := range p.Environments {
		row := fmt.Sprintf("%-*s  %8d", max(name, len("environment")), e.Name, len(e.Clusters))
		for i, l := range e.Limits {
			row += fmt.Sprintf("  %*d", width[i], l.Limit)
		}
		t.line("  %s", row)
	}
	if most := p.Campaign.Limits.PerLaunch; most > 0 {
		t.line("  one launch starts at most %s in an environment", plural(most, "cluster"))
	}
	t.line("")
	for _, e := range p.Environments {
		names := make([]string, len(e.Clusters))
		for i, ref := range e.Clusters {
			names[i] = ref.Name
		}
		const most = 24
		if len(names) > most {
			names = append(names[:most:most], fmt.Sprintf("and %d more", len(e.Clusters)-most))
		}
		switch {
		case p.Fleet == NoFleet:
			names = []string{"(give the fleet's file too, and its clusters are named: -f FLEET.yaml)"}
		case !e.Known:
			names = []string{"(the fleet has no such environment)"}
		case len(names) == 0:
			names = []string{"(no cluster is selected)"}
		}
		t.wrap("  "+e.Name+": ", strings.Repeat(" ", len(e.Name)+4), strings.Join(names, ", "))
		if e.Waits != "" {
			t.wrap(strings.Repeat(" ", len(e.Name)+4), strings.Repeat(" ", len(e.Name)+4), e.Waits)
		}
	}
	t.line("")
	p.writeGroups(t)
}

// writeGroups names the nodes of each group, with their zones.
func (p Plan) writeGroups(t *planText) {
	const most = 12
	n := 0
	for _, e := range p.Environments {
		for _, g := range e.Groups {
			if n++; n > most {
				continue
			}
			if n == 1 {
				t.line("Groups, if every node serves; before each the nodes that serve are counted anew:")
			}
			t.line("  %s: at least %d of %d nodes serve", g.Ref, g.Least, g.Nodes)
			for i, group := range g.Groups {
				var names []string
				for _, node := range group {
					name := node.Name
					if node.Zone != "" {
						name += " (" + node.Zone + ")"
					}
					names = append(names, name)
				}
				head := fmt.Sprintf("    %d. ", i+1)
				if i == 0 {
					head += "canary: "
				}
				t.wrap(head, "       ", strings.Join(names, ", "))
			}
		}
	}
	if n > most {
		t.line("  and %s more", plural(n-most, "cluster"))
	}
	if n > 0 {
		t.line("")
	}
}

func (p Plan) writeStage(t *planText, i int, st PlanStage) {
	if st.NoReturn {
		t.line("────────────── point of no return: there is no way back from here on ──────────────")
		t.line("")
	}
	head := fmt.Sprintf("%d. %s", i+1, st.Name)
	if st.Approval {
		head += "  [a person approves it first]"
	}
	t.line("%s", head)
	t.wrap("   ", "   ", st.Summary)
	kind := 0
	for _, step := range st.Steps {
		kind = max(kind, len(step.Kind))
	}
	for _, step := range st.Steps {
		t.wrap(fmt.Sprintf("   %-*s  does    ", kind, step.Kind), strings.Repeat(" ", kind+13), step.Does)
		t.wrap(strings.Repeat(" ", kind+5)+"proves  ", strings.Repeat(" ", kind+13), fmt.Sprintf("%s (within %s)", step.Proves, human(step.Deadline)))
		if undo := step.Undoes; undo != "" && !st.NoReturn {
			t.wrap(strings.Repeat(" ", kind+5)+"back    ", strings.Repeat(" ", kind+13), undo)
		}
	}
	switch {
	case i == len(p.Stages)-1:
		t.line("   then the cluster has arrived")
	case st.Soak > 0:
		t.line("   then at least %s of watching", human(st.Soak))
	}
	t.line("")
}

func nodes(n int) string {
	switch n {
	case 0:
		return "as many nodes"
	case 1:
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}

func allowed(n int) string {
	if n < 0 {
		return "any number"
	}
	return fmt.Sprint(n)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// describe says when stages start and when the launcher runs.
func (s Schedule) describe() string {
	again := ""
	if s.Every > 0 {
		again = ", launches every " + human(s.Every)
	}
	if s.Always {
		if again == "" {
			again = ", launches once a day"
		}
		return "any time of any day" + again
	}
	if again == "" {
		again = ", launches once a day at " + s.Start
	}
	out := fmt.Sprintf("%s, %s to %s, %s%s", strings.Join(s.Workdays, " "), s.Start, s.End, s.TimeZone, again)
	if s.Calendar != "" {
		out += "; not on public holidays (" + s.Calendar + ")"
	}
	if len(s.Holidays) > 0 {
		out += "; not on " + strings.Join(s.Holidays, ", ")
	}
	return out
}

// planText collects lines.
type planText struct{ b strings.Builder }

func (t *planText) line(format string, args ...any) {
	t.b.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " "))
	t.b.WriteByte('\n')
}

func (t *planText) fact(name, text string) {
	t.wrap(fmt.Sprintf("  %-10s ", name), strings.Repeat(" ", 13), text)
}

// wrap writes text behind a first indent, and further lines behind another.
func (t *planText) wrap(first, rest, text string) {
	line, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && len([]rune(line))+1+len([]rune(word)) > planWidth {
			t.line("%s", line)
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	t.line("%s", line)
}
