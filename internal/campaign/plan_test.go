package campaign

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
)

// planDay is when the plans of the tests are made.
var planDay = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

func exampleFleet(t *testing.T) fleet.Fleet {
	t.Helper()
	text, err := os.ReadFile("../../examples/fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.Parse(config.Source{Name: "fleet.yaml", Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The text of the example's plan is in testdata; go test -update writes it anew.
func TestPlanText(t *testing.T) {
	p := PlanOf(parseFile(t, example), exampleFleet(t), planDay)
	if len(p.Findings) > 0 {
		t.Errorf("the examples don't fit each other: %v", p.Findings)
	}
	golden(t, p, "plan")
}

// golden compares a plan's text with the file of that name; go test -update writes it anew.
func golden(t *testing.T, p Plan, name string) {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(b.String(), "\n") {
		if n := len([]rune(line)); n > planWidth {
			t.Errorf("line %d has %d characters: %s", i+1, n, line)
		}
		if strings.TrimRight(line, " ") != line {
			t.Errorf("line %d ends with spaces", i+1)
		}
	}
	file := filepath.Join("testdata", name+".golden")
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	p := PlanOf(parseFile(t, example), exampleFleet(t), planDay)
	if p.NoReturn != "tear-down" || len(p.Stages) != 6 || !p.Stages[5].NoReturn || !p.Stages[5].Approval || p.Stages[3].Soak.Hours() != 24 || !p.Stages[3].Disruptive {
		t.Errorf("got %+v", p.Stages)
	}
	prod := p.Environments[1]
	if fmt.Sprint(prod.Clusters) != "[prod/orders prod/stock]" || prod.Limits[3] != (StageLimit{"switch-storage", 2}) || prod.Limits[0].Limit != 5 || prod.Waits == "" || p.Environments[0].Waits != "" {
		t.Errorf("got %+v", prod)
	}
	if p.Environments[0].Limits[0].Limit != 20 {
		t.Errorf("got %+v", p.Environments[0].Limits)
	}
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		change func(c *Campaign, f *fleet.Fleet)
		want   []string
	}{
		"it fits": {func(*Campaign, *fleet.Fleet) {}, nil},
		"no such environment": {func(c *Campaign, _ *fleet.Fleet) { c.Environments = []string{"qa", "prd"} },
			[]string{`environments[1]: the fleet shop has no environment "prd" (did you mean "prod"?)`,
				`exclude[0]: the pattern "*/legacy-*" fits no cluster of the campaign's environments (write a pattern that fits, such as "*/*")`}},
		"a pattern that fits nothing": {func(c *Campaign, _ *fleet.Fleet) { c.Clusters = []string{"*/orders", "qa/stocks"} },
			[]string{`clusters[1]: the pattern "qa/stocks" fits no cluster of the campaign's environments (did you mean "qa/stock"?)`}},
		"another product": {func(c *Campaign, _ *fleet.Fleet) { c.Product = "mysql" },
			[]string{`product: the campaign selects no cluster of the fleet shop: none of product "mysql" fits its environments and patterns (write the product and the patterns of clusters that the fleet has)`}},
		"another version": {func(c *Campaign, _ *fleet.Fleet) { c.From = "10.6" },
			[]string{`from: 4 clusters have another version than 10.6 in the cell "blue": qa/orders (10.11), qa/stock (10.11), prod/orders (10.11) and 1 more (correct the version here or in the fleet, or exclude these clusters)`,
				"to: from 10.6 to 11.8 it takes 2 hops, the first one to 11.4: to any later release at once (MariaDB documentation, Upgrading: a later release may be reached directly); not further, as replica 10.6 may not meet source 11.8: source may be at most 2 newer than replica, which calls it (skew[0]: MariaDB documentation: an older source is fine; a newer one only for the way back, measured from 11.8 to 10.11 behind its guards) (go to a version that the policy allows; `windlass plan --product mariadb --from 10.6 --to 11.8` shows the way)"}},
		"a version that the policy does not know": {func(c *Campaign, _ *fleet.Fleet) { c.To = "12.9" },
			[]string{`to: version "12.9" is of no release of mariadb that is known: they go from 10.3 to 11.8 (correct the version, or add its release to the product's file)`}},
		"a longer version of the fleet fits": {func(_ *Campaign, f *fleet.Fleet) { f.Environments[0].Clusters[0].Cells[0].Version = "10.11.18" }, nil},
		"no such cell": {func(c *Campaign, _ *fleet.Fleet) {
			c.FromCell = "red"
			c.Clusters = []string{"qa/stock"}
			c.Exclude = nil
		},
			[]string{`cells.from: 1 cluster has no cell "red": qa/stock (name the cell that is in service, or exclude these clusters)`}},
		"the new cell's name is taken": {func(_ *Campaign, f *fleet.Fleet) {
			cl := &f.Environments[0].Clusters[1]
			cl.Cells = append(cl.Cells, fleet.Cell{Name: "green", Version: "11.8"})
		}, []string{`cells.to: 1 cluster has a cell "green" that Windlass did not make: qa/stock (give the new cell a name that is free)`}},
		"no gateway": {func(_ *Campaign, f *fleet.Fleet) { f.Environments[1].Clusters[1].Cells[0].Gateway = nil },
			[]string{`clusters: 1 cluster has no gateway in the cell "blue": prod/stock (add "gateway" to the cell in the fleet file: the strategy bluegreen holds and moves clients with it)`}},
		"trap 37: no node for a replay": {func(c *Campaign, f *fleet.Fleet) {
			c.Nodes, f.Environments[1].Clusters[1].Cells[0].Nodes = 0, f.Environments[1].Clusters[1].Cells[0].Nodes[:1]
		},
			[]string{`cells.nodes: 1 cluster would have one node in the new cell "green", which is to be the primary: queries are replayed on another one: prod/stock (write "cells: {nodes: 2}", or decide against a replay with "replay: {skip: {reason: …, by: …}}")`}},
		"as many nodes as the campaign says": {func(c *Campaign, f *fleet.Fleet) {
			c.Nodes, f.Environments[1].Clusters[1].Cells[0].Nodes = 2, f.Environments[1].Clusters[1].Cells[0].Nodes[:1]
		}, nil},
		"a person has decided against a replay": {func(c *Campaign, _ *fleet.Fleet) {
			c.Nodes, c.Replay.Skip = 1, &ReplaySkip{Reason: "small", By: "mira"}
		}, nil},
		"a cluster on its way is judged by observation": {func(_ *Campaign, f *fleet.Fleet) {
			f.Environments[0].Clusters[1].Cells = []fleet.Cell{{Name: "green", Version: "11.8", Owner: "up qa/stock"}}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			camp, f := parseFile(t, example), exampleFleet(t)
			c.change(&camp, &f)
			var got []string
			for _, finding := range camp.Check(f, planDay) {
				got = append(got, finding.String())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// Findings of the check get the lines of the campaign's file.
func TestFindingsAreLocated(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	c, object, err := config.One[Campaign](config.Source{Name: "campaign.yaml", Text: []byte(strings.Replace(string(text), `"*/*"`, `"qa/orders", "qa/stocks"`, 1))}, Kind())
	if err != nil {
		t.Fatal(err)
	}
	problems := object.Locate(c.Check(exampleFleet(t), planDay))
	if len(problems) != 1 || problems[0].Line != 13 || problems[0].Column != 25 {
		t.Errorf("got %v", problems)
	}
}

func TestSelect(t *testing.T) {
	f := exampleFleet(t)
	for patterns, want := range map[string]string{
		"":                    "qa/orders qa/stock prod/orders prod/stock",
		"*/orders":            "qa/orders prod/orders",
		"prod/*":              "prod/orders prod/stock",
		"qa/s*,prod/*s":       "qa/stock prod/orders",
		"prod/legacy-billing": "", // of another product
		"*/*;*/stock":         "qa/orders prod/orders",
	} {
		c := Campaign{Product: "mariadb", Environments: []string{"qa", "prod"}}
		in, out, _ := strings.Cut(patterns, ";")
		if in != "" {
			c.Clusters = strings.Split(in, ",")
		}
		if out != "" {
			c.Exclude = strings.Split(out, ",")
		}
		var got []string
		for _, cl := range c.Select(f) {
			got = append(got, cl.Ref().String())
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%q selects %q, want %q", patterns, text, want)
		}
	}
}
