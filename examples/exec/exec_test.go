package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/drivertest"
	"github.com/windlass-db/windlass/internal/driver/exec"
	servers "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

// program builds the example as it is shipped.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "windlass-exec-example-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "windlass-exec-example")
	out, err := osexec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// setup is the example with a start command, in an empty root.
type setup struct {
	program, root, start string
	port                 int
}

func (s setup) open(t *testing.T) bluegreen.Provisioner {
	t.Helper()
	p, err := exec.New(exec.Config{Command: []string{s.program, "--root", s.root, "--start", s.start, "--wait", "30s", "--port", strconv.Itoa(s.port)}, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) { l.t.Logf("%s", p); return len(p), nil }

func newSetup(t *testing.T, script string) setup {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	start := filepath.Join(dir, "start")
	if err := os.WriteFile(start, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return setup{path, filepath.Join(dir, "root"), start, processtest.FreePort(t)}
}

// mariadb is a user's own command that starts MariaDB from a data folder.
func mariadb(t *testing.T, r bluegreen.Resource) setup {
	t.Helper()
	build := processtest.Fetch(t, "mariadb-"+r.Version)
	prepared := servers.MariaDB{Name: "template", Build: build, Dir: filepath.Join(t.TempDir(), "template"), ServerID: 1, InitSQL: processtest.InitSQL}
	if err := prepared.Init(context.Background()); err != nil {
		t.Fatal(err)
	}
	argv, err := build.Argv("mariadbd", "--defaults-file="+filepath.Join(prepared.Dir, "my.cnf"))
	if err != nil {
		t.Fatal(err)
	}
	return newSetup(t, fmt.Sprintf(`set -e
[ -d data ] || { cp -a %s data.new; mv data.new data; }
echo %s >version
exec %s --datadir="$PWD/data" --socket="$PWD/s.sock" --pid-file="$PWD/mariadbd.pid" --bind-address="$WINDLASS_HOST" --port="$WINDLASS_PORT" --read-only=ON
`, prepared.DataDir(), build.Version, strings.Join(argv, " ")))
}

var green = bluegreen.Resource{ID: "qa-orders-green-1", Kind: "node", Env: "qa", Cluster: "orders", Cell: "green", Product: "mariadb", Version: "11.8", Mark: "raise:qa/orders", Term: 100}

// TestAsShipped passes the suite of every provisioner, with a real MariaDB.
func TestAsShipped(t *testing.T) {
	s := mariadb(t, green)
	drivertest.Provisioner(t, s.open, green, func(t *testing.T) { s.kill(t, green.ID) })
	s.readOnly(t)
}

// kill ends the server as a power cut would.
func (s setup) kill(t *testing.T, id string) {
	t.Helper()
	p := process{filepath.Join(s.root, id)}
	pid, err := p.pid()
	if err != nil || pid == 0 {
		t.Fatalf("pid %d, %v", pid, err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "it is gone", func() bool { pid, err := p.pid(); return err == nil && pid == 0 })
}

// readOnly looks at the server itself (trap 2).
func (s setup) readOnly(t *testing.T) {
	t.Helper()
	r := green
	r.Term += 50
	st, err := s.open(t).Create(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", processtest.DSN(st.Node.Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var ro bool
	if err := db.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil || !ro {
		t.Errorf("read_only: %t, %v", ro, err)
	}
	if err := s.open(t).Delete(context.Background(), r); err != nil {
		t.Fatal(err)
	}
}

// TestCallKilledInTheMiddle ends a create while the server starts. The next one finds that server by its pid file and starts no second
// (trap 34).
func TestCallKilledInTheMiddle(t *testing.T) {
	s := newSetup(t, "echo started >>starts; while [ ! -e go ]; do sleep 0.05; done; sleep 300\n") // never answers
	dir := filepath.Join(s.root, green.ID)
	t.Cleanup(func() {
		if err := s.open(t).Delete(context.Background(), green); err != nil {
			t.Error(err)
		}
	})
	for term := range int64(3) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		cmd := osexec.CommandContext(ctx, s.program, "--root", s.root, "--start", s.start)
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"protocol":1,"verb":"create","resource":{"id":%q,"kind":"node","mark":%q,"product":"mariadb","version":"11.8","term":%d}}`, green.ID, green.Mark, term))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		processtest.Until(t, 20*time.Second, "the server is started", func() bool { b, _ := os.ReadFile(filepath.Join(dir, "starts")); return len(b) > 0 })
		if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		cancel()
	}
	b, err := os.ReadFile(filepath.Join(dir, "starts"))
	if err != nil || strings.Count(string(b), "started") != 1 {
		t.Errorf("it was started %q, %v", b, err)
	}
	if st, err := s.open(t).Observe(context.Background(), green); err != nil || !st.Exists || st.Running || st.Mark != green.Mark {
		t.Errorf("observed: %+v, %v", st, err)
	}
}

// TestForeignFolder is one that somebody else made: it holds something, and no mark (trap 36).
func TestForeignFolder(t *testing.T) {
	s := newSetup(t, "sleep 300\n")
	file := filepath.Join(s.root, green.ID, "precious")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, created := s.open(t).Create(context.Background(), green)
	deleted := s.open(t).Delete(context.Background(), green)
	for _, err := range []error{created, deleted} {
		var refusal *engine.Refusal
		if !errors.Is(err, exec.ErrForeign) || !errors.As(err, &refusal) {
			t.Errorf("error: %v", err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "data" {
		t.Errorf("it was harmed: %q, %v", b, err)
	}
}

func TestBadRequests(t *testing.T) {
	dir := t.TempDir()
	for in, code := range map[string]int{
		`{"protocol":2,"verb":"observe","resource":{"id":"a"}}`:         exitNever,
		`{"protocol":1,"verb":"upgrade","resource":{"id":"a"}}`:         exitNever,
		`{"protocol":1,"verb":"observe","resource":{"id":"../escape"}}`: exitNever,
		`{"protocol":1,"verb":"create","resource":{"id":"a"}}`:          exitForeign, // no mark
		`x`: exitNever,
	} {
		var out bytes.Buffer
		err := run(context.Background(), []string{"--root", dir, "--start", "true"}, strings.NewReader(in), &out)
		var f failure
		if !errors.As(err, &f) || f.code != code || out.Len() > 0 {
			t.Errorf("%s: %v, %s", in, err, out.String())
		}
	}
	if err := run(context.Background(), []string{"--root", dir}, strings.NewReader("{}"), io.Discard); err == nil {
		t.Error("no start command was taken")
	}
	// A word that a later Windlass adds is passed over.
	var out bytes.Buffer
	if err := run(context.Background(), []string{"--root", dir, "--start", "true"}, strings.NewReader(`{"protocol":1,"verb":"observe","new":1,"resource":{"id":"b","size":"big"}}`), &out); err != nil || !strings.Contains(out.String(), `"exists":false`) {
		t.Errorf("%v, %s", err, out.String())
	}
}
