package mysql

import (
	"strings"
)

// quote makes a string literal. The sessions run without NO_BACKSLASH_ESCAPES, see prelude.
func quote(s string) string {
	r := strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\x00", `\0`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)
	return "'" + r.Replace(s) + "'"
}

func quoteAll(ss []string) string {
	out := make([]string, len(ss))
	for i, s := range ss {
		out[i] = quote(s)
	}
	return strings.Join(out, ", ")
}

// ident quotes a name.
func ident(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }
