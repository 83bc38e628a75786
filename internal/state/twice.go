package state

import (
	"fmt"
	"net/url"
	"slices"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
)

// claim is an address that a cluster names, and where in its file.
type claim struct{ path, address string }

// claims are the addresses at which a cluster's servers and gateways listen.
func claims(c fleet.Cluster) (all []claim) {
	add := func(path, address string) {
		if address != "" {
			all = append(all, claim{path, address})
		}
	}
	for k, cell := range c.Cells {
		at := fmt.Sprintf("cells[%d]", k)
		for l, n := range cell.Nodes {
			add(fmt.Sprintf("%s.nodes[%d].address", at, l), n.Address)
		}
		if g := cell.Gateway; g != nil {
			add(at+".gateway.address", g.Address)
			add(at+".gateway.read_only", g.ReadOnly)
			if u, err := url.Parse(g.Admin); err == nil && u.Port() != "" {
				add(at+".gateway.admin", u.Host)
			}
		}
	}
	return all
}

// laid is a cluster of a file that was laid over the inventory.
type laid struct {
	path         string
	file, before fleet.Cluster // before: as it was known; empty if it is new
}

// twice finds each address that a file brings into the inventory and that another cluster has: a cluster that was renamed in its file would
// be two, each with campaigns of its own, over the same servers. Inside one file that was looked for before. What was there
// already is not judged: the same file is never refused.
func (inv *inventory) twice(all []laid, a FleetApplied) (found []config.Finding) {
	holders := map[string][]fleet.ClusterRef{}
	for _, ref := range inv.order {
		for _, c := range claims(inv.rows[ref].now) {
			holders[c.address] = append(holders[c.address], ref)
		}
	}
	for _, l := range all {
		ref, known, stays := l.file.Ref(), map[string]bool{}, map[string]bool{}
		for _, c := range claims(l.before) {
			known[c.address] = true
		}
		for _, c := range claims(inv.rows[ref].now) {
			stays[c.address] = true
		}
		for _, c := range claims(l.file) {
			if known[c.address] || !stays[c.address] {
				continue
			}
			for _, other := range holders[c.address] {
				if other == ref {
					continue
				}
				hint := "two clusters can't have one address: correct one of the two"
				if row := inv.rows[other]; row.fleet != a.Name {
					hint = fmt.Sprintf("correct the file; or, if %s is gone, forget it first: `windlass forget %s --why …`", other, other)
				} else if slices.Contains(a.Absent, other) {
					hint = fmt.Sprintf("if it is %s by another name, forget the old one first (`windlass forget %s --why …`), or apply with --prune", other, other)
				}
				found = append(found, config.Finding{Path: l.path + "." + c.path, Code: config.CodeDuplicate, Message: fmt.Sprintf("the address %s of %s is that of %s already", c.address, ref, other), Hint: hint})
				break
			}
		}
	}
	return found
}
