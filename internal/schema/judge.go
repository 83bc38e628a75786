package schema

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
)

// judge holds the rules against what one statement changed. base is the state that old nodes know; before and after are those
// around the statement.
type judge struct {
	dialect             Dialect
	base, before, after *state
	stmt                Statement
	harmless            func(check *schema.Check, t *schema.Table) bool // an old node's rows pass the check: it is about new columns alone
	out                 []Finding
}

func (j *judge) add(rule, object, table, detail string) {
	j.out = append(j.out, j.stmt.finding(rule, object, table, detail))
}

// judgeDiff runs all rules.
func (j *judge) judgeDiff(d diff) {
	if !d.empty() {
		j.blocks()
	}
	var dropped, added []*schema.Table
	for _, c := range d.changes {
		switch c := c.(type) {
		case *schema.DropTable:
			dropped = append(dropped, c.T)
		case *schema.AddTable:
			added = append(added, c.T)
		case *schema.ModifyTable:
			j.table(c)
		case *schema.DropSchema:
			if _, ok := j.base.realm.Schema(c.S.Name); ok {
				j.add("drop-schema", "schema "+c.S.Name, "", "")
			}
		case *schema.DropObject:
			if e, ok := c.O.(*schema.EnumType); ok && j.oldEnum(e) {
				j.add("drop-type", "type "+e.T, "", "")
			}
		case *schema.ModifyObject:
			from, ok := c.From.(*schema.EnumType)
			to, ok2 := c.To.(*schema.EnumType)
			if ok && ok2 && j.oldEnum(from) {
				if rule := compareEnums(j.dialect, from.Values, to.Values); rule != "" {
					j.add(rule, "type "+from.T, "", fmt.Sprintf("%s became %s", strings.Join(from.Values, ", "), strings.Join(to.Values, ", ")))
				}
			}
		}
	}
	for _, t := range dropped {
		if j.base.table(tableName(t)) == nil {
			continue // made on the way, and no old node knows it
		}
		rule, detail := "drop-table", ""
		if i := slices.IndexFunc(added, func(n *schema.Table) bool { return sameColumns(t, n) }); i >= 0 && renames.MatchString(masked(j.stmt.SQL)) {
			rule, detail = "rename-table", "it is now "+tableName(added[i])
			added = slices.Delete(slices.Clone(added), i, i+1)
		}
		j.add(rule, "table "+tableName(t), tableName(t), detail)
	}
	for _, t := range added {
		for _, fk := range t.ForeignKeys {
			j.referred(fk)
		}
	}
	j.extras(d)
	if j.stmt.SQL == "" {
		return // what no statement does, from one server's database to another's
	}
	for _, old := range j.base.tables() { // a new order is no change by Atlas
		if name := tableName(old); !slices.ContainsFunc(d.changes, func(c schema.Change) bool { m, ok := c.(*schema.ModifyTable); return ok && tableName(m.T) == name }) {
			j.order(name, old)
		}
	}
	j.sames()
}

var renames = regexp.MustCompile(`(?i)\b(RENAME|CHANGE)\b`)

func sameColumns(a, b *schema.Table) bool {
	return slices.EqualFunc(a.Columns, b.Columns, func(x, y *schema.Column) bool { return x.Name == y.Name && x.Type.Raw == y.Type.Raw })
}

func (j *judge) oldEnum(e *schema.EnumType) bool {
	for _, s := range j.base.realm.Schemas {
		for _, o := range s.Objects {
			if old, ok := o.(*schema.EnumType); ok && old.T == e.T && (e.Schema == nil || s.Name == e.Schema.Name) {
				return true
			}
		}
	}
	return false
}

