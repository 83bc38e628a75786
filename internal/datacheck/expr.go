package datacheck

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// shape is how a table is read for comparing: the same on every server.
type shape struct {
	table   *catalog.Table
	columns []catalog.Column // compared, in the reference's order
	mariaDB bool
}

// shapeOf takes the columns that both sides have. Computed columns count if they are stored or indexed: others may
// depend on the moment of reading.
func shapeOf(t *catalog.Table, mariaDB bool, others []*catalog.Table) shape {
	s := shape{table: t, mariaDB: mariaDB}
next:
	for _, c := range t.Columns {
		if c.Virtual && !c.Indexed {
			continue
		}
		for _, o := range others {
			if !hasColumn(o, c.Name) {
				continue next
			}
		}
		s.columns = append(s.columns, c)
	}
	if t.Versioned && !hasColumn(t, t.RowStart) { // the period's columns are hidden
		s.columns = append(s.columns, catalog.Column{Name: t.RowStart, Type: "timestamp"}, catalog.Column{Name: t.RowEnd, Type: "timestamp"})
	}
	return s
}

func hasColumn(t *catalog.Table, name string) bool {
	for _, c := range t.Columns {
		if c.Name == name {
			return true
		}
	}
	return false
}

// digest changes when what the cursor is made of changes.
func (s shape) digest() string {
	h := sha256.New()
	for _, c := range append(append([]catalog.Column{}, s.columns...), s.table.Key...) {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00", c.Name, c.Full, c.Collation)
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// value is a column as bytes that both versions print alike.
func (s shape) value(c catalog.Column) string { return s.table.Value(c, s.mariaDB) }

// row is the hash of a whole row.
func (s shape) row() string {
	values := make([]string, len(s.columns))
	for i, c := range s.columns {
		values[i] = s.value(c)
	}
	return catalog.Hash("CONCAT_WS(',', "+strings.Join(values, ", ")+")", s.mariaDB)
}

// half takes 64 bits out of a hash; which is 0 or 1.
func half(hash string, which int) string {
	return fmt.Sprintf("CAST(CONV(SUBSTRING(%s, %d, 16), 16, 10) AS UNSIGNED)", hash, 1+16*which)
}

// from is the table, history included, walked by its key.
func (s shape) from() string {
	out := " FROM " + node.Table(s.table.Schema, s.table.Name)
	if s.table.Versioned {
		out += " FOR SYSTEM_TIME ALL"
	}
	if s.table.KeyName != "" {
		out += " FORCE INDEX (" + node.Ident(s.table.KeyName) + ")"
	}
	return out
}

// span is a range of keys: more than after, and not more than to. Both are literals; empty means no bound.
type span struct{ after, to []string }

// where is the condition of a span.
func (s shape) where(p span) string {
	var all []string
	if len(p.after) > 0 {
		all = append(all, s.beyond(p.after, ">", ">"))
	}
	if len(p.to) > 0 {
		all = append(all, s.beyond(p.to, "<", "<="))
	}
	if len(all) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(all, " AND ")
}

// beyond compares the key with a tuple, column by column, so that the key's index is used. The first comparison alone
// bounds the range for the optimizer.
func (s shape) beyond(tuple []string, strictly, last string) string {
	out := ""
	for i := len(tuple) - 1; i >= 0; i-- {
		name := s.key(i)
		if i == len(tuple)-1 {
			out = name + " " + last + " " + tuple[i]
			continue
		}
		out = fmt.Sprintf("(%[1]s %[2]s %[3]s OR (%[1]s = %[3]s AND %[4]s))", name, strictly, tuple[i], out)
	}
	if len(tuple) > 1 {
		out = "(" + s.key(0) + " " + strictly + "= " + tuple[0] + " AND " + out + ")"
	}
	return out
}

// key is the i-th column of the key in a comparison with a literal.
func (s shape) key(i int) string { return node.Ident(s.table.Key[i].Name) }

// keyColumns are the key's columns for ORDER BY and GROUP BY.
func (s shape) keyColumns() string {
	names := make([]string, len(s.table.Key))
	for i := range s.table.Key {
		names[i] = s.key(i)
	}
	return strings.Join(names, ", ")
}

// keyValues are expressions that read the key: for each column one that literal makes a literal of, and one to show.
func (s shape) keyValues() string {
	var out []string
	for _, c := range s.table.Key {
		name := node.Ident(c.Name)
		switch {
		case c.Charset != "" && c.Type != "enum" && c.Type != "set":
			out = append(out, "HEX("+name+")", "CONVERT("+name+" USING utf8mb4)")
		case c.Type == "binary" || c.Type == "varbinary":
			out = append(out, "HEX("+name+")", "HEX("+name+")")
		case c.Type == "bit" || c.Type == "enum" || c.Type == "set":
			out = append(out, "CAST("+name+" AS UNSIGNED)", name+"+0")
		default:
			out = append(out, "CAST("+name+" AS CHAR)", "CAST("+name+" AS CHAR)")
		}
	}
	return strings.Join(out, ", ")
}

// literal writes a value that keyValues read so that it compares like the stored one.
func literal(c catalog.Column, v string) string {
	switch c.Type {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "bit", "enum", "set":
		return v
	case "binary", "varbinary":
		return "x'" + v + "'"
	}
	if c.Charset != "" {
		return "_" + c.Charset + " x'" + v + "' COLLATE " + c.Collation
	}
	return node.Quote(v)
}

// tuple is one key: as literals, and as a person reads it.
type tuple struct {
	literals []string
	shown    string
}

// tupleOf reads the values that keyValues gave.
func (s shape) tupleOf(values []string) tuple {
	var t tuple
	var shown []string
	for i, c := range s.table.Key {
		t.literals = append(t.literals, literal(c, values[2*i]))
		show := values[2*i+1]
		if len(show) > 60 {
			show = show[:60] + "…"
		}
		switch {
		case c.Type == "binary" || c.Type == "varbinary":
			show = "0x" + show
		case c.Charset != "" && c.Type != "enum" && c.Type != "set":
			show = node.Quote(show)
		}
		shown = append(shown, c.Name+"="+show)
	}
	t.shown = strings.Join(shown, " ")
	if len(shown) > 1 {
		t.shown = "(" + t.shown + ")"
	}
	return t
}
