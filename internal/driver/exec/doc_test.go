package exec_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/driver/drivertest"
	"github.com/windlass-db/windlass/internal/driver/exec"
	servers "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

// blocks are the document's blocks of code in a language, as written.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	doc, err := os.ReadFile("../../../docs/exec-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(doc, -1) {
		found = append(found, string(m[1]))
	}
	if len(found) == 0 {
		t.Fatalf("the document has no %s", language)
	}
	return found
}

// TestDocumentedSettings puts the document's part of the supervisor's file into the example's place.
func TestDocumentedSettings(t *testing.T) {
	example, err := os.ReadFile("../../../examples/exec/supervisor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	head, _, ok := strings.Cut(string(example), "\nexec:\n")
	if !ok {
		t.Fatal("the example has no exec")
	}
	f, _, err := config.One[settings.File](config.Source{Name: "exec-driver.md", Text: []byte(head + "\n" + blocks(t, "yaml")[0])}, settings.Kind())
	if err != nil {
		t.Fatal(err)
	}
	if e := f.Exec; e.ObserveTimeout != settings.DefaultObserveTimeout || e.ChangeTimeout != settings.DefaultChangeTimeout || e.Grace != settings.DefaultGrace || len(e.SecretEnv) != 1 {
		t.Errorf("%+v", e)
	}
}

// documented is the document's program in a place where it can work, with the environment that it asks for.
func documented(t *testing.T) (program, root string, env []string) {
	t.Helper()
	dir := t.TempDir()
	write := func(mode os.FileMode, text string, path ...string) string {
		file := filepath.Join(append([]string{dir}, path...)...)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return file
	}
	build := processtest.Fetch(t, "mariadb-11.8")
	argv, err := build.Argv("mariadbd")
	if err != nil {
		t.Fatal(err)
	}
	// The server is the real one. Its bootstrap is done once for this machine, and copied; TestSupervisorWithItsOwnProvisioning of
	// cmd/windlass has the program do it itself.
	prepared := servers.MariaDB{Name: "template", Build: build, Dir: filepath.Join(dir, "template"), ServerID: 1, InitSQL: processtest.InitSQL}
	if err := prepared.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(0o755, fmt.Sprintf(`#!/bin/sh
for o in "$@"; do
  case $o in --bootstrap) bootstrap=yes;; --datadir=*) to=${o#*=};; esac
done
[ -z "$bootstrap" ] || exec cp -a %s/. "$to"
exec %s "$@"
`, prepared.DataDir(), strings.Join(argv, " ")), "mariadb-11.8", "bin", "mariadbd")
	for from, to := range map[string]string{"usr/share/mariadb": "share", "usr/lib/mysql": "lib"} {
		if err := os.Symlink(filepath.Join(build.Root, from), filepath.Join(dir, "mariadb-11.8", to)); err != nil {
			t.Fatal(err)
		}
	}
	write(0o600, processtest.InitSQL, "secrets", "accounts.sql")
	write(0o600, "a-token-of-the-gateways-admin-api", "secrets", "gateway-token")
	write(0o600, "accounts:\n  - {user: app, password: app-secret}\n", "secrets", "accounts.yaml")
	write(0o600, processtest.MonitorSecret, "secrets", "monitor-password")
	gateway := filepath.Join(dir, "windlass-gateway")
	if out, err := osexec.Command("go", "build", "-o", gateway, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	root = filepath.Join(dir, "root")
	return write(0o755, blocks(t, "python")[0], "bin", "our-nodes"), root,
		[]string{"OUR_ROOT=" + root, "OUR_MARIADB=" + filepath.Join(dir, "mariadb-{version}"), "OUR_GATEWAY=" + gateway, "OUR_SECRETS=" + filepath.Join(dir, "secrets"), fmt.Sprintf("OUR_PORT=%d", processtest.FreePort(t)), "PATH=/usr/bin:/bin"}
}

// TestDocumentedProgram runs the document's program as written: it passes the suite of every provisioner with a real MariaDB and a real
// gateway, and the document's call of it prints what the document says.
func TestDocumentedProgram(t *testing.T) {
	program, root, env := documented(t)

	cmd := osexec.Command("sh", "-c", blocks(t, "sh")[0])
	cmd.Env = append(env[:len(env):len(env)], "PATH="+filepath.Dir(program)+":/usr/bin:/bin")
	out, err := cmd.CombinedOutput()
	if want := strings.TrimSpace(blocks(t, "json")[2]) + "exit 0\n"; err != nil || string(out) != want {
		t.Errorf("%v: %s, not %s", err, out, want)
	}

	gateway := bluegreen.Resource{ID: "qa-orders-green-gateway", Kind: "gateway", Env: "qa", Cluster: "orders", Cell: "green", Product: "mariadb", Version: "11.8", Mark: res.Mark, Term: 7,
		Local: []string{"127.0.0.1:1"}, Servers: []string{"127.0.0.1:1"}}
	open := func(t *testing.T) bluegreen.Provisioner {
		p, err := exec.New(exec.Config{Command: []string{program}, Env: env, Change: time.Minute, Log: slog.New(slog.NewTextHandler(logs{t}, nil))})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	t.Run("node", func(t *testing.T) {
		drivertest.Provisioner(t, open, res, func(t *testing.T) { killIn(t, filepath.Join(root, res.ID)) })
	})
	t.Run("gateway", func(t *testing.T) { // all but its command line is the node's
		t.Cleanup(func() {
			if err := open(t).Delete(within(t), gateway); err != nil {
				t.Error(err)
			}
		})
		made, err := open(t).Create(within(t), gateway)
		if err != nil {
			t.Fatal(err)
		}
		c := &http.Client{Timeout: 5 * time.Second}
		resp, err := c.Get(made.Gateway.Admin + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s, %v", resp.Status, err)
		}
	})
}

type logs struct{ t *testing.T }

func (l logs) Write(p []byte) (int, error) { l.t.Logf("%s", p); return len(p), nil }

// killIn ends the server whose command line names a file of the folder.
func killIn(t *testing.T, dir string) {
	t.Helper()
	find := func() (pids []int) {
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte(dir+"/")) {
				pid, err := strconv.Atoi(strings.Split(f, "/")[2])
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
		}
		return pids
	}
	pids := find()
	if len(pids) != 1 {
		t.Fatalf("%d processes are of %s", len(pids), dir)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, fmt.Sprintf("%d is gone", pids[0]), func() bool { return len(find()) == 0 })
}