// table judges a table's changes; nothing is wrong with one that no old node knows, but for its new foreign keys to those that are.
func (j *judge) table(c *schema.ModifyTable) {
	name := tableName(c.T)
	old := j.base.table(name)
	first := len(j.out)
	var gone, came []*schema.Column
	for _, ch := range c.Changes {
		switch ch := ch.(type) {
		case *schema.AddForeignKey:
			j.referred(ch.F)
			if old != nil && !newAndNull(old, ch.F.Columns) {
				j.add("add-foreign-key", "foreign key "+ch.F.Symbol, name, fkText(ch.F))
			}
		case *schema.DropColumn:
			gone = append(gone, ch.C)
		case *schema.AddColumn:
			came = append(came, ch.C)
		default:
			if old != nil {
				j.change(old, name, ch)
			} else if m, ok := ch.(*schema.ModifyForeignKey); ok && (m.From.OnDelete != m.To.OnDelete || m.From.RefTable != m.To.RefTable) {
				j.referred(m.To)
			}
		}
	}
	if old == nil {
		return
	}
	for _, col := range gone {
		if _, ok := old.Column(col.Name); !ok {
			continue
		}
		rule, detail := "drop-column", ""
		if i := slices.IndexFunc(came, func(n *schema.Column) bool { return n.Type.Raw == col.Type.Raw }); i >= 0 && renames.MatchString(masked(j.stmt.SQL)) {
			rule, detail = "rename-column", "it is now "+came[i].Name
			j.out = slices.DeleteFunc(j.out, func(f Finding) bool { // its indexes only name it anew
				return slices.Contains([]string{"add-unique", "drop-unique", "drop-index"}, f.Rule) && slices.ContainsFunc(j.out[first:], func(o Finding) bool { return o.Object == f.Object })
			})
			came = slices.Delete(slices.Clone(came), i, i+1)
		}
		j.add(rule, "column "+name+"."+col.Name, name, detail)
	}
	for _, col := range came {
		j.column(name, col)
	}
	j.order(name, old)
}

func (j *judge) column(table string, c *schema.Column) {
	object := "column " + table + "." + c.Name
	switch {
	case !optional(c):
		j.add("add-required-column", object, table, c.Type.Raw+" NOT NULL")
	case generated(c) != "":
		j.add("add-generated-column", object, table, "it is computed: "+generated(c))
	default:
		j.add("select-star", object, table, "")
	}
}

// order looks at the columns that old nodes know: they must be the first, in their order.
func (j *judge) order(name string, old *schema.Table) {
	after, before := j.after.table(name), j.before.table(name)
	if after == nil || before == nil {
		return
	}
	places := func(t *schema.Table) (at []int, names []string) {
		for i, c := range t.Columns {
			if _, ok := old.Column(c.Name); ok {
				at, names = append(at, i), append(names, c.Name)
			}
		}
		return
	}
	atBefore, was := places(before)
	atAfter, is := places(after)
	switch {
	case len(was) == len(is) && !slices.Equal(was, is):
		j.add("reorder-columns", "table "+name, name, fmt.Sprintf("%s became %s", strings.Join(was, ", "), strings.Join(is, ", ")))
	case len(was) == len(is) && !slices.Equal(atBefore, atAfter) && len(after.Columns) > len(before.Columns):
		j.add("column-in-the-middle", "table "+name, name, "its columns are now "+strings.Join(columnNames(after.Columns), ", "))
	}
}

func columnNames(cs []*schema.Column) []string {
	var out []string
	for _, c := range cs {
		out = append(out, c.Name)
	}
	return out
}

// newAndNull tells whether one of the columns is new and left NULL by an old node, so that a key over them does not hold for its rows.
func newAndNull(old *schema.Table, cs []*schema.Column) bool {
	for _, c := range cs {
		if _, ok := old.Column(c.Name); !ok && leftNull(c) {
			return true
		}
	}
	return false
}

func fkText(f *schema.ForeignKey) string {
	text := fmt.Sprintf("%s (%s) refers to %s (%s)", tableName(f.Table), strings.Join(columnNames(f.Columns), ", "), tableName(f.RefTable), strings.Join(columnNames(f.RefColumns), ", "))
	if f.OnDelete != "" {
		text += " ON DELETE " + string(f.OnDelete)
	}
	return text
}

