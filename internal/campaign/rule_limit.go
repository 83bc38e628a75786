package campaign

import "fmt"

// place gives the cluster one of the places that the limits leave, or says which limit holds it. Everything live in the stage counts,
// the way back too, and so does what this call has started.
func (t *tick) place(c *candidate) *Reason {
	rank := t.ranks[c.Ref.Env]
	n := t.at(rank, c.next)
	limit := t.Campaign.Limits.Of(c.Ref.Env, c.name)
	if n.live.n+n.starts >= limit && !t.overridden(CodeLimit, c, t.now) {
		return &Reason{Code: CodeLimit, Message: n.full(c.Ref.Env, c.name, limit), Release: fmt.Sprintf("a cluster of %s ends %s, or the limit is raised", c.Ref.Env, c.name)}
	}
	most := t.Campaign.Limits.PerLaunch
	if most > 0 && t.starts[rank] >= most && !t.overridden(CodePerLaunch, c, t.now) {
		return &Reason{Code: CodePerLaunch, Message: fmt.Sprintf("one launch starts at most %s in %s", plural(most, "cluster"), c.Ref.Env), Release: "a later launch takes it"}
	}
	n.starts++
	t.starts[rank]++
	return nil
}

// full says who takes up the places of a stage.
func (n *count) full(env, stage string, limit int) string {
	if limit == 0 {
		return fmt.Sprintf("the campaign's limit shuts %s in %s", stage, env)
	}
	s := fmt.Sprintf("%d of %d places in %s of %s are taken", n.live.n+n.starts, limit, stage, env)
	if n.live.n > 0 {
		s += ": " + n.live.String()
	}
	if n.starts > 0 {
		s += fmt.Sprintf("; %d of them by starts of this launch", n.starts)
	}
	return s
}

// Of is how many clusters of the environment may be in the stage at the same time: what is said of the environment and stage, of the
// environment, of the stage, or of every stage.
func (l Limits) Of(env, stage string) int {
	if byStage, ok := l.Environments[env]; ok {
		if n, ok := byStage[stage]; ok {
			return n
		}
		if n, ok := byStage["*"]; ok {
			return n
		}
	}
	if n, ok := l.Stages[stage]; ok {
		return n
	}
	if l.PerStage > 0 {
		return l.PerStage
	}
	return DefaultLimit
}
