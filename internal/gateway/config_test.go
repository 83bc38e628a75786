package gateway

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
)

// Bad input: every key wrong once, and misspelt once.
func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata/config", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) {
	configtest.EveryKeyMisspelt(t, "testdata/config/every-key.yaml", Kind())
}

// The example is a valid file, and what a program writes is read as it was.
func TestConfigComesBackAsItWasWritten(t *testing.T) {
	text, err := os.ReadFile("../../examples/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	read := func(text []byte) Config {
		c, _, err := config.One[Config](config.Source{Name: "gateway.yaml", Text: text}, Kind())
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return c
	}
	want := read(text)
	if text, err = yaml.Marshal(want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read(text), cmpopts.IgnoreUnexported(Config{})); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
}

// A password that somebody wrote into the file is not told to whoever reads the error.
func TestProblemsShowNoSecret(t *testing.T) {
	_, err := LoadConfig(writeFile(t, "gateway.yaml", "kind: Gateway\nversion: 1\nname: a\nmonitor:\n  user: m\n  password: hunter2\nadmin: {listen: 'a:1', token: hunter2}\nAdminToken: hunter2\n"))
	if err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "password: *") {
		t.Error(err)
	}
}

// docs/gateway.md has every key; with -update it is written anew.
func TestEveryKeyIsDocumented(t *testing.T) {
	const page, begin, end = "../../docs/gateway.md", "<!-- keys -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	table := "| key | is | |\n|---|---|---|\n"
	for _, k := range Kind().Keys() {
		required := ""
		if k.Required {
			required = ", required"
		}
		example := ""
		if k.Example != "" {
			example = " Such as `" + k.Example + "`."
		}
		table += "| `" + k.Path + "` | " + k.Type + required + " | " + strings.ReplaceAll(k.Doc, "|", "\\|") + "." + example + " |\n"
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the keys", page)
	}
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(page, []byte(before+begin+table+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != table {
		t.Errorf("the keys of %s are not those of the code; write them anew with: go test ./internal/gateway -run Documented -update", page)
	}
}
