package fleet

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/windlass-db/windlass/internal/config"
)

// Merge lays what a file says of a cluster over what there is. declared is what the file said when it was last applied, and is what tells
// a change of the file from a change that a campaign has made since:
//
//   - what the file says as it did stays as it is now: a cell that a campaign has made, raised or torn down is not undone by an old file
//   - what the file says anew is taken, and what it says no more goes
//   - what both have changed, each in its own way, is a finding: neither is thrown away by a guess
//
// A file that says what there is agrees with everything, so the way out of every finding is to write what there is. The file
// alone tells product, record and labels. Names match cells and nodes; a server's identity stays while its address does. Paths of findings
// are relative to the cluster. The cluster is meaningless if there are findings.
func Merge(declared, live, file Cluster) (Cluster, []config.Finding) {
	m := merger{cluster: file.Name}
	out := file
	out.Cells = m.cells(declared, live, file)
	if len(m.found) == 0 {
		m.addresses(out)
	}
	return out, m.found
}

type merger struct {
	cluster string
	found   []config.Finding
}

const writeWhatThereIs = "write what there is, as `windlass fleet export` prints it, and change that"

func (m *merger) problem(path, format string, args ...any) {
	m.found = append(m.found, config.Finding{Path: path, Code: config.CodeContradiction, Message: fmt.Sprintf(format, args...), Hint: writeWhatThereIs})
}

func (m *merger) cells(declared, live, file Cluster) (out []Cell) {
	for _, l := range live.Cells {
		d, before := declared.Cell(l.Name)
		k := slices.IndexFunc(file.Cells, func(f Cell) bool { return f.Name == l.Name })
		switch {
		case k >= 0:
			out = append(out, m.cell(fmt.Sprintf("cells[%d]", k), d, l, file.Cells[k]))
		case !before:
			out = append(out, l) // no file has ever told of it: a campaign made it
		}
	}
	for k, f := range file.Cells {
		if _, there := live.Cell(f.Name); there {
			continue
		}
		switch d, before := declared.Cell(f.Name); {
		case !before:
			out = append(out, f)
		case !reflect.DeepEqual(d, f):
			m.problem(fmt.Sprintf("cells[%d]", k), "the file changes the cell %s of %s, which is gone: a campaign has torn it down", f.Name, m.cluster)
		}
	}
	if len(out) == 0 && len(m.found) == 0 {
		m.problem("cells", "nothing would be left of %s: the cells that the file names were torn down, and it takes out those that there are", m.cluster)
	}
	return out
}

func (m *merger) cell(path string, d, l, f Cell) Cell {
	of := func(what string) string { return what + " of the cell " + l.Name }
	out := Cell{
		Name:    l.Name,
		Version: three(m, path+".version", of("the version"), d.Version, l.Version, f.Version),
		Owner:   three(m, path+".owner", of("the owner"), d.Owner, l.Owner, f.Owner),
		Gateway: three(m, path+".gateway", of("the gateway"), d.Gateway, l.Gateway, f.Gateway),
	}
	for _, n := range l.Nodes {
		dn, before := node(d.Nodes, n.Name)
		k := slices.IndexFunc(f.Nodes, func(fn Node) bool { return fn.Name == n.Name })
		switch {
		case k >= 0:
			is := three(m, fmt.Sprintf("%s.nodes[%d]", path, k), "the server "+n.Name, told(dn), told(n), told(f.Nodes[k]))
			out.Nodes = append(out.Nodes, known(is, n))
		case !before:
			out.Nodes = append(out.Nodes, n)
		}
	}
	for k, fn := range f.Nodes {
		if _, there := node(l.Nodes, fn.Name); there {
			continue
		}
		switch dn, before := node(d.Nodes, fn.Name); {
		case !before:
			out.Nodes = append(out.Nodes, fn)
		case !reflect.DeepEqual(dn, fn):
			m.problem(fmt.Sprintf("%s.nodes[%d]", path, k), "the file changes the server %s of the cell %s, which a campaign has removed", fn.Name, l.Name)
		}
	}
	if len(out.Nodes) == 0 && len(f.Nodes) > 0 && len(m.found) == 0 {
		m.problem(path+".nodes", "no server would be left in the cell %s of %s", l.Name, m.cluster)
	}
	return out
}

// told is what a file can say of a server.
func told(n Node) Node {
	v := reflect.ValueOf(&n).Elem()
	for i := range v.NumField() {
		if _, ok := v.Type().Field(i).Tag.Lookup("yaml"); !ok {
			v.Field(i).SetZero()
		}
	}
	return n
}

// known is a server as it is told, with what is known of it beside that, as long as it is the same one: at another address it is another.
func known(is, before Node) Node {
	if is.Address != before.Address {
		return is
	}
	v, b := reflect.ValueOf(&is).Elem(), reflect.ValueOf(before)
	for i := range v.NumField() {
		if _, ok := v.Type().Field(i).Tag.Lookup("yaml"); !ok {
			v.Field(i).Set(b.Field(i))
		}
	}
	return is
}

func node(all []Node, name string) (Node, bool) {
	i := slices.IndexFunc(all, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return all[i], true
}

// three is the value of one key. What no file has told before, and a campaign has set, the first file that tells it may correct.
func three[T any](m *merger, path, what string, declared, live, file T) T {
	var unsaid T
	same := func(a, b T) bool { return reflect.DeepEqual(a, b) }
	switch {
	case same(file, declared):
		return live
	case same(live, declared), same(live, file), same(declared, unsaid):
		return file
	}
	m.problem(path, "a campaign has changed %s of %s from %s to %s, and the file changes it to %s", what, m.cluster, shown(declared), shown(live), shown(file))
	return live
}

func shown(v any) string {
	switch v := v.(type) {
	case *Gateway:
		if v == nil {
			return "none"
		}
		return v.Name + " at " + v.Address
	case Node:
		return v.Address
	case string:
		if v != "" {
			return v
		}
	}
	return "none"
}

// addresses finds a server of the file at the address of one that it does not tell of: inside the file that was looked for before.
func (m *merger) addresses(out Cluster) {
	taken := map[string]string{}
	for _, cell := range out.Cells {
		for _, n := range cell.Nodes {
			if other, ok := taken[n.Address]; ok {
				m.problem("cells", "two servers of %s, %s and %s, would have the address %s", m.cluster, other, n.Name, n.Address)
			}
			taken[n.Address] = n.Name
		}
	}
}
