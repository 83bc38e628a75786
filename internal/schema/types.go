package schema

import (
	"strings"

	"ariga.io/atlas/sql/mysql"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
)

// fit says how a column's new type holds the values of the old one.
type fit int

const (
	fitOther    fit = iota // another type: values are converted
	fitWider               // every old value fits, and more do
	fitNarrower            // some old values don't fit
	fitSame
)

// integers are the bytes of whole numbers.
var integers = map[string]int{"tinyint": 1, "smallint": 2, "int2": 2, "mediumint": 3, "int": 4, "integer": 4, "int4": 4, "bigint": 8, "int8": 8}

// lengths are the characters or bytes that a text's type holds; 0 where its size says it.
var lengths = map[string]int{"varchar": 0, "character varying": 0, "text": 1 << 30, "tinytext": 255, "mediumtext": 1 << 24, "longtext": 1 << 31}

func compareTypes(d Dialect, from, to schema.Type) fit {
	switch a := from.(type) {
	case *schema.IntegerType:
		b, ok := to.(*schema.IntegerType)
		x, y := 0, 0
		if ok {
			x, y = integers[strings.ToLower(a.T)], integers[strings.ToLower(b.T)]
		}
		if x == 0 || y == 0 || a.Unsigned != b.Unsigned {
			return fitOther
		}
		return compare(x, y)
	case *schema.StringType:
		b, ok := to.(*schema.StringType)
		if !ok {
			return fitOther
		}
		x, y := textLength(d, a), textLength(d, b)
		if x == 0 || y == 0 {
			if strings.EqualFold(a.T, b.T) {
				return compare(a.Size, b.Size) // char(n)
			}
			return fitOther
		}
		return compare(x, y)
	case *schema.DecimalType:
		b, ok := to.(*schema.DecimalType)
		if !ok || a.Unsigned != b.Unsigned {
			return fitOther
		}
		if b.Precision == 0 && d == Postgres && a.Precision != 0 {
			return fitWider // numeric without a limit
		}
		if a.Precision == 0 && d == Postgres && b.Precision != 0 {
			return fitNarrower
		}
		digits, scale := compare(a.Precision-a.Scale, b.Precision-b.Scale), compare(a.Scale, b.Scale)
		switch {
		case digits == fitNarrower || scale == fitNarrower:
			return fitNarrower
		case digits == fitSame && scale == fitSame:
			return fitSame
		}
		return fitWider
	case *schema.BinaryType:
		b, ok := to.(*schema.BinaryType)
		if !ok || !strings.EqualFold(a.T, b.T) || a.Size == nil || b.Size == nil {
			return fitOther
		}
		return compare(*a.Size, *b.Size)
	}
	return fitOther
}

func compare(x, y int) fit {
	switch {
	case y > x:
		return fitWider
	case y < x:
		return fitNarrower
	}
	return fitSame
}

func textLength(d Dialect, t *schema.StringType) int {
	n, ok := lengths[strings.ToLower(t.T)]
	switch {
	case !ok:
		return 0
	case n != 0:
		if d == MySQL && strings.EqualFold(t.T, "text") {
			return 65535
		}
		return n
	case t.Size == 0 && d == Postgres:
		return 1 << 30 // varchar without a limit
	}
	return t.Size
}

// enumValues are a type's values, or nil.
func enumValues(t schema.Type) []string {
	switch e := t.(type) {
	case *schema.EnumType:
		return e.Values
	case *mysql.SetType:
		return e.Values
	}
	return nil
}

// compareEnums says what happened to a list of values: "drop-enum-value", "reorder-enum", "add-enum-value" or "". On MySQL a value
// that is put between others renumbers those after it.
func compareEnums(d Dialect, from, to []string) string {
	at := map[string]int{}
	for i, v := range to {
		at[v] = i
	}
	last := -1
	for i, v := range from {
		j, ok := at[v]
		if !ok {
			return "drop-enum-value"
		}
		if j < last || d == MySQL && j != i {
			return "reorder-enum"
		}
		last = j
	}
	if len(to) > len(from) {
		return "add-enum-value"
	}
	return ""
}

// generated is the expression that a column is computed by, or empty.
func generated(c *schema.Column) string {
	for _, a := range c.Attrs {
		if g, ok := a.(*schema.GeneratedExpr); ok {
			return g.Expr
		}
	}
	return ""
}

// counted tells a column that the server gives numbers to.
func counted(c *schema.Column) bool {
	for _, a := range c.Attrs {
		switch a.(type) {
		case *postgres.Identity, *mysql.AutoIncrement:
			return true
		}
	}
	_, serial := c.Type.Type.(*postgres.SerialType)
	return serial
}

// optional tells whether an INSERT may leave the column out.
func optional(c *schema.Column) bool {
	return c.Type.Null || c.Default != nil || generated(c) != "" || counted(c)
}

// leftNull tells whether an INSERT that leaves the column out writes NULL.
func leftNull(c *schema.Column) bool {
	return c.Type.Null && (c.Default == nil || isNullExpr(c.Default)) && generated(c) == "" && !counted(c)
}

func isNullExpr(x schema.Expr) bool {
	return strings.EqualFold(strings.TrimSpace(exprText(x)), "null") || strings.HasPrefix(strings.ToUpper(exprText(x)), "NULL::")
}

func exprText(x schema.Expr) string {
	switch x := x.(type) {
	case *schema.Literal:
		return x.V
	case *schema.RawExpr:
		return x.X
	case *schema.NamedDefault:
		return exprText(x.Expr)
	}
	return ""
}