// referred notes what a foreign key does on a DELETE from the table that it refers to. Whether it refuses one is for blocks.
func (j *judge) referred(f *schema.ForeignKey) {
	if f.RefTable == nil || j.base.table(tableName(f.RefTable)) == nil {
		return
	}
	switch f.OnDelete {
	case schema.Cascade, schema.SetNull, schema.SetDefault:
		j.add("foreign-key-acts-on-delete", "foreign key "+f.Symbol, tableName(f.RefTable), fkText(f))
	}
}

// change judges a change of a table that old nodes know.
func (j *judge) change(old *schema.Table, name string, ch schema.Change) {
	switch ch := ch.(type) {
	case *schema.ModifyColumn:
		if _, ok := old.Column(ch.From.Name); ok {
			j.columnChange(name, ch)
		} else if ch.Change.Is(schema.ChangeNull|schema.ChangeDefault) && !optional(ch.To) {
			j.add("add-required-column", "column "+name+"."+ch.To.Name, name, "it is now NOT NULL without a default")
		}
	case *schema.AddIndex:
		if ch.I.Unique {
			j.unique(old, name, ch.I)
		}
	case *schema.DropIndex:
		j.indexGone(old, name, ch.I)
	case *schema.ModifyIndex:
		if ch.Change.Is(schema.ChangeUnique|schema.ChangeParts) || ch.Change.Is(schema.ChangeAttr) && ch.To.Unique {
			j.indexGone(old, name, ch.From)
			if ch.To.Unique {
				j.unique(old, name, ch.To)
			}
		}
	case *schema.AddPrimaryKey, *schema.DropPrimaryKey, *schema.ModifyPrimaryKey:
		j.add("change-primary-key", "table "+name, name, "")
	case *schema.DropForeignKey:
		if oldKey(old, ch.F.Symbol) {
			j.add("drop-foreign-key", "foreign key "+ch.F.Symbol, name, fkText(ch.F))
		}
	case *schema.ModifyForeignKey:
		j.add("change-foreign-key", "foreign key "+ch.To.Symbol, name, fkText(ch.From)+"; now "+fkText(ch.To))
	case *schema.AddCheck:
		if t := j.after.table(name); t == nil || !j.harmless(ch.C, t) {
			j.add("add-check", "check "+ch.C.Name, name, ch.C.Expr)
		}
	case *schema.ModifyCheck:
		if ch.Change != schema.ChangeAttr || ch.From.Expr != ch.To.Expr {
			j.add("add-check", "check "+ch.To.Name, name, ch.From.Expr+" became "+ch.To.Expr)
		}
	case *schema.DropCheck:
		if hasCheck(old, ch.C.Name) {
			j.add("drop-check", "check "+ch.C.Name, name, ch.C.Expr)
		}
	case *schema.AddAttr, *schema.ModifyAttr, *schema.DropAttr:
		j.attr(name, ch)
	}
}

func (j *judge) attr(name string, ch schema.Change) {
	var a schema.Attr
	switch ch := ch.(type) {
	case *schema.AddAttr:
		a = ch.A
	case *schema.ModifyAttr:
		a = ch.To
	case *schema.DropAttr:
		a = ch.A
	}
	switch a := a.(type) {
	case *schema.Comment:
	case *schema.Collation:
		j.add("change-collation", "table "+name, name, "its columns that are added later get "+a.V)
	case *schema.Charset:
		j.add("change-collation", "table "+name, name, "its columns that are added later get "+a.V)
	default:
		j.add("change-table-option", "table "+name, name, strings.TrimPrefix(fmt.Sprintf("%T", a), "*"))
	}
}

func oldKey(old *schema.Table, symbol string) bool {
	return slices.ContainsFunc(old.ForeignKeys, func(f *schema.ForeignKey) bool { return f.Symbol == symbol })
}

