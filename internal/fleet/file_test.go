package fleet

import (
	"os"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
)

const example = "../../examples/fleet.yaml"

func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) { configtest.EveryKeyMisspelt(t, example, Kind()) }

func TestParse(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(config.Source{Name: "fleet.yaml", Text: text})
	if err != nil {
		t.Fatal(err)
	}
	if f.Name != "shop" || len(f.Environments) != 2 {
		t.Fatalf("got %+v", f)
	}
	c, err := f.FindCluster(ClusterRef{Env: "qa", Name: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	blue, ok := c.Cell("blue")
	if !ok || c.Env != "qa" || c.Record != "orders.qa.example.test." || c.Labels["team"] != "checkout" || c.Product != "mariadb" {
		t.Fatalf("got %+v", c)
	}
	if blue.Version != "10.11" || len(blue.Nodes) != 2 || blue.Nodes[1].Address != "10.1.1.12:3306" || blue.Owner != "" {
		t.Fatalf("got %+v", blue)
	}
	if g := blue.Gateway; g == nil || g.ReadOnly != "10.1.1.10:3307" || g.Admin != "http://10.1.1.10:4101" {
		t.Fatalf("got %+v", g)
	}
	billing, err := f.FindCluster(ClusterRef{Env: "prod", Name: "legacy-billing"})
	if err != nil || billing.Cells[0].Gateway != nil {
		t.Fatalf("got %+v, %v", billing, err)
	}
}

// A version is text: 10.10 must not become 10.1.
func TestVersionKeepsItsSpelling(t *testing.T) {
	f, err := Parse(config.Source{Name: "fleet.yaml", Text: []byte(`
kind: Fleet
version: 1
name: shop
environments: [{name: qa, clusters: [{name: a, product: mysql, record: a.example.test., cells: [{name: blue, version: 10.10, nodes: [{name: a-1, address: "[::1]:3306"}]}]}]}]
`)})
	if err != nil {
		t.Fatal(err)
	}
	if v := f.Environments[0].Clusters[0].Cells[0].Version; v != "10.10" {
		t.Fatalf("the version became %q", v)
	}
}
