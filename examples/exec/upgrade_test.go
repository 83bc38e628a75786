package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/exec"
	servers "github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

// twoVersions is a user's start command that runs the version it is asked for, and an upgrade command.
func twoVersions(t *testing.T) (s setup, upgrade string) {
	t.Helper()
	start := "set -e\n"
	var raise string
	for _, version := range []string{"10.11", "11.8"} {
		build := processtest.Fetch(t, "mariadb-"+version)
		prepared := servers.MariaDB{Name: "template", Build: build, Dir: filepath.Join(t.TempDir(), "template"), ServerID: 1, InitSQL: processtest.InitSQL}
		if err := prepared.Init(context.Background()); err != nil {
			t.Fatal(err)
		}
		if version == "10.11" {
			start += fmt.Sprintf("[ -d data ] || { cp -a %s data.new; mv data.new data; }\necho x >>starts\ncase $WINDLASS_VERSION in\n", prepared.DataDir())
		}
		argv, err := build.Argv("mariadbd", "--defaults-file="+filepath.Join(prepared.Dir, "my.cnf"))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.Join(argv, " ") + ` --datadir="$PWD/data" --socket="$PWD/s.sock" --pid-file="$PWD/mariadbd.pid"`
		start += fmt.Sprintf("%s) echo %s >version; exec %s --bind-address=$WINDLASS_HOST --port=$WINDLASS_PORT --read-only=ON;;\n", version, build.Version, here)
		if version == "11.8" { // the new version alone: no network, no accounts, no replication
			tool := func(name string) string {
				return filepath.Join(build.Bin(), name) + ` --no-defaults --skip-ssl --socket="$PWD/s.sock"`
			}
			raise = fmt.Sprintf(`#!/bin/sh
set -e
[ "$WINDLASS_VERSION" = 11.8 ]
echo begun >>upgrades
while [ -e wait ]; do sleep 0.05; done
%s --skip-networking --skip-grant-tables --skip-slave-start >>upgrade.log 2>&1 &
until %s --execute='DO 0' 2>/dev/null; do kill -0 $!; sleep 0.1; done
%s --skip-write-binlog
kill $!
wait $!
`, here, tool("mariadb"), tool("mariadb-upgrade"))
		}
	}
	s = newSetup(t, start+"esac\n")
	upgrade = filepath.Join(t.TempDir(), "upgrade")
	if err := os.WriteFile(upgrade, []byte(raise), 0o755); err != nil {
		t.Fatal(err)
	}
	return s, upgrade
}

// TestRaisesANodeInPlace takes a real MariaDB through the verbs of the strategy inplace: up, with a call that is killed in the middle and a
// server that was killed before it, back to the copy, up again, and the copy is deleted. Every verb is safe to repeat.
func TestRaisesANodeInPlace(t *testing.T) {
	s, upgrade := twoVersions(t)
	args := []string{"--root", s.root, "--start", s.start, "--upgrade", upgrade, "--wait", "60s", "--port", strconv.Itoa(s.port)}
	p, err := exec.New(exec.Config{Command: append([]string{s.program}, args...), Log: slog.New(slog.NewTextHandler(testLog{t}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	term := int64(10)
	r := func(version string) bluegreen.Resource {
		term++
		n := green
		n.Version, n.Term = version, term
		return n
	}
	made, err := p.Create(ctx, r("10.11"))
	t.Cleanup(func() {
		if err := p.Delete(context.Background(), r("")); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	say := func(statement string) (n int) {
		t.Helper()
		db, err := sql.Open("mysql", processtest.DSN(made.Node.Address, processtest.AdminUser, processtest.AdminPassword, "app"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if !strings.HasPrefix(statement, "SELECT") {
			_, err = db.ExecContext(ctx, statement)
		} else {
			err = db.QueryRowContext(ctx, statement).Scan(&n)
		}
		if err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
		return n
	}
	is := func(st bluegreen.ResourceState, version, kept string, running bool) {
		t.Helper()
		if !st.Exists || !strings.HasPrefix(st.Version, version+".") && st.Version != version || st.Kept != kept || st.Running != running {
			t.Fatalf("it is %+v, want %s with a copy of %q, running: %v", st, version, kept, running)
		}
		if running && say("SELECT @@global.version LIKE '"+version+".%'") != 1 {
			t.Fatalf("the server does not say %s", version)
		}
	}
	is(made, "10.11", "", true)
	say("CREATE TABLE item (id INT PRIMARY KEY)")
	say("INSERT INTO item VALUES (1), (2)")

	// The server is killed, and then the call that raises it, in the middle: with all that it has started, as Windlass would.
	s.kill(t, green.ID)
	dir := filepath.Join(s.root, green.ID)
	if err := os.WriteFile(filepath.Join(dir, "wait"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.CommandContext(ctx, s.program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"protocol":1,"verb":"upgrade","resource":{"id":%q,"kind":"node","mark":%q,"product":"mariadb","version":"11.8","term":%d}}`, green.ID, green.Mark, term))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 60*time.Second, "the data is being brought up", func() bool { b, _ := os.ReadFile(filepath.Join(dir, "upgrades")); return len(b) > 0 })
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	st, err := p.Observe(ctx, r("11.8"))
	if err != nil {
		t.Fatal(err)
	}
	is(st, "10.11", "10.11", false)
	if err := os.Remove(filepath.Join(dir, "wait")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if st, err = p.Upgrade(ctx, r("11.8")); err != nil {
			t.Fatal(err)
		}
		is(st, "11.8", "10.11", true)
	}
	if n := say("SELECT COUNT(*) FROM item"); n != 2 || say("SELECT @@global.read_only") != 1 {
		t.Errorf("%d rows", n)
	}
	if starts, err := os.ReadFile(filepath.Join(dir, "starts")); err != nil || strings.Count(string(starts), "x") != 3 { // made; recovered after the kill; raised
		t.Errorf("it was started %q, %v", starts, err)
	}

	for range 2 {
		if st, err = p.Restore(ctx, r("10.11")); err != nil {
			t.Fatal(err)
		}
		is(st, "10.11", "", true)
	}
	if n := say("SELECT COUNT(*) FROM item"); n != 2 {
		t.Errorf("%d rows are back", n)
	}
	if st, err = p.Upgrade(ctx, r("11.8")); err != nil {
		t.Fatal(err)
	}
	is(st, "11.8", "10.11", true)
	for range 2 {
		if err := p.Discard(ctx, r("11.8")); err != nil {
			t.Fatal(err)
		}
	}
	if st, err = p.Observe(ctx, r("11.8")); err != nil {
		t.Fatal(err)
	}
	is(st, "11.8", "", true)

	// What can't be done is refused, and nothing is changed.
	var refusal *engine.Refusal
	if _, err := p.Restore(ctx, r("10.11")); !errors.As(err, &refusal) {
		t.Errorf("restored without a copy: %v", err)
	}
	foreign := r("11.8")
	foreign.Mark = "somebody"
	if _, err := p.Upgrade(ctx, foreign); !errors.Is(err, exec.ErrForeign) {
		t.Errorf("raised somebody else's: %v", err)
	}
	late := r("11.8")
	late.Term = 5
	if _, err := p.Upgrade(ctx, late); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("raised under an old term: %v", err)
	}
	if st, err = p.Observe(ctx, r("11.8")); err != nil {
		t.Fatal(err)
	}
	is(st, "11.8", "", true)
}