func hasCheck(t *schema.Table, name string) bool {
	return slices.ContainsFunc(t.Attrs, func(a schema.Attr) bool { c, ok := a.(*schema.Check); return ok && c.Name == name })
}

func indexColumns(i *schema.Index) []*schema.Column {
	var out []*schema.Column
	for _, p := range i.Parts {
		if p.C != nil {
			out = append(out, p.C)
		}
	}
	return out
}

func (j *judge) unique(old *schema.Table, name string, i *schema.Index) {
	nullsEqual := slices.ContainsFunc(i.Attrs, func(a schema.Attr) bool { n, ok := a.(*postgres.IndexNullsDistinct); return ok && !n.V })
	if !nullsEqual && newAndNull(old, indexColumns(i)) {
		return
	}
	j.add("add-unique", "index "+i.Name, name, "over "+strings.Join(columnNames(indexColumns(i)), ", "))
}

func (j *judge) indexGone(old *schema.Table, name string, i *schema.Index) {
	k := slices.IndexFunc(old.Indexes, func(o *schema.Index) bool { return o.Name == i.Name })
	if k < 0 {
		return
	}
	rule := "drop-index"
	if old.Indexes[k].Unique {
		rule = "drop-unique"
	} else if renamedIndex(j.after.table(name), i) {
		return // old nodes don't name indexes, but in hints
	}
	j.add(rule, "index "+i.Name, name, "over "+strings.Join(columnNames(indexColumns(i)), ", "))
}

// renamedIndex tells whether another index of the table is over the same columns.
func renamedIndex(t *schema.Table, i *schema.Index) bool {
	return t != nil && slices.ContainsFunc(t.Indexes, func(o *schema.Index) bool {
		a, b := columnNames(indexColumns(o)), columnNames(indexColumns(i))
		return len(b) == len(i.Parts) && len(a) >= len(b) && slices.Equal(a[:len(b)], b)
	})
}

func (j *judge) columnChange(table string, ch *schema.ModifyColumn) {
	object := "column " + table + "." + ch.From.Name
	if ch.Change.Is(schema.ChangeType) {
		was, is := enumValues(ch.From.Type.Type), enumValues(ch.To.Type.Type)
		rule := ""
		switch compareTypes(j.dialect, ch.From.Type.Type, ch.To.Type.Type) {
		case fitOther:
			rule = "change-type"
			if was != nil && is != nil {
				rule = compareEnums(j.dialect, was, is)
			}
		case fitWider:
			rule = "widen-type"
		case fitNarrower:
			rule = "narrow-type"
		case fitSame:
		}
		if rule != "" {
			j.add(rule, object, table, typeText(ch.From)+" became "+typeText(ch.To))
		}
	}
	if ch.Change.Is(schema.ChangeNull) {
		if ch.To.Type.Null {
			j.add("drop-not-null", object, table, "")
		} else {
			j.add("set-not-null", object, table, "")
		}
	}
	if ch.Change.Is(schema.ChangeDefault) {
		was, is := ch.From.Default, ch.To.Default
		switch {
		case is == nil || isNullExpr(is):
			if was != nil && !isNullExpr(was) {
				j.add("drop-default", object, table, "it was "+exprText(was))
			}
		case was == nil || isNullExpr(was):
			j.add("add-default", object, table, "it is "+exprText(is))
		default:
			j.add("change-default", object, table, exprText(was)+" became "+exprText(is))
		}
	}
	if ch.Change.Is(schema.ChangeGenerated) {
		j.add("change-generated", object, table, fmt.Sprintf("%q became %q", generated(ch.From), generated(ch.To)))
	}
	if ch.Change.Is(schema.ChangeCollate) || ch.Change.Is(schema.ChangeCharset) {
		j.add("change-collation", object, table, "")
	}
	if ch.Change.Is(schema.ChangeAttr) && counted(ch.From) != counted(ch.To) {
		j.add("change-identity", object, table, "")
	}
}

