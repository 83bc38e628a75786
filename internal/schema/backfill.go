package schema

import (
	"regexp"
	"strconv"
	"strings"

	"ariga.io/atlas/sql/mysql"
	"ariga.io/atlas/sql/postgres"
	"ariga.io/atlas/sql/schema"
)

// backfillRows is how many rows a statement of a backfill may change: what the rule asks for.
const backfillRows = 10000

var (
	updates     = regexp.MustCompile(`(?is)^\s*UPDATE\b[^;]*?\bWHERE\s+(.*)$`)
	eitherWord  = regexp.MustCompile(`(?i)\bOR\b`)
	limitedTo   = regexp.MustCompile(`(?i)\bLIMIT\s+(\d{1,9})\s*;?\s*$`)
	rangeOfKeys = regexp.MustCompile("(?i)^([`\"]?[\\w$]+[`\"]?)\\s*(?:BETWEEN\\s+(\\d{1,18})\\s+AND\\s+(\\d{1,18})|>=?\\s*(\\d{1,18})\\s+AND\\s+([`\"]?[\\w$]+[`\"]?)\\s*<=?\\s*(\\d{1,18})|<=?\\s*(\\d{1,18}))\\b")
)

// bounded tells whether an UPDATE, in its masked text, changes so few rows of the table as one step of a backfill should, whatever the table
// holds: it begins with a range of its key, which is one column of whole numbers, or ends with a LIMIT (MySQL). A range without a beginning is one if the
// key has none below 0, or is counted by the server.
func bounded(text string, t *schema.Table) bool {
	m := updates.FindStringSubmatch(text)
	if m == nil {
		return false
	}
	if l := limitedTo.FindStringSubmatch(m[1]); l != nil {
		n, err := strconv.ParseInt(l[1], 10, 64)
		return err == nil && n <= backfillRows
	}
	r := rangeOfKeys.FindStringSubmatch(strings.TrimSpace(m[1]))
	if r == nil || eitherWord.MatchString(m[1]) || t.PrimaryKey == nil || len(t.PrimaryKey.Parts) != 1 || t.PrimaryKey.Parts[0].C == nil {
		return false
	}
	key := t.PrimaryKey.Parts[0].C
	whole, counted := counts(key)
	if !whole {
		return false
	}
	named := func(s string) bool { return strings.EqualFold(strings.Trim(s, "`\""), key.Name) }
	low, high := r[2], r[3]
	switch {
	case r[7] != "":
		if low, high = "0", r[7]; !counted {
			return false
		}
	case low == "":
		if low, high = r[4], r[6]; !named(r[5]) {
			return false
		}
	}
	a, err := strconv.ParseInt(low, 10, 64)
	b, err2 := strconv.ParseInt(high, 10, 64)
	return named(r[1]) && err == nil && err2 == nil && b-a <= backfillRows
}

// counts tells whether a key is of whole numbers, and whether they begin at 0 or 1: what has no sign, or is counted by the server from there.
func counts(key *schema.Column) (whole, counted bool) {
	switch t := key.Type.Type.(type) {
	case *postgres.SerialType:
		return true, true
	case *schema.IntegerType:
		counted = t.Unsigned
	default:
		return false, false
	}
	for _, a := range key.Attrs {
		switch a := a.(type) {
		case *mysql.AutoIncrement:
			counted = true
		case *postgres.Identity:
			counted = a.Sequence == nil || a.Sequence.Start >= 0 && a.Sequence.Increment >= 0
		}
	}
	return true, counted
}
