package catalog

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Difference is one thing in which two servers differ.
type Difference struct {
	ID        ID
	Attribute string // "" if the whole object is missing or was added
	Old, New  string // the values; empty for a whole object
	Missing   bool   // it is on the old server only
	Added     bool   // it is on the new server only
	Harmless  bool   // shown, but two versions differ in it by themselves
}

// String says what differs, without values that are long.
func (d Difference) String() string {
	switch {
	case d.Missing:
		return d.ID.String() + " is missing"
	case d.Added:
		return d.ID.String() + " is there in addition"
	}
	if len(d.Old)+len(d.New) > 160 || d.Attribute == "authentication and options" || d.Attribute == "definition" {
		return fmt.Sprintf("%s differs in its %s", d.ID, d.Attribute)
	}
	return fmt.Sprintf("%s: %s is %q, was %q", d.ID, d.Attribute, d.New, d.Old)
}

// Diff compares what an old server has with what a new one has, in the order of the kinds and names. Accounts for
// which reserved is true may differ between servers by design; nil reserves none.
func Diff(old, new *Catalog, reserved func(Account) bool) []Difference {
	keep := func(c *Catalog) map[string]bool {
		set := map[string]bool{}
		for _, a := range c.Accounts {
			if reserved != nil && reserved(a) {
				set[a.String()] = true
				set[a.Quoted()] = true
			}
		}
		return set
	}
	oldReserved, newReserved := keep(old), keep(new)
	harmless := func(id ID) bool {
		switch id.Kind {
		case KindAccount:
			return oldReserved[id.Name] || newReserved[id.Name]
		case KindGrant:
			for _, set := range []map[string]bool{oldReserved, newReserved} {
				for account := range set {
					if grantee(id.Name) == account {
						return true
					}
				}
			}
		}
		return false
	}
	var out []Difference
	for id, at := range old.Facts {
		bt, ok := new.Facts[id]
		if !ok {
			out = append(out, Difference{ID: id, Missing: true, Harmless: harmless(id) || old.dangling(id)})
			continue
		}
		for name, a := range at {
			b, ok := bt[name]
			if !ok {
				b = "NULL"
			}
			if a != b {
				out = append(out, Difference{ID: id, Attribute: name, Old: a, New: b, Harmless: harmless(id) || rephrased(id.Kind, name)})
			}
		}
		for name, b := range bt {
			if _, ok := at[name]; !ok && b != "" {
				out = append(out, Difference{ID: id, Attribute: name, New: b, Harmless: harmless(id) || rephrased(id.Kind, name)})
			}
		}
	}
	for id := range new.Facts {
		if _, ok := old.Facts[id]; !ok {
			out = append(out, Difference{ID: id, Added: true, Harmless: harmless(id)})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int {
		if c := slices.Index(kinds, a.ID.Kind) - slices.Index(kinds, b.ID.Kind); c != 0 {
			return c
		}
		if c := strings.Compare(a.ID.Name, b.ID.Name); c != 0 {
			return c
		}
		return strings.Compare(a.Attribute, b.Attribute)
	})
	return out
}

var granted = regexp.MustCompile(" ON (FUNCTION |PROCEDURE |PACKAGE |PACKAGE BODY )?(`(?:[^`]|``)*`)\\.(`(?:[^`]|``)*`) TO ")

// dangling tells whether a grant is on an object that is not there: it grants nothing, and a new server may refuse it.
func (c *Catalog) dangling(id ID) bool {
	m := granted.FindStringSubmatch(id.Name)
	if id.Kind != KindGrant || m == nil {
		return false
	}
	bare := func(s string) string { return strings.ReplaceAll(s[1:len(s)-1], "``", "`") }
	schema, name := bare(m[2]), bare(m[3])
	if slices.Contains(System(), strings.ToLower(schema)) {
		return false
	}
	for _, kind := range []Kind{KindTable, KindView, KindSequence} {
		if _, ok := c.Facts[ID{kind, schema + "." + name}]; ok && m[1] == "" {
			return false
		}
	}
	_, ok := c.Facts[ID{KindRoutine, strings.ToLower(m[1]) + schema + "." + name}]
	return !ok
}

// rephrased tells whether versions print the same definition in different words: a view is stored as an expression tree and
// printed anew by each.
func rephrased(k Kind, attribute string) bool { return k == KindView && attribute == "view definition" }

// grantee is whom a grant is for, as SHOW GRANTS quotes it.
func grantee(grant string) string {
	for _, word := range []string{" TO ", " FOR "} {
		if i := strings.LastIndex(grant, word); i >= 0 {
			rest := grant[i+len(word):]
			end := 0
			for quoted := false; end < len(rest); end++ {
				if rest[end] == '`' {
					quoted = !quoted
				}
				if rest[end] == ' ' && !quoted {
					break
				}
			}
			return rest[:end]
		}
	}
	return ""
}
