package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/schema"
)

// A blocker is a foreign key that refuses a DELETE from a table, and the way from that table to it.
type blocker struct {
	from string             // the table of the DELETE
	key  *schema.ForeignKey // that refuses
	way  []string           // what acts before it, in words, first to last
	why  string             // one of those below
}

// same tells whether an old node that meets one has met the other: both refuse the same DELETE, for the same key.
func (b blocker) same(o blocker) bool {
	return b.from == o.from && tableName(b.key.Table) == tableName(o.key.Table) && b.why == o.why &&
		(b.key.Symbol == o.key.Symbol || slices.Equal(columnNames(b.key.Columns), columnNames(o.key.Columns)))
}

// Why a key refuses. NO ACTION and RESTRICT differ in time alone.
const (
	whyRefers  = "refuses while rows refer to what goes"
	whyNotNull = "can't set NULL: a column is NOT NULL"
	whyDefault = "can't always set the default: the row that it names may be missing, or the one that is deleted"
)

// graph is a state's foreign keys, by the table that they refer to.
type graph struct {
	keys   map[string][]*schema.ForeignKey
	extras map[string]extra
}

func (s *state) graph() graph {
	g := graph{keys: map[string][]*schema.ForeignKey{}, extras: s.extras}
	for _, t := range s.tables() {
		for _, f := range t.ForeignKeys {
			if f.RefTable != nil {
				name := tableName(f.RefTable)
				g.keys[name] = append(g.keys[name], f)
			}
		}
	}
	return g
}

// blockers are those of a DELETE from a table. The walk follows rows that are deleted through keys that cascade, and columns that are set
// through keys that refer to them; each of both is met once, by a shortest way.
func (g graph) blockers(table string) []blocker {
	type event struct {
		table   string
		columns []string // that are set; nil: the row is deleted
		way     []string
	}
	var out []blocker
	seen := map[string]bool{}
	queue := []event{{table: table}}
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		id := e.table + "\x00" + strings.Join(e.columns, "\x00")
		if seen[id] {
			continue
		}
		seen[id] = true
		for _, f := range g.keys[e.table] {
			action, set := f.OnDelete, g.setColumns(f)
			if e.columns != nil {
				if !slices.ContainsFunc(f.RefColumns, func(c *schema.Column) bool { return slices.Contains(e.columns, c.Name) }) {
					continue
				}
				action, set = f.OnUpdate, f.Columns
			}
			via := fmt.Sprintf("%s (by %s)", tableName(f.Table), f.Symbol)
			next := func(does string, columns []*schema.Column) {
				if columns == nil || len(columns) > 0 {
					queue = append(queue, event{tableName(f.Table), columnNames(columns), append(slices.Clone(e.way), does+" "+via)})
				}
			}
			block := func(why string) { out = append(out, blocker{table, f, e.way, why}) }
			switch action {
			case schema.Cascade:
				if e.columns == nil {
					next("deletes rows of", nil)
					continue
				}
				set = []*schema.Column{} // those that refer to the columns that were set
				for i, c := range f.RefColumns {
					if slices.Contains(e.columns, c.Name) && i < len(f.Columns) {
						set = append(set, f.Columns[i])
					}
				}
				if slices.ContainsFunc(set, func(c *schema.Column) bool { return !c.Type.Null }) {
					block(whyNotNull)
					continue
				}
				next("changes rows of", set)
			case schema.SetNull:
				if slices.ContainsFunc(set, func(c *schema.Column) bool { return !c.Type.Null }) {
					block(whyNotNull)
					continue
				}
				next("sets NULL in", set)
			case schema.SetDefault:
				if slices.ContainsFunc(set, func(c *schema.Column) bool { return !c.Type.Null && (c.Default == nil || isNullExpr(c.Default)) }) {
					block(whyNotNull)
					continue
				}
				if !slices.ContainsFunc(f.Columns, func(c *schema.Column) bool { return slices.Contains(set, c) && leftNull(c) }) {
					block(whyDefault) // with one NULL in it a key refers to nothing
				}
				next("sets defaults in", set)
			default:
				block(whyRefers)
			}
		}
	}
	return out
}

var setList = regexp.MustCompile(`ON DELETE SET (?:NULL|DEFAULT) \(([^)]*)\)`)

// setColumns are the columns that ON DELETE SET NULL or SET DEFAULT sets: all, if the key does not name some (PostgreSQL 15 and later).
func (g graph) setColumns(f *schema.ForeignKey) []*schema.Column {
	if f.Table.Schema == nil {
		return f.Columns
	}
	m := setList.FindStringSubmatch(g.extras[extra{Kind: "foreign key", Schema: f.Table.Schema.Name, Table: f.Table.Name, Name: f.Symbol}.key()].Def)
	if m == nil {
		return f.Columns
	}
	var out []*schema.Column
	for _, name := range strings.Split(m[1], ",") {
		if c, ok := f.Table.Column(strings.Trim(strings.TrimSpace(name), `"`)); ok {
			out = append(out, c)
		}
	}
	return out
}

// String is the way in words.
func (b blocker) String() string {
	text := "DELETE FROM " + b.from
	if len(b.way) > 0 {
		text += " " + strings.Join(b.way, ", which ")
	}
	return text + ": " + fkText(b.key) + ", which " + b.why
}

// blocks finds what refuses an old node's DELETE after the statement and did neither before it nor on the old schema: one finding for each
// key, with all ways to it.
func (j *judge) blocks() {
	base, before, after := j.base.graph(), j.before.graph(), j.after.graph()
	var found []blocker
	for _, t := range j.base.tables() {
		name := tableName(t)
		if j.after.table(name) == nil {
			continue // which is a finding by itself
		}
		known := append(base.blockers(name), before.blockers(name)...)
		for _, b := range after.blockers(name) {
			if !slices.ContainsFunc(known, b.same) {
				found = append(found, b)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b blocker) int { return len(a.way) - len(b.way) })
	for i, b := range found {
		first := slices.IndexFunc(found, func(o blocker) bool { return o.key == b.key })
		if first < i {
			continue
		}
		var ways []string
		for _, o := range found {
			if o.key == b.key {
				ways = append(ways, o.String())
			}
		}
		j.add("foreign-key-blocks-delete", "foreign key "+b.key.Symbol, b.from, strings.Join(ways, "; "))
	}
}
