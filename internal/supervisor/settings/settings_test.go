package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
)

func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) {
	configtest.EveryKeyMisspelt(t, "testdata/every-key.yaml", Kind())
}

// TestExamplesAreRead: what is shipped for people to copy.
func TestExamplesAreRead(t *testing.T) {
	for _, name := range []string{"../../../examples/supervisor.yaml", "../../../examples/exec/supervisor.yaml", "../../../examples/rolling/supervisor.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, problems := config.Read([]config.Source{{Name: name, Text: text}}, Kind()); len(problems) > 0 {
			t.Errorf("%v", problems)
		}
	}
}

// write makes the example of exec in a folder, with its secret files beside it.
func write(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	text, err := os.ReadFile("../../../examples/exec/supervisor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	here := strings.ReplaceAll(strings.ReplaceAll(string(text), "/etc/windlass/", ""), "/usr/local/bin/", "bin/")
	for _, s := range []string{"token", "admin-password", "gateway-token", "ddns.key", "our-token"} {
		if err := os.WriteFile(filepath.Join(dir, s), []byte("hidden-"+s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file = filepath.Join(dir, "supervisor.yaml")
	if err := os.WriteFile(file, []byte(here), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

func TestRead(t *testing.T) {
	dir, file := write(t)
	f, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for got, want := range map[string]string{
		f.Server.TokenFile: "token", f.Server.CAFile: "ca.pem", f.MySQL.Admin.PasswordFile: "admin-password", f.Gateways.AdminTokenFile: "gateway-token",
		f.DNS.KeyFile: "ddns.key", f.Exec.SecretEnv["OUR_TOKEN"]: "our-token", f.Exec.Command[0]: "bin/our-nodes",
	} {
		if got != filepath.Join(dir, want) {
			t.Errorf("%s, not %s below the file's folder", got, want)
		}
	}
	if f.Exec.ObserveTimeout != 30*time.Second || f.Exec.ChangeTimeout != 10*time.Minute || f.Exec.Grace != 5*time.Second || f.Exec.Dir != "/var/lib/our-nodes" {
		t.Errorf("%+v", f.Exec)
	}
	if s, err := Secret(f.Server.TokenFile); err != nil || s != "hidden-token" {
		t.Errorf("%q, %v", s, err)
	}
	if _, err := Read(filepath.Join(dir, "nowhere.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestSecretFiles: all that is wrong with them is told at once, at their lines, and nothing of what is in them.
func TestSecretFiles(t *testing.T) {
	dir, file := write(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Chmod(at("token"), 0o640), os.Chmod(at("admin-password"), 0o604), os.Remove(at("gateway-token")), os.WriteFile(at("ddns.key"), []byte(" \n"), 0o600),
		os.Remove(at("our-token")), syscall.Mkfifo(at("our-token"), 0o600), // nobody writes into it
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := Read(file)
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) != 5 {
		t.Fatalf("%v", err)
	}
	for i, want := range []struct{ path, message, hint string }{
		{"server.token_file", "can be read by others (mode 0640)", "chmod 600 " + at("token")},
		{"mysql.admin.password_file", "(mode 0604)", "chmod 600 "},
		{"gateways.admin_token_file", "there is no file " + at("gateway-token"), "begins at this file's folder"},
		{"dns.key_file", "it is empty", "write the secret into it"},
		{"exec.secret_env.OUR_TOKEN", "is no file", "write the secret into it"},
	} {
		p := problems[i]
		if p.Path != want.path || p.Line == 0 || p.File != file || !strings.Contains(p.Message, want.message) || !strings.Contains(p.Hint, want.hint) {
			t.Errorf("problem %d: %+v", i, p)
		}
	}
	if strings.Contains(err.Error(), "hidden-") {
		t.Errorf("a secret is told: %v", err)
	}
}

func TestClear(t *testing.T) {
	for url, want := range map[string]bool{"http://127.0.0.1:8480": false, "http://localhost:1": false, "https://a.example": false, "http://a.example": true, "http://10.0.0.1:8480": true} {
		if got := (Server{URL: url}).Clear(); got != want {
			t.Errorf("%s: %t", url, got)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{"1KiB": 1 << 10, "20GiB": 20 << 30, "200 GiB": 200 << 30, "8TiB": 8 << 40, "0MiB": 0} {
		if got, err := Size(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "20", "20GB", "20G", "-1GiB", "1.5GiB", "20gib", "9223372036854775807KiB", "99999999999999999999MiB", "20GiB "} {
		if got, err := Size(text); err == nil {
			t.Errorf("%q: %d", text, got)
		}
	}
	if got := (Seed{Limit: "3MiB"}).Bytes(); got != 3<<20 {
		t.Error(got)
	}
	if got := (Seed{}).Bytes(); got != 0 {
		t.Error(got)
	}
}
