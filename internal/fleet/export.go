package fleet

import (
	"fmt"
	"io"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/config"
)

// The shape of an exported file: the keys of the inventory file in their order, and nothing that a file can't say.
type (
	yamlFleet struct {
		Kind         string    `yaml:"kind"`
		Version      int       `yaml:"version"`
		Name         string    `yaml:"name"`
		Environments []yamlEnv `yaml:"environments"`
	}
	yamlEnv struct {
		Name     string        `yaml:"name"`
		Clusters []yamlCluster `yaml:"clusters"`
	}
	yamlCluster struct {
		Name    string            `yaml:"name"`
		Product string            `yaml:"product"`
		Record  string            `yaml:"record"`
		Labels  map[string]string `yaml:"labels,omitempty"`
		Cells   []yamlCell        `yaml:"cells"`
	}
	yamlCell struct {
		Name    string       `yaml:"name"`
		Version string       `yaml:"version"`
		Owner   string       `yaml:"owner,omitempty"`
		Nodes   []yamlNode   `yaml:"nodes"`
		Gateway *yamlGateway `yaml:"gateway,omitempty"`
	}
	yamlNode struct {
		Name    string `yaml:"name"`
		Address string `yaml:"address"`
		Zone    string `yaml:"zone,omitempty"`
	}
	yamlGateway struct {
		Name     string `yaml:"name"`
		Address  string `yaml:"address"`
		ReadOnly string `yaml:"read_only,omitempty"`
		Admin    string `yaml:"admin"`
	}
)

// Write writes the fleet as a file that Parse reads: the inventory as it is now, for those whose file is older. Applied, it changes
// nothing.
func (f Fleet) Write(w io.Writer) error {
	out := yamlFleet{Kind: "Fleet", Version: config.FormatVersion, Name: f.Name}
	for _, e := range f.Environments {
		env := yamlEnv{Name: e.Name}
		for _, c := range e.Clusters {
			cluster := yamlCluster{Name: c.Name, Product: c.Product, Record: c.Record, Labels: c.Labels}
			for _, cell := range c.Cells {
				y := yamlCell{Name: cell.Name, Version: cell.Version, Owner: cell.Owner}
				for _, n := range cell.Nodes {
					y.Nodes = append(y.Nodes, yamlNode{n.Name, n.Address, n.Zone})
				}
				if g := cell.Gateway; g != nil {
					y.Gateway = &yamlGateway{g.Name, g.Address, g.ReadOnly, g.Admin}
				}
				cluster.Cells = append(cluster.Cells, y)
			}
			env.Clusters = append(env.Clusters, cluster)
		}
		out.Environments = append(out.Environments, env)
	}
	text, err := yaml.MarshalWithOptions(out, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("write the fleet %s: %w", f.Name, err)
	}
	_, err = w.Write(text)
	return err
}
