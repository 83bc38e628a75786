package gateway

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAccounts(t *testing.T) {
	const text = "accounts:\n  - {user: app, password: hunter2}\n  - {user: two, passwords: [hunter3, hunter2], plugin: caching_sha2_password}\n"
	want := Accounts{"app": {User: "app", Passwords: []string{"hunter2"}}, "two": {User: "two", Passwords: []string{"hunter3", "hunter2"}, Plugin: "caching_sha2_password"}}
	file := writeFile(t, "accounts.yaml", text)
	for name, c := range map[string]Config{"file": {AccountsFile: file}, "command": {AccountsCommand: []string{"cat", file}}} {
		got, err := LoadAccounts(context.Background(), c)
		if err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v, %s", name, err, cmp.Diff(want, got))
		}
		if s := fmt.Sprintf("%v %+v %#v %s", got, got, got, got["app"]); strings.Contains(s, "hunter") {
			t.Errorf("%s: the passwords are shown: %s", name, s)
		}
	}
	open := writeFile(t, "open.yaml", text)
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Config{
		"a file that others can read":    {AccountsFile: open},
		"no file":                        {AccountsFile: open + "x"},
		"a command that fails":           {AccountsCommand: []string{"sh", "-c", "cat " + file + "; echo hunter2 >&2; exit 1"}},
		"no command":                     {AccountsCommand: []string{"/nowhere/vault"}},
		"a key that is not there":        {AccountsFile: writeFile(t, "a", "accounts:\n  - {user: app, pass: hunter2}\n")},
		"text":                           {AccountsFile: writeFile(t, "a", "hunter2")},
		"broken YAML":                    {AccountsFile: writeFile(t, "a", "accounts:\n  - user: app\n   password: hunter2\n")},
		"nobody":                         {AccountsFile: writeFile(t, "a", "accounts: []\n")},
		"no name":                        {AccountsFile: writeFile(t, "a", "accounts:\n  - {password: hunter2}\n")},
		"one twice":                      {AccountsFile: writeFile(t, "a", "accounts:\n  - {user: a, password: hunter2}\n  - {user: a, password: hunter2}\n")},
		"two ways to write the password": {AccountsFile: writeFile(t, "a", "accounts:\n  - {user: a, password: hunter2, passwords: [hunter2]}\n")},
		"an unknown method":              {AccountsFile: writeFile(t, "a", "accounts:\n  - {user: a, password: hunter2, plugin: unix_socket}\n")},
	} {
		if _, err := LoadAccounts(context.Background(), c); err == nil || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSavedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	want := saved{Version: savedVersion, Term: 7, Servers: &savedServers{Local: []string{"a:1"}, All: []string{"a:1", "b:1"}}}
	if err := want.save(path); err != nil {
		t.Fatal(err)
	}
	if got, err := loadSaved(path); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for name, text := range map[string]string{"of a newer version": `{"version":2,"term":9}`, "damaged": `{"version":1,"te`, "empty": ""} {
		if _, err := loadSaved(writeFile(t, "state", text)); err == nil || !strings.Contains(err.Error(), "state file") {
			t.Errorf("a file that is %s: %v", name, err)
		}
	}
	// What can't be made durable is not done: the term would be forgotten (trap 1).
	if err := want.save(filepath.Join(t.TempDir(), "nowhere", "state")); err == nil {
		t.Error("saved into a folder that is not there")
	}
}
