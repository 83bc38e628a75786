package fleet

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func cellOf(name, version string, nodes ...string) Cell {
	c := Cell{Name: name, Version: version, Gateway: &Gateway{Name: name + "-gateway", Address: "10.0.9.1:3306", Admin: "http://" + name}}
	for _, n := range nodes {
		at, uuid, _ := strings.Cut(n, "#")
		c.Nodes = append(c.Nodes, Node{Name: name + "-" + at, Address: at, UUID: uuid})
	}
	return c
}

func made(c Cell) Cell { c.Owner = "windlass:qa/orders"; return c }

func moved(c Cell, node int, to string) Cell {
	c.Nodes = append([]Node{}, c.Nodes...)
	c.Nodes[node].Address, c.Nodes[node].UUID = to, ""
	return c
}

func TestMerge(t *testing.T) {
	blue, green := cellOf("blue", "10.11", "1", "2"), made(cellOf("green", "11.8", "3#u3", "4#u4"))
	written := func(c Cell) Cell { // as a file can say it
		c.Nodes = append([]Node{}, c.Nodes...)
		for i := range c.Nodes {
			c.Nodes[i].UUID = ""
		}
		return c
	}
	unmarked := written(green)
	unmarked.Owner = ""
	blue3, raised := cellOf("blue", "10.11", "1", "2", "5"), cellOf("blue", "11.8", "1", "2")
	otherGateway := written(green)
	otherGateway.Gateway = &Gateway{Name: "green-gateway", Address: "10.0.9.9:3306", Admin: "http://green"}
	otherGatewayLive := green
	otherGatewayLive.Gateway = otherGateway.Gateway
	for name, x := range map[string]struct {
		declared, live, file, want []Cell
		refused                    string // path: part of the message
	}{
		"nothing has changed":                                       {declared: cells(blue), live: cells(blue), file: cells(blue), want: cells(blue)},
		"the old file in the middle of a campaign":                  {declared: cells(blue), live: cells(blue, green), file: cells(blue), want: cells(blue, green)},
		"the old file after it":                                     {declared: cells(blue), live: cells(green), file: cells(blue), want: cells(green)},
		"the old file after one that raised the cell in place":      {declared: cells(blue), live: cells(raised), file: cells(blue), want: cells(raised)},
		"what there is":                                             {declared: cells(blue), live: cells(green), file: cells(written(green)), want: cells(green)},
		"what there is, without its mark":                           {declared: cells(blue), live: cells(green), file: cells(unmarked), want: cells(green)},
		"the mark is taken off":                                     {declared: cells(written(green)), live: cells(green), file: cells(unmarked), want: cells(func() Cell { c := green; c.Owner = ""; return c }())},
		"a server more, before any campaign":                        {declared: cells(blue), live: cells(blue), file: cells(blue3), want: cells(blue3)},
		"a server less":                                             {declared: cells(blue3), live: cells(blue3), file: cells(blue), want: cells(blue)},
		"another version, written by hand":                          {declared: cells(blue), live: cells(blue), file: cells(raised), want: cells(raised)},
		"the cell that was made, with another gateway":              {declared: cells(blue), live: cells(green), file: cells(otherGateway), want: cells(otherGatewayLive)},
		"a server of the cell that was made moves":                  {declared: cells(blue), live: cells(green), file: cells(moved(written(green), 0, "7")), want: cells(moved(green, 0, "7"))},
		"a server of the exported cell moves":                       {declared: cells(written(green)), live: cells(green), file: cells(moved(written(green), 1, "7")), want: cells(moved(green, 1, "7"))},
		"the torn-down cell is taken out":                           {declared: cells(blue), live: cells(green), file: cells(written(green)), want: cells(green)},
		"a cell is taken out by hand":                               {declared: cells(blue, written(green)), live: cells(blue, green), file: cells(blue), want: cells(blue)},
		"a cell of one's own beside what was made":                  {declared: cells(blue), live: cells(green), file: cells(blue, cellOf("red", "11.8", "8")), want: cells(green, cellOf("red", "11.8", "8"))},
		"the exported file, when the campaign has gone on":          {declared: cells(blue, written(green)), live: cells(green), file: cells(blue, written(green)), want: cells(green)},
		"the torn-down cell is changed":                             {declared: cells(blue), live: cells(green), file: cells(blue3), refused: "cells[0]: the file changes the cell blue of orders, which is gone"},
		"a version that both have changed":                          {declared: cells(blue), live: cells(raised), file: cells(cellOf("blue", "10.12", "1", "2")), refused: "cells[0].version: a campaign has changed the version of the cell blue of orders from 10.11 to 11.8, and the file changes it to 10.12"},
		"the cells that there are go, and those that stay are gone": {declared: cells(blue, written(green)), live: cells(green), file: cells(blue), refused: "cells: nothing would be left of orders"},
		"an address that a cell beside it has":                      {declared: cells(blue), live: cells(green), file: cells(blue, cellOf("red", "11.8", "3")), refused: "cells: two servers of orders, green-3 and red-3, would have the address 3"},
	} {
		t.Run(name, func(t *testing.T) {
			of := func(cells []Cell) Cluster { return Cluster{Name: "orders", Env: "qa", Cells: cells} }
			got, found := Merge(of(x.declared), of(x.live), of(x.file))
			if x.refused != "" {
				if len(found) != 1 || !strings.HasPrefix(found[0].String(), x.refused) || !strings.Contains(found[0].Hint, "windlass fleet export") {
					t.Fatalf("found %v\nwant  %s", found, x.refused)
				}
				return
			}
			if len(found) > 0 || !reflect.DeepEqual(got.Cells, x.want) {
				t.Fatalf("found %v\ngot  %+v\nwant %+v", found, got.Cells, x.want)
			}
			// Applied again it changes nothing.
			if again, found := Merge(of(x.file), got, of(x.file)); len(found) > 0 || !reflect.DeepEqual(again, got) {
				t.Fatalf("applied again: %v, %+v\nwant %+v", found, again, got)
			}
		})
	}
}

