package fleet

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/windlass-db/windlass/internal/config"
)

// Kind is the inventory file's kind of document. Its objects are of type Fleet.
func Kind() config.Kind {
	return config.Define("Fleet", "what exists before Windlass touches anything", nil, build)
}

// Parse reads a file that holds one fleet. The error is a config.Problems if the content is wrong.
func Parse(src config.Source) (Fleet, error) {
	f, _, err := config.One[Fleet](src, Kind())
	return f, err
}

// build looks for whatever is there twice, and tells every cluster its environment.
func build(f *Fleet, r *config.Report) Fleet {
	var (
		envs      = unique{what: "the environment"}
		records   = unique{what: "the record"}
		addresses = unique{what: "the address"}
	)
	for i := range f.Environments {
		env := &f.Environments[i]
		envAt := r.At("environments", i)
		envs.add(env.Name, envAt.At("name"), "give it another name, or move its clusters to the first one")
		clusters := unique{what: "the cluster", where: " in environment " + env.Name}
		for j := range env.Clusters {
			c := &env.Clusters[j]
			c.Env = env.Name
			at := envAt.At("clusters", j)
			clusters.add(c.Name, at.At("name"), "give it another name")
			kindOf(c, at)
			records.add(c.Record, at.At("record"), "every cluster has a record of its own: the switch of its gateway moves it")
			checkCells(c, at, &addresses)
		}
	}
	return *f
}

// kindOf looks whether the cluster has what its product asks for: a database is reached under a record, an engine behind a load balancer.
func kindOf(c *Cluster, at config.Spot) {
	switch {
	case c.Product == "" || at.At("product").Bad():
		return // nothing is known of it
	case c.Database():
		if !at.At("record").Given() {
			at.At("record").Problem(config.CodeMissing, fmt.Sprintf("the key \"record\" is missing: clients reach a database of %s by it", c.Product), "add \"record: orders.prod.example.test.\": the DNS name that clients resolve, with its final dot")
		}
		return
	}
	var wrong []config.Spot
	if spot := at.At("record"); spot.Given() {
		wrong = append(wrong, spot)
	}
	for i := range c.Cells {
		for _, key := range []string{"gateway", "owner"} {
			if spot := at.At("cells", i, key); spot.Given() {
				wrong = append(wrong, spot)
			}
		}
	}
	if meant := config.Suggest(c.Product, databases); len(wrong) > 0 && strings.HasPrefix(meant, "did") {
		at.At("product").Problem(config.CodeValue, fmt.Sprintf("%q is no database, and the cluster has what only a database has", c.Product), meant)
		return
	}
	for _, spot := range wrong {
		spot.KeyProblem(config.CodeContradiction, fmt.Sprintf("%q is an engine behind a load balancer: only a database (%s) has this", c.Product, strings.Join(databases, ", ")), "remove it, or correct the product")
	}
	if len(c.Cells) > 1 {
		at.At("cells", 1).Problem(config.CodeContradiction, fmt.Sprintf("%q is an engine: all of its nodes serve alike, in one cell", c.Product), "put every node into the first cell; what fails together is a node's zone")
	}
}

// checkCells looks at names and addresses inside one cluster.
func checkCells(c *Cluster, at config.Spot, addresses *unique) {
	cells := unique{what: "the cell", where: " in cluster " + c.Name}
	servers := unique{what: "the server", where: " in cluster " + c.Name}
	const twice = "two servers can't listen on one address: correct one of the two"
	for k := range c.Cells {
		cell := &c.Cells[k]
		cellAt := at.At("cells", k)
		cells.add(cell.Name, cellAt.At("name"), "give it another name, such as green")
		for l, n := range cell.Nodes {
			servers.add(n.Name, cellAt.At("nodes", l, "name"), "give it another name")
			addresses.add(n.Address, cellAt.At("nodes", l, "address"), twice)
		}
		if g := cell.Gateway; g != nil {
			gatewayAt := cellAt.At("gateway")
			servers.add(g.Name, gatewayAt.At("name"), "give it another name")
			addresses.add(g.Address, gatewayAt.At("address"), twice)
			addresses.add(g.ReadOnly, gatewayAt.At("read_only"), twice)
			if u, err := url.Parse(g.Admin); err == nil && u.Port() != "" {
				addresses.add(u.Host, gatewayAt.At("admin"), twice)
			}
		}
	}
}

// unique finds what is there twice.
type unique struct {
	what  string
	where string
	seen  map[string]config.Spot
}

func (u *unique) add(value string, at config.Spot, hint string) {
	if value == "" {
		return
	}
	if u.seen == nil {
		u.seen = map[string]config.Spot{}
	}
	if first, ok := u.seen[value]; ok {
		at.Problem(config.CodeDuplicate, fmt.Sprintf("%s %q is there twice%s; the first is in line %d", u.what, value, u.where, first.Line()), hint)
		return
	}
	u.seen[value] = at
}
