package schema

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of rules anew")

// TestRulesAreListed holds the table of docs/schema.md against the rules.
func TestRulesAreListed(t *testing.T) {
	const page, begin, end = "../../docs/schema.md", "<!-- rules -->\n", "<!-- end -->"
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("| rule | | why | instead |\n|---|---|---|---|\n")
	seen := map[string]bool{}
	for _, r := range Rules() {
		if seen[r.ID] || r.Why == "" || r.Safe == "" {
			t.Errorf("%s is there twice, or lacks its reason or remedy", r.ID)
		}
		seen[r.ID] = true
		fmt.Fprintf(&want, "| `%s` | %s | %s | %s |\n", r.ID, r.Severity, r.Why, r.Safe)
	}
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("schema.md has no part for the rules")
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want.String() {
		t.Error("the table of docs/schema.md is not what the code says; write it anew with: go test ./internal/schema -run TestRulesAreListed -update")
	}
}

// TestMajor: a minor release does not change what a statement locks; a major one may.
func TestMajor(t *testing.T) {
	for _, c := range []struct {
		d          Dialect
		said, want string
	}{
		{Postgres, "15.20 (Debian 15.20-0+deb12u1)", "15"}, {Postgres, "17.1", "17"}, {Postgres, "18beta1", "18beta1"},
		{MySQL, "11.8.6-MariaDB-0+deb13u1 from Debian", "11.8-MariaDB"}, {MySQL, "8.4.3", "8.4"}, {MySQL, "9.7.0-1", "9.7"},
	} {
		if got := major(c.d, c.said); got != c.want {
			t.Errorf("%s: got %q, want %q", c.said, got, c.want)
		}
	}
}
