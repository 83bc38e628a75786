package schema

import (
	"testing"

	"ariga.io/atlas/sql/mysql"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
)

// TestBounded: one step of a backfill, as the rule asks for it, is no finding; what may change any number of rows is one.
func TestBounded(t *testing.T) {
	id := schema.NewIntColumn("id", "bigint")
	whole := schema.NewTable("orders").AddColumns(id).SetPrimaryKey(schema.NewPrimaryKey(id))
	name := schema.NewStringColumn("id", "text")
	text := schema.NewTable("orders").AddColumns(name).SetPrimaryKey(schema.NewPrimaryKey(name))
	const below = "UPDATE orders SET b=1 WHERE id < 1000"
	counted := map[string]*schema.Column{
		"unsigned":       schema.NewIntColumn("id", "bigint").SetType(&schema.IntegerType{T: "bigint", Unsigned: true}),
		"auto increment": schema.NewIntColumn("id", "bigint").AddAttrs(&mysql.AutoIncrement{}),
		"identity":       schema.NewIntColumn("id", "bigint").AddAttrs(&postgres.Identity{Generation: "ALWAYS", Sequence: &postgres.Sequence{Start: 1, Increment: 1}}),
		"serial":         schema.NewColumn("id").SetType(&postgres.SerialType{T: "bigserial"}),
	}
	for sql, want := range map[string]bool{
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000":                true,
		"UPDATE orders SET b=1 WHERE id >= 1 AND id < 10001 AND b IS NULL": true,
		"update orders set b=1 where `id` > 20000 and `id` <= 30000":       true,
		"UPDATE orders SET b=1 WHERE b IS NULL ORDER BY id LIMIT 5000":     true,
		"UPDATE orders SET b=1 WHERE b IS NULL LIMIT 5000000":              false,
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000 OR b IS NULL":   false,
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000000":             false,
		below: false, // keys may be negative
		"UPDATE orders SET b=1 WHERE id < 1000000":                          false,
		"UPDATE orders SET b=1 WHERE id > 1000":                             false,
		"UPDATE orders SET b=1 WHERE id <= 1000 OR b IS NULL":               false,
		"UPDATE orders SET b=1 WHERE b BETWEEN 1 AND 10":                    false,
		"UPDATE orders SET b=1 WHERE id > 1 AND b < 10":                     false,
		"UPDATE orders SET b=1":                                             false,
		"INSERT INTO orders SELECT * FROM other WHERE id BETWEEN 1 AND 100": false,
	} {
		if got := bounded(sql, whole); got != want {
			t.Errorf("%s: %v", sql, got)
		}
		// The server counts these, or they have no sign: there is nothing below.
		for kind, c := range counted {
			t2 := schema.NewTable("orders").AddColumns(c).SetPrimaryKey(schema.NewPrimaryKey(c))
			if got := bounded(sql, t2); got != (want || sql == below) {
				t.Errorf("%s, a key that is %s: %v", sql, kind, got)
			}
		}
		if bounded(sql, text) && !limitedTo.MatchString(sql) {
			t.Errorf("%s: bounded by a key of text", sql)
		}
	}
}
