package schema

import (
	"testing"

	"ariga.io/atlas/sql/schema"
)

// TestBounded: one step of a backfill, as the rule asks for it, is no finding; what may change any number of rows is one.
func TestBounded(t *testing.T) {
	id := schema.NewIntColumn("id", "bigint")
	whole := schema.NewTable("orders").AddColumns(id).SetPrimaryKey(schema.NewPrimaryKey(id))
	name := schema.NewStringColumn("id", "text")
	text := schema.NewTable("orders").AddColumns(name).SetPrimaryKey(schema.NewPrimaryKey(name))
	for sql, want := range map[string]bool{
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000":                 true,
		"UPDATE orders SET b=1 WHERE id >= 1 AND id < 10001 AND b IS NULL":  true,
		"update orders set b=1 where `id` > 20000 and `id` <= 30000":        true,
		"UPDATE orders SET b=1 WHERE b IS NULL ORDER BY id LIMIT 5000":      true,
		"UPDATE orders SET b=1 WHERE b IS NULL LIMIT 5000000":               false,
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000 OR b IS NULL":    false,
		"UPDATE orders SET b=1 WHERE id BETWEEN 1 AND 5000000":              false,
		"UPDATE orders SET b=1 WHERE id < 1000":                             false, // keys may be negative
		"UPDATE orders SET b=1 WHERE b BETWEEN 1 AND 10":                    false,
		"UPDATE orders SET b=1 WHERE id > 1 AND b < 10":                     false,
		"UPDATE orders SET b=1":                                             false,
		"INSERT INTO orders SELECT * FROM other WHERE id BETWEEN 1 AND 100": false,
	} {
		if got := bounded(sql, whole); got != want {
			t.Errorf("%s: %v", sql, got)
		}
		if bounded(sql, text) && !limitedTo.MatchString(sql) {
			t.Errorf("%s: bounded by a key of text", sql)
		}
	}
}
