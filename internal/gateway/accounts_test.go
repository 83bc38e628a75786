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

// The example, and that in the docs, is a file of accounts.
func TestAccountsExample(t *testing.T) {
	want := Accounts{"app": {User: "app", Passwords: []string{"the-new-one", "the-old-one"}}, "reports": {User: "reports", Passwords: []string{"another"}, Plugin: "caching_sha2_password"}}
	example, err := os.ReadFile("../../examples/accounts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doc, _ := strings.Cut(string(page), "```yaml\n")
	doc, _, _ = strings.Cut(doc, "```")
	for name, text := range map[string]string{"example": string(example), "docs": strings.ReplaceAll("\n"+doc, "\n  ", "\n")} {
		if got, err := parseAccounts([]byte(text)); err != nil || !cmp.Equal(want, got) {
			t.Errorf("%s: %v, %s", name, err, cmp.Diff(want, got))
		}
	}
	if got, err := parseAccounts([]byte(accountsExample)); err != nil || got["NAME"].Passwords[0] != "SECRET" {
		t.Errorf("what errors show: %v, %v", got, err)
	}
}

// A check names all that is missing or wrong at once, each by its key and with what to do.
func TestCheckNamesEverything(t *testing.T) {
	dir := t.TempDir()
	text := "kind: Gateway\nversion: 1\nname: a\nlisten: a:1\nadmin: {listen: 'a:2', token_file: token}\naccounts_file: accounts.yaml\nmonitor: {user: watcher, password_file: password}\n" +
		"servers: {all: ['a:3']}\nstate_file: nowhere/state\nclient_tls: {cert: cert.pem, key: key.pem}\nserver_tls: {ca: ca.pem}\n" +
		"capture: {folder: token/spool, key_file: capture.key, mask_key_file: mask.key}\n"
	file := filepath.Join(dir, "gateway.yaml")
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("gateway.yaml", text, 0o600)
	said := func() string {
		t.Helper()
		cfg, err := LoadConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		if err = Check(context.Background(), cfg); err == nil {
			t.Fatal("nothing is wrong")
		}
		return err.Error()
	}
	wants := func(got string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(got, want) {
				t.Errorf("%q is not in:\n%s", want, got)
			}
		}
	}
	at := func(name string) string { return "there is no file " + filepath.Join(dir, name) }
	wants(said(), "accounts_file: "+at("accounts.yaml"), "mode 0600", "accounts:\n  - user: NAME\n    password: SECRET", "admin.token_file: "+at("token"), "/dev/urandom",
		"monitor.password_file: "+at("password"), "password of watcher", "capture.key_file: "+at("capture.key"), "capture.mask_key_file: "+at("mask.key"), "client_tls: ", "cert.pem", "server_tls.ca: ", "ca.pem", "state_file: there is no folder "+filepath.Join(dir, "nowhere"))

	write("accounts.yaml", "accounts:\n  - {password: hunter2}\n  - {user: a, password: hunter2, passwords: [hunter2], plugin: x}\n  - {user: a, password: hunter2}\n", 0o600)
	write("token", "hunter2", 0o600)
	write("password", "hunter2", 0o644)
	write("key.pem", "hunter2", 0o644)
	write("ca.pem", "hunter2", 0o644)
	write("capture.key", "hunter2", 0o600)
	write("mask.key", "hunter2", 0o644)
	got := said()
	wants(got, "accounts: entry 1 has no user", "a has both password and passwords", `a has plugin "x"`, "a is listed twice", "admin.token_file: "+filepath.Join(dir, "token")+" holds 7 characters",
		"chmod 0600 "+filepath.Join(dir, "password"), "chmod 0600 "+filepath.Join(dir, "key.pem"), "server_tls.ca: "+filepath.Join(dir, "ca.pem")+" holds no certificate",
		"capture.key_file: a key", "chmod 0600 "+filepath.Join(dir, "mask.key"))
	if strings.Contains(got, "hunter2") {
		t.Error(got)
	}
}
