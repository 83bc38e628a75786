package campaign

import (
	"path"
	"slices"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Selects reports whether the campaign is for the cluster, by its environment and its name alone.
func (c Campaign) Selects(ref fleet.ClusterRef) bool {
	if !slices.Contains(c.Environments, ref.Env) {
		return false
	}
	name := ref.String()
	match := func(pattern string) bool { ok, err := path.Match(pattern, name); return err == nil && ok }
	if slices.ContainsFunc(c.Exclude, match) {
		return false
	}
	return len(c.Clusters) == 0 || slices.ContainsFunc(c.Clusters, match)
}

// Select returns the fleet's clusters that the campaign is for: of its environments, product and patterns. The order is that of the
// campaign's environments, then of the fleet.
func (c Campaign) Select(f fleet.Fleet) []fleet.Cluster {
	var selected []fleet.Cluster
	for _, name := range c.Environments {
		for _, e := range f.Environments {
			if e.Name != name {
				continue
			}
			for _, cl := range e.Clusters {
				if cl.Product == c.Product && c.Selects(cl.Ref()) {
					selected = append(selected, cl)
				}
			}
		}
	}
	return selected
}
