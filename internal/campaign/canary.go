package campaign

import (
	"cmp"

	"github.com/windlass-db/windlass/internal/fleet"
)

// CanaryLost says what is to be seen of the nodes that are out, if none serves on the new version, others do on the old one, and nothing is unknown: a load balancer that
// can't be asked, or an illness that all nodes share, says nothing of the new version.
func (c Campaign) CanaryLost(o fleet.Observation) (lost []string) {
	if o.Unknown() != "" {
		return nil
	}
	old := false
	for _, n := range o.Nodes {
		switch {
		case n.Role == fleet.RoleServing && fleet.HasVersion(n.Version, c.To):
			return nil
		case n.Role == fleet.RoleServing:
			old = true
		case n.Role == fleet.RoleOut && !fleet.HasVersion(n.Version, c.From):
			lost = append(lost, cmp.Or(n.Detail, n.Node+" is out"))
		}
	}
	if !old {
		return nil
	}
	return lost
}
