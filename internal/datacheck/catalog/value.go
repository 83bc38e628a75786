package catalog

import (
	"fmt"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// endOfTime is where the period of a current row of a versioned table ends, or later: 10.11 ends in 2038, 11.8 in 2106.
const endOfTime = "2038-01-19 03:14:07"

// Value is a column as bytes that both versions print alike; never NULL, and unlike for every two values. What may be
// long is hashed by itself, so that no result outgrows max_allowed_packet and silently becomes NULL.
//
// Products differ in the hash, and in JSON: MySQL keeps a document of its own kind, MariaDB text.
func (t Table) Value(c Column, mariaDB bool) string {
	hash := func(expr string) string { return Hash(expr, mariaDB) }
	name := node.Ident(c.Name)
	text := ""
	switch c.Type {
	case "float", "double": // a float prints six digits; as a double it prints all of them
		text = "CAST(" + name + "*1e0 AS CHAR)"
	case "bit", "enum", "set":
		text = "CAST(" + name + " AS UNSIGNED)"
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year", "date", "datetime", "time", "timestamp", "uuid", "inet4", "inet6":
		text = "CAST(" + name + " AS CHAR)"
		if c.Name == t.RowEnd && t.Versioned {
			text = fmt.Sprintf("IF(%[1]s >= '%[2]s', 'now', CAST(%[1]s AS CHAR))", name, endOfTime)
		}
	case "json":
		if !mariaDB {
			text = hash("CAST(" + name + " AS CHAR)")
			break
		}
		text = hash(name)
	case "char", "varchar", "binary", "varbinary":
		if c.Length <= 255 {
			text = "CONCAT(LENGTH(" + name + "), ':', CAST(" + name + " AS BINARY))"
			break
		}
		text = hash(name)
	default:
		text = hash(name)
	}
	return "IFNULL(" + text + ", 'N')"
}

// Hash makes of an expression over bytes one of its hash, in hexadecimal digits.
func Hash(expr string, mariaDB bool) string {
	if mariaDB {
		return "MD5(" + expr + ")"
	}
	return "SHA2(" + expr + ", 256)" // its MD5 is in a component that may not be there
}
