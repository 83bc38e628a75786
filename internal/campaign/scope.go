package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// scoped holds pauses or overrides so that those of one cluster are found without looking at all of the others'.
type scoped[T any] struct {
	general []T
	cluster map[string][]T
}

func scope[T any](all []T, cluster func(T) string) scoped[T] {
	var s scoped[T]
	for _, v := range all {
		name := cluster(v)
		if name == "" {
			s.general = append(s.general, v)
			continue
		}
		if s.cluster == nil {
			s.cluster = map[string][]T{}
		}
		s.cluster[name] = append(s.cluster[name], v)
	}
	return s
}

// inScope reports whether a pause or override is for a stage of the cluster. Empty fields match everything.
func inScope(env, cluster, stage string, of fleet.ClusterRef, its string) bool {
	return (env == "" || env == of.Env) && (cluster == "" || cluster == of.Name) && (stage == "" || stage == its)
}

func overridesByRule(all []Override) map[string]scoped[Override] {
	byRule := map[string][]Override{}
	allowed := Overridable()
	for _, o := range all {
		if _, ok := allowed[o.Rule]; ok {
			byRule[o.Rule] = append(byRule[o.Rule], o)
		}
	}
	out := make(map[string]scoped[Override], len(byRule))
	for code, os := range byRule {
		out[code] = scope(os, func(o Override) string { return o.Cluster })
	}
	return out
}

// overridden reports whether an override lets the rule pass at that time. One without an expiry is no override.
func (t *tick) overridden(code string, c *candidate, at time.Time) bool {
	s, ok := t.overrides[code]
	if !ok {
		return false
	}
	for _, list := range [2][]Override{s.general, s.cluster[c.Ref.Name]} {
		for i := range list {
			o := &list[i]
			if at.Before(o.Expires) && inScope(o.Env, o.Cluster, o.Stage, c.Ref, c.name) {
				return true
			}
		}
	}
	return false
}
