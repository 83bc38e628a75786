package notify

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/config/configtest"
)

// Bad input: every key wrong once, and misspelt once.
func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata/config", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) {
	configtest.EveryKeyMisspelt(t, "testdata/config/every-key.yaml", Kind())
}

func TestConfigIsCompletedAndItsPathsAreResolved(t *testing.T) {
	path := write(t, "n.yaml", 0o644, "kind: Notifications\nversion: 1\nsinks:\n  - name: a\n    type: slack\n    url_file: slack.url\n  - name: b\n    type: webhook\n    url_env: HOOK\n    group: 0s\n")
	c, err := LoadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := c.Sinks[0], c.Sinks[1]
	if a.URLFile != filepath.Join(filepath.Dir(path), "slack.url") || a.Events != Steps || a.Group != 15*time.Second || a.Timeout != 10*time.Second {
		t.Errorf("%+v", a)
	}
	if b.Group != 0 || b.URLFile != "" {
		t.Errorf("%+v", b)
	}
}

var updateDocs = flag.Bool("update-docs", false, "write the table of keys anew")

// The page's table of keys is made from the kind.
func TestDocsHaveEveryKey(t *testing.T) {
	const page, begin, end = "../../docs/notifications.md", "<!-- keys -->\n", "<!-- end -->"
	b, err := os.ReadFile(page)
	must(t, err)
	before, rest, ok := strings.Cut(string(b), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("there is no place for the table")
	}
	want := "| key | is | |\n|---|---|---|\n"
	for _, k := range Kind().Keys() {
		is, doc := k.Type, k.Doc
		if k.Required {
			is += ", required"
		}
		if k.Example != "" {
			doc += ". Such as `" + k.Example + "`"
		}
		want += "| `" + k.Path + "` | " + is + " | " + doc + ". |\n"
	}
	if *updateDocs {
		must(t, os.WriteFile(page, []byte(before+begin+want+end+after), 0o644))
	} else if got != want {
		t.Error("the table is not what the kind says; write it anew with: go test ./internal/notify -run Docs -update-docs")
	}
}

// The example is a valid file.
func TestExample(t *testing.T) {
	if _, err := LoadConfig("../../examples/notifications.yaml"); err != nil {
		t.Fatal(err)
	}
}

// A secret that somebody wrote into the file is not told to whoever reads the error.
func TestProblemsShowNoSecret(t *testing.T) {
	for _, text := range []string{
		"sinks:\n  - name: a\n    type: slack\n    url: https://hooks.slack.com/services/hunter2\n",
		"sinks:\n  - name: a\n    type: slack\n    url_file: https://hooks.slack.com/services/hunter2\n    url_env: X\n",
		"sinks:\n  - https://hooks.slack.com/services/hunter2\n",
		"https://hooks.slack.com/services/hunter2: 1\n",
		"sinks:\n  - name: https://hooks.slack.com/services/hunter2\n    type: webhook\n    signing_key: hunter2\n    token: hunter2\n",
		"dashboard: https://mira:hunter2@windlass.example\nsinks: []\n",
	} {
		_, err := LoadConfig(write(t, "n.yaml", 0o644, "kind: Notifications\nversion: 1\n"+text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s\n%v", text, err)
		}
	}
}

func TestSecrets(t *testing.T) {
	t.Setenv("HOOK", "https://hooks.example/hunter2\n")
	t.Setenv("NOTHING", "")
	hook := write(t, "hook", 0o600, "https://hooks.example/hunter2\n")
	for _, c := range []struct {
		name string
		cfg  SinkConfig
		want string // in the error; "": none
	}{
		{"a file", SinkConfig{URLFile: hook}, ""},
		{"the environment", SinkConfig{URLEnv: "HOOK"}, ""},
		{"a file that others may read", SinkConfig{URLFile: write(t, "hook", 0o640, "https://hooks.example/hunter2")}, "chmod 0600"},
		{"no file", SinkConfig{URLFile: "/nowhere/hook"}, "no such file"},
		{"an empty file", SinkConfig{URLFile: write(t, "hook", 0o600, "\n")}, "is empty"},
		{"a folder", SinkConfig{URLFile: private(t)}, "no file"},
		{"an empty variable", SinkConfig{URLEnv: "NOTHING"}, "is empty"},
		{"no URL", SinkConfig{URLFile: write(t, "hook", 0o600, "hunter2")}, "holds no http"},
		{"another scheme", SinkConfig{URLFile: write(t, "hook", 0o600, "ftp://hunter2/")}, "holds no http"},
		{"what can't be parsed", SinkConfig{URLFile: write(t, "hook", 0o600, "https://hunter2\x7f/")}, "holds no http"},
		{"Slack in clear text", SinkConfig{Type: TypeSlack, URLFile: write(t, "hook", 0o600, "http://hooks.example/hunter2")}, "clear text"},
		{"Slack in clear text, here", SinkConfig{Type: TypeSlack, URLFile: write(t, "hook", 0o600, "http://127.0.0.1:1/hunter2")}, ""},
		{"a short key", SinkConfig{URLFile: hook, SigningKeyFile: write(t, "key", 0o600, "hunter2")}, "less than 16"},
		{"a bad key", SinkConfig{URLFile: hook, SigningKeyFile: write(t, "key", 0o600, "whsec_hunter2!")}, "base64"},
		{"a key", SinkConfig{URLFile: hook, SigningKeyFile: write(t, "key", 0o600, "0123456789abcdef")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, err := c.cfg.endpoint()
			switch {
			case c.want == "" && (err != nil || e.url.Hostname() == ""):
				t.Error(e, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2")):
				t.Error(err)
			}
		})
	}
}

func private(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, name string, mode os.FileMode, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}