func typeText(c *schema.Column) string {
	if c.Type.Raw != "" {
		if s, ok := c.Type.Type.(*schema.StringType); ok && s.Size > 0 && !strings.Contains(c.Type.Raw, "(") {
			return fmt.Sprintf("%s(%d)", c.Type.Raw, s.Size)
		}
		if d, ok := c.Type.Type.(*schema.DecimalType); ok && d.Precision > 0 && !strings.Contains(c.Type.Raw, "(") {
			return fmt.Sprintf("%s(%d,%d)", c.Type.Raw, d.Precision, d.Scale)
		}
		return c.Type.Raw
	}
	return fmt.Sprintf("%v", c.Type.Type)
}

// extras judges what Atlas does not inspect.
func (j *judge) extras(d diff) {
	known := func(e extra) bool { _, ok := j.base.extras[e.key()]; return ok }
	oldTable := func(e extra) bool { return e.Table != "" && j.base.table(dotted(e.Schema, e.Table)) != nil }
	for _, e := range slices.Concat(d.gone, d.came, d.other) {
		if old := j.base.table(dotted(e.Schema, e.Table)); e.Kind == "collation" && old != nil {
			_, was := old.Column(e.Name)
			after := j.after.table(dotted(e.Schema, e.Table))
			if !was || after == nil {
				continue
			}
			if _, still := after.Column(e.Name); still {
				j.add("change-collation", "column "+dottedTable(e)+"."+e.Name, dottedTable(e), e.Def)
			}
		}
	}
	for _, e := range d.gone {
		if !known(e) {
			continue
		}
		rule := map[string]string{"view": "drop-view", "materialized view": "drop-view", "sequence": "drop-sequence", "function": "drop-routine", "procedure": "drop-routine", "trigger": "drop-trigger", "rule": "drop-trigger",
			"policy": "row-security", "row security": "", "exclusion constraint": "", "domain": "drop-type", "composite type": "drop-type", "extension": "drop-extension", "grant": "revoke", "event": "drop-event", "inheritance": "change-inheritance"}[e.Kind]
		if e.Table != "" && j.after.table(dotted(e.Schema, e.Table)) == nil && j.before.table(dotted(e.Schema, e.Table)) != nil {
			continue // it went with its table, which is a finding
		}
		if rule == "" {
			rule = j.relationGone(e)
		}
		if rule != "" {
			j.add(rule, e.object(), dottedTable(e), "")
		}
	}
	for _, e := range d.other {
		if !known(e) {
			continue
		}
		rule := map[string]string{"view": "change-view", "materialized view": "change-view", "sequence": "change-sequence", "function": "change-routine", "procedure": "change-routine", "trigger": "change-trigger", "rule": "change-trigger",
			"policy": "row-security", "row security": "row-security", "exclusion constraint": "add-unique", "domain": "change-domain", "composite type": "change-domain", "event": "change-event", "owner": "change-owner",
			"partition": "change-table-option", "partitioning": "change-table-option", "foreign column": "change-type"}[e.Kind]
		if rule == "change-owner" {
			j.add(rule, e.object(), dottedTable(e), j.base.extras[e.key()].Def+" became "+e.Def)
		} else if rule != "" {
			j.add(rule, e.object(), dottedTable(e), "")
		}
	}
	for _, e := range d.came {
		if e.Kind == "event" {
			j.add("change-event", e.object(), "", "it is new")
			continue
		}
		rule := map[string]string{"trigger": "add-trigger", "rule": "add-trigger", "policy": "", "row security": "row-security", "exclusion constraint": "add-unique", "inheritance": "change-inheritance"}[e.Kind]
		if rule == "" {
			rule = j.turned(e)
		}
		if rule != "" && oldTable(e) {
			j.add(rule, e.object(), dottedTable(e), "")
		}
	}
}

func dottedTable(e extra) string {
	if e.Table == "" {
		return ""
	}
	return dotted(e.Schema, e.Table)
}
