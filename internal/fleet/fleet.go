// Package fleet holds the nouns: a fleet has environments, an environment has clusters, a cluster has cells
// (blue is the one in service, green the one being made), a cell has nodes and a gateway. It imports nothing of ours
// but config, which reads the inventory file.
//
// The inventory file tells what exists before Windlass touches anything. Cells that a campaign makes are added by
// the step that made them, with Owner set to the campaign's mark.
package fleet

import "fmt"

// Fleet is everything that Windlass is told about.
type Fleet struct {
	Name         string        `json:"name"`
	Environments []Environment `json:"environments"`
}

// Environment is a set of clusters with a supervisor and secrets of its own, such as qa or prod.
type Environment struct {
	Name     string    `json:"name"`
	Clusters []Cluster `json:"clusters"`
}

// ClusterRef names a cluster.
type ClusterRef struct {
	Env  string `json:"env"`
	Name string `json:"name"`
}

// String is "env/name", as it is written in the CLI, in logs and on pages.
func (r ClusterRef) String() string { return r.Env + "/" + r.Name }

// Cluster is one primary with its replicas, served under one DNS record.
type Cluster struct {
	Name    string            `json:"name"`    // unique in its environment
	Env     string            `json:"env"`     // the environment's name
	Product string            `json:"product"` // "mariadb" or "mysql"
	Record  string            `json:"record"`  // DNS name that clients resolve, fully qualified, such as "orders.qa.example.test."
	Labels  map[string]string `json:"labels,omitempty"`
	Cells   []Cell            `json:"cells"`
}

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
	Name    string   `json:"name"`            // "blue", "green", or any other
	Version string   `json:"version"`         // the version that its nodes are meant to run, such as "10.11"
	Owner   string   `json:"owner,omitempty"` // mark of who made it; empty: not made by Windlass, so only ever released, never deleted
	Nodes   []Node   `json:"nodes"`
	Gateway *Gateway `json:"gateway,omitempty"`
}

// Node is one database server.
type Node struct {
	Name    string `json:"name"`
	Address string `json:"address"`        // host:port of the SQL port
	UUID    string `json:"uuid,omitempty"` // the server's own identity once observed; tear-down compares it
}

// Gateway is the cell's entry for clients.
type Gateway struct {
	Name     string `json:"name"`
	Address  string `json:"address"`             // host:port of the writer endpoint
	ReadOnly string `json:"read_only,omitempty"` // host:port of the read-only endpoint
	Admin    string `json:"admin"`               // base URL of the admin API, such as "http://127.0.0.1:4101"
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
