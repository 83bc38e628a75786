package campaign

import (
	"fmt"
	"time"
)

// budget stops the line when more clusters failed than agreed, in the stage, the environment or the campaign. Failures count
// until a person has looked at them and resumed the cluster.
func (t *tick) budget(c *candidate, _ time.Time) (Reason, bool) {
	b := t.Campaign.Budget
	rank, ok := t.ranks[c.Ref.Env]
	if !ok || c.next < 0 {
		return Reason{}, false
	}
	var where string
	var failed *named
	var allowed int
	stage := t.at(rank, c.next)
	switch {
	case b.Campaign >= 0 && t.failed.n > b.Campaign:
		where, failed, allowed = "the campaign", &t.failed, b.Campaign
	case b.Environment >= 0 && t.failures[rank].n > b.Environment:
		where, failed, allowed = "environment "+c.Ref.Env, &t.failures[rank], b.Environment
	case b.Stage >= 0 && stage.failed.n > b.Stage:
		where, failed, allowed = "stage "+c.name+" of environment "+c.Ref.Env, &stage.failed, b.Stage
	default:
		return Reason{}, false
	}
	if !stage.overBudget.made {
		stage.overBudget = memo{true, Reason{Code: CodeBudget, Message: fmt.Sprintf("%s failed in %s, and %d may: %s", plural(failed.n, "cluster"), where, allowed, failed),
			Release: "failed clusters are resumed by a person, or the budget is raised"}}
	}
	return stage.overBudget.Reason, true
}

// String is "a, b, c and 2 more".
func (n *named) String() string {
	s := ""
	for i := range min(n.n, len(n.first)) {
		if i > 0 {
			s += ", "
		}
		s += n.first[i]
	}
	if more := n.n - len(n.first); more > 0 {
		s += fmt.Sprintf(" and %d more", more)
	}
	return s
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