func cells(all ...Cell) []Cell { return all }

// Whatever a campaign has made of a cluster: the file as it was applied last never breaks and never undoes it, and what there is, exported,
// is always agreed to.
func TestMergeNeverBreaksTheSameFile(t *testing.T) {
	cell := func(t *rapid.T, name string) Cell {
		c := cellOf(name, rapid.SampledFrom([]string{"10.11", "11.8"}).Draw(t, "version"))
		for i := range rapid.IntRange(1, 3).Draw(t, "nodes") {
			c.Nodes = append(c.Nodes, Node{Name: name + string(rune('a'+i)), Address: name + rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "address") + string(rune('a'+i))})
		}
		if rapid.Bool().Draw(t, "owned") {
			c = made(c)
		}
		if rapid.Bool().Draw(t, "no gateway") {
			c.Gateway = nil
		}
		return c
	}
	cluster := func(t *rapid.T) Cluster {
		c := Cluster{Name: "orders", Env: "qa", Product: "mariadb", Record: "orders.qa.example.test."}
		for _, name := range []string{"blue", "green", "red"} {
			if rapid.Bool().Draw(t, name) {
				c.Cells = append(c.Cells, cell(t, name))
			}
		}
		if len(c.Cells) == 0 {
			c.Cells = []Cell{cell(t, "blue")}
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		declared, live := cluster(t), cluster(t)
		if got, found := Merge(declared, live, declared); len(found) > 0 || !reflect.DeepEqual(got.Cells, live.Cells) {
			t.Fatalf("the same file: %v\ngot  %+v\nwant %+v", found, got.Cells, live.Cells)
		}
		if got, found := Merge(declared, live, live); len(found) > 0 || !reflect.DeepEqual(got.Cells, live.Cells) {
			t.Fatalf("what there is: %v\ngot  %+v\nwant %+v", found, got.Cells, live.Cells)
		}
	})
}

// A field that is new has to be merged, too: teach Merge, then count it here. Servers and gateways are compared as they are.
func TestEveryFieldIsMerged(t *testing.T) {
	for _, x := range []struct {
		of    reflect.Type
		known int
	}{{reflect.TypeFor[Cluster](), 6}, {reflect.TypeFor[Cell](), 5}} {
		if n := x.of.NumField(); n != x.known {
			t.Errorf("%s has %d fields, and Merge knows %d", x.of, n, x.known)
		}
	}
}
