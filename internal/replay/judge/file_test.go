package judge

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
	"github.com/windlass-db/windlass/internal/replay/compare"
)

func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) {
	configtest.EveryKeyMisspelt(t, "testdata/rules.yaml", Kind())
}

func TestRulesFile(t *testing.T) {
	text, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := config.One[Rules](config.Source{Name: "rules.yaml", Text: text}, Kind())
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Leeway, want.Retests = 0.001, false
	want.Latency.Least, want.Latency.Factor, want.Latency.Budget = 20, 1.5, 20*time.Second
	want.Levels[compare.Order], want.Levels[compare.Columns] = Fail, Warn
	march := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	want.Ignore = []Ignore{
		{Fingerprint: "9f86d081884c7d65", Kinds: []compare.Kind{compare.Content, compare.Syntax}, Who: "mira", Why: "the page shows no dates after 2038", Expires: march},
		{Like: "select version%", Who: "jon", Why: "the client only prints it", Expires: march},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	empty, _, err := config.One[Rules](config.Source{Name: "r.yaml", Text: []byte("kind: ReplayRules\nversion: 1\n")}, Kind())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Once(), empty); diff != "" {
		t.Errorf("a file that says nothing changes the rules of a single replay: %s", diff)
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"select version%", "select version ( )", true}, {"select version%", "SELECT VERSION()", true}, {"select%from t", "select a from t", true}, {"select%from t", "select a from tt", false},
		{"a_c", "abc", true}, {"a_c", "ac", false}, {"a_c", "aéc", true}, {"%%%", "", true}, {"", "", true}, {"", "x", false}, {"%b%d", "abcbd", true}, {"%b%d", "abcbde", false},
		{`a\_c`, "a_c", true}, {`a\_c`, "abc", false}, {`100\%`, "100%", true}, {"%aab", "aaaaab", true}, {"a%", "a", true}, {"É", "é", false},
	} {
		if got := like(c.pattern, c.text); got != c.want {
			t.Errorf("%q like %q: %v", c.text, c.pattern, got)
		}
	}
}
