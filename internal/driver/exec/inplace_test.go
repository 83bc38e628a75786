package exec_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/engine"
)

const kept = `{"protocol":1,"term":7,"state":{"exists":true,"running":true,"mark":"raise:qa/orders","version":"11.8.6","kept":"10.11","node":{"name":"n","address":"10.0.0.1:3306"}}}`

// The verbs of raising in place ask what docs/exec-driver.md shows, and an answer that does not agree with itself is none.
func TestVerbsOfRaisingInPlace(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/exec-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "request")
	p, _ := script(t, "cat >"+file+"; echo '"+kept+"'", nil)
	st, err := p.Upgrade(within(t), res)
	if err != nil || st.Kept != "10.11" || st.Version != "11.8.6" || st.Node.Address != "10.0.0.1:3306" {
		t.Fatalf("%+v, %v", st, err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"upgrade", "restore", "discard"} {
		if !strings.Contains(string(doc), "**"+verb+"**") {
			t.Errorf("the document does not tell of %s", verb)
		}
	}
	if !strings.Contains(string(got), `"verb":"upgrade"`) {
		t.Errorf("the request is %s", got)
	}
	old := strings.Replace(strings.Replace(kept, `"kept":"10.11",`, "", 1), "11.8.6", "10.11.18", 1)
	down := res
	down.Version = "10.11"
	for name, c := range map[string]struct{ verb, answer, want string }{
		"raised":                    {"upgrade", kept, ""},
		"raised, and not":           {"upgrade", strings.Replace(kept, "11.8.6", "10.11.18", 1), `the version is "10.11.18", not one of 11.8`},
		"raised without a copy":     {"upgrade", strings.Replace(kept, `"kept":"10.11",`, "", 1), "there is no way back"},
		"raised, and does not run":  {"upgrade", strings.Replace(kept, `"running":true`, `"running":false`, 1), "running false"},
		"raised by an old term":     {"upgrade", strings.Replace(kept, `"term":7`, `"term":6`, 1), "term 6"},
		"put back":                  {"restore", old, ""},
		"put back, and not":         {"restore", strings.Replace(old, "10.11.18", "11.8.6", 1), "not one of 10.11"},
		"put back beside the copy":  {"restore", strings.Replace(kept, "11.8.6", "10.11.18", 1), "is still there"},
		"discarded":                 {"discard", old, ""},
		"discarded, and still kept": {"discard", kept, "is still there"},
	} {
		p, _ := script(t, say(c.answer), nil)
		var err error
		switch c.verb {
		case "upgrade":
			_, err = p.Upgrade(within(t), res)
		case "restore":
			_, err = p.Restore(within(t), down)
		default:
			err = p.Discard(within(t), down)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A program that does not know the verb turns the action round.
	p, _ = script(t, "exit 12", nil)
	_, err = p.Upgrade(within(t), res)
	var refusal *engine.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("exit %d: %v", exec.ExitNever, err)
	}
}
