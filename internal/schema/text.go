package schema

import (
	"regexp"
	"strings"
)

// masked is a statement in which comments and what stands between quotes of text are blanks of the same length: for looking for keywords.
// Quoted names stay.
func masked(sql string) string {
	b := []byte(sql)
	blank := func(i, j int) {
		for ; i < j && i < len(b); i++ {
			if b[i] != '\n' {
				b[i] = ' '
			}
		}
	}
	for i := 0; i < len(b); i++ {
		rest := sql[i:]
		switch {
		case strings.HasPrefix(rest, "--") || b[i] == '#' && (i == 0 || sql[i-1] == '\n'):
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			blank(i, i+end)
			i += end - 1
		case strings.HasPrefix(rest, "/*"):
			end := strings.Index(rest, "*/")
			if end < 0 {
				end = len(rest) - 2
			}
			blank(i, i+end+2)
			i += end + 1
		case b[i] == '\'':
			j := i + 1
			for ; j < len(b); j++ {
				if sql[j] == '\\' {
					j++
				} else if sql[j] == '\'' {
					break
				}
			}
			blank(i+1, j)
			i = j
		case b[i] == '$':
			tag := dollarTag.FindString(rest)
			if tag == "" {
				continue
			}
			end := strings.Index(rest[len(tag):], tag)
			if end < 0 {
				continue
			}
			blank(i, i+end+2*len(tag))
			i += end + 2*len(tag) - 1
		}
	}
	return string(b)
}

var dollarTag = regexp.MustCompile(`^\$([A-Za-z_]\w*)?\$`)

// verb is a statement's first words in capitals, without comments: "ALTER TABLE", "CREATE INDEX".
func verb(sql string, n int) string {
	f := strings.Fields(strings.ToUpper(masked(sql)))
	if len(f) > n {
		f = f[:n]
	}
	return strings.Join(f, " ")
}

var transactionWords = regexp.MustCompile(`(?i)^\s*(BEGIN|COMMIT|END|ROLLBACK|START\s+TRANSACTION)(\s+(WORK|TRANSACTION))?\s*$`)

// transactional tells BEGIN, COMMIT and their kind, which a check has no use for.
func transactional(sql string) bool { return transactionWords.MatchString(masked(sql)) }

// mentions tells whether a text names something as a whole word.
func mentions(text, name string) bool {
	return regexp.MustCompile(`(?i)(^|[^\w$])` + regexp.QuoteMeta(name) + `($|[^\w$])`).MatchString(text)
}
