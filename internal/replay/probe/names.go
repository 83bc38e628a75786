package probe

import (
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/query"
)

// LooseSQL lists the tables of a server that no transaction or snapshot holds, in lower case and without their schema, as name.
const LooseSQL = "SELECT DISTINCT LOWER(TABLE_NAME) AS name FROM information_schema.TABLES WHERE TABLE_TYPE <> 'VIEW' AND (ENGINE <> 'InnoDB' OR TABLE_TYPE = 'SEQUENCE') AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

// Mentions gives one of the names, which are in lower case, that the statement's text has as a word of its own; a column that is called so is enough. It is "" if there is none.
func Mentions(text []byte, names []string) string {
	if len(names) == 0 {
		return ""
	}
	_, normal := query.Fingerprint(nil, text, query.Mode{})
	words := strings.FieldsFunc(strings.ToLower(string(normal)), func(c rune) bool { return strings.ContainsRune(" .,()`=<>+-*/;", c) })
	for _, name := range names {
		if slices.Contains(words, name) {
			return name
		}
	}
	return ""
}
