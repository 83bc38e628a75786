// Package fleet holds the nouns: a fleet has environments, an environment has clusters, a cluster has cells
// (blue is the one in service, green the one being made), a cell has nodes and a gateway. It imports nothing of ours
// but config, which reads the inventory file.
//
// The inventory file tells what exists before Windlass touches anything. Cells that a campaign makes are added by
// the step that made them, with Owner set to the campaign's mark.
package fleet

import (
	"fmt"
	"slices"
)

// Fleet is everything that Windlass is told about.
type Fleet struct {
	Name         string        `json:"name" yaml:"name" rule:"required name" doc:"the fleet's name" example:"shop"`
	Environments []Environment `json:"environments" yaml:"environments" rule:"required nonempty" doc:"sets of clusters with a supervisor and secrets of their own, such as qa and prod"`
	// Seen says of each engine whose nodes were last seen on another version than the inventory has, on which: until an upgrade ends with the opening
	// of its features the inventory has the version that a rollback goes to. No file has it; Write writes it as comments.
	Seen []string `json:"seen,omitempty"`
}

// Environment is a set of clusters with a supervisor and secrets of its own, such as qa or prod.
type Environment struct {
	Name     string    `json:"name" yaml:"name" rule:"required name" doc:"the environment's name" example:"prod"`
	Clusters []Cluster `json:"clusters" yaml:"clusters" rule:"required nonempty" doc:"the clusters of the environment"`
}

// ClusterRef names a cluster.
type ClusterRef struct {
	Env  string `json:"env"`
	Name string `json:"name"`
}

// String is "env/name", as it is written in the CLI, in logs and on pages.
func (r ClusterRef) String() string { return r.Env + "/" + r.Name }

// Cluster is one primary with its replicas, served under one DNS record; or, if its product is no database, the nodes of an engine behind a
// load balancer over one database: then it has one cell, no gateway and no record.
type Cluster struct {
	Name    string            `json:"name" yaml:"name" rule:"required name" doc:"the cluster's name, unique in its environment" example:"orders"`                                      // unique in its environment
	Env     string            `json:"env"`                                                                                                                                             // the environment's name
	Product string            `json:"product" yaml:"product" rule:"required name" doc:"what its servers run: mariadb, mysql, or an engine behind a load balancer" example:"mariadb"`   // "mariadb", "mysql"; any other is an engine
	Record  string            `json:"record" yaml:"record" rule:"fqdn" doc:"of a database: the DNS name that clients resolve, with its final dot" example:"orders.prod.example.test."` // DNS name that clients resolve, fully qualified
	Labels  map[string]string `json:"labels,omitempty" yaml:"labels" doc:"anything that is worth knowing about the cluster" example:"{team: checkout}"`
	Cells   []Cell            `json:"cells" yaml:"cells" rule:"required nonempty" doc:"the cells that exist today, mostly one"`
}

// databases are the products whose clusters are a primary with replicas, behind gateways and a DNS record.
var databases = []string{"mariadb", "mysql"}

// IsDatabase tells whether clusters of the product are databases. Those of any other product are engines: their nodes serve alike behind a
// load balancer, over one database that is not theirs alone.
func IsDatabase(product string) bool { return slices.Contains(databases, product) }

// Database tells whether the cluster is a database, and not the nodes of an engine. One that names no product is a database.
func (c Cluster) Database() bool { return c.Product == "" || IsDatabase(c.Product) }

// Ref returns the cluster's name with its environment.
func (c Cluster) Ref() ClusterRef { return ClusterRef{Env: c.Env, Name: c.Name} }

// Cell returns the cell of that name.
func (c Cluster) Cell(name string) (Cell, bool) {
	for _, cell := range c.Cells {
		if cell.Name == name {
			return cell, true
		}
	}
	return Cell{}, false
}

// Cell is a whole set of nodes and a gateway that run one version.
type Cell struct {
	Name    string   `json:"name" yaml:"name" rule:"required name" doc:"the cell's name" example:"blue"`                                                                                                   // "blue", "green", or any other
	Version string   `json:"version" yaml:"version" rule:"required version" doc:"the version that its nodes run" example:"10.11"`                                                                          // the version that its nodes are meant to run, such as "10.11"
	Owner   string   `json:"owner,omitempty" yaml:"owner" rule:"nonempty max=200" doc:"mark under which a provisioner made the cell: tear-down may delete it; absent: it is only released" example:"shop"` // mark of who made it; empty: not made by Windlass, so only ever released, never deleted
	Nodes   []Node   `json:"nodes" yaml:"nodes" rule:"required nonempty" doc:"the cell's servers"`
	Gateway *Gateway `json:"gateway,omitempty" yaml:"gateway" doc:"the cell's entry for clients"`
}

// Node is one server, of a database or of an engine.
type Node struct {
	Name    string `json:"name" yaml:"name" rule:"required name" doc:"the server's name, unique in its cluster" example:"orders-1"`
	Address string `json:"address" yaml:"address" rule:"required hostport" doc:"host and port of the server; of a database its SQL port" example:"10.0.1.1:3306"` // host:port; of a database the SQL port
	Zone    string `json:"zone,omitempty" yaml:"zone" rule:"nonempty max=100" doc:"what fails together with it, such as an availability zone; groups are spread over zones" example:"eu-1a"`
	Version string `json:"version,omitempty"` // the version that it is meant to run while its cell is raised in place; empty: its cell's
	UUID    string `json:"uuid,omitempty"`    // the server's own identity once observed; tear-down compares it
}

// VersionOf is the version that a node of the cell is meant to run.
func (c Cell) VersionOf(n Node) string {
	if n.Version != "" {
		return n.Version
	}
	return c.Version
}

// Gateway is the cell's entry for clients.
type Gateway struct {
	Name     string `json:"name" yaml:"name" rule:"required name" doc:"the gateway's name, unique in its cluster" example:"orders-gateway"`
	Address  string `json:"address" yaml:"address" rule:"required hostport" doc:"host and port of the writer endpoint" example:"10.0.1.9:3306"`         // host:port of the writer endpoint
	ReadOnly string `json:"read_only,omitempty" yaml:"read_only" rule:"hostport" doc:"host and port of the read-only endpoint" example:"10.0.1.9:3307"` // host:port of the read-only endpoint
	Admin    string `json:"admin" yaml:"admin" rule:"required url" doc:"base URL of the admin API" example:"http://10.0.1.9:4101"`                      // base URL of the admin API
}

// FindCluster returns the cluster of that reference.
func (f Fleet) FindCluster(ref ClusterRef) (Cluster, error) {
	for _, e := range f.Environments {
		if e.Name != ref.Env {
			continue
		}
		for _, c := range e.Clusters {
			if c.Name == ref.Name {
				return c, nil
			}
		}
	}
	return Cluster{}, fmt.Errorf("fleet %s has no cluster %s", f.Name, ref)
}
