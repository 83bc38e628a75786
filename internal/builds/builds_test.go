package builds

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// real are the builds whose servers this package's callers run, and what their programs say of themselves.
var real = []struct{ build, program, flag, want string }{
	{"mariadb-10.11", "mariadbd", "--version", "10.11."},
	{"mariadb-10.11", "mariadb-backup", "--version", "10.11."},
	{"mariadb-11.8", "mariadbd", "--version", "11.8."},
	{"mariadb-11.8", "mariadb", "--version", "11.8."},
	{"mariadb-11.8", "mariadb-dump", "--version", "11.8."},
	{"bind9", "named", "-v", "BIND 9."},
	{"mysql-9.7", "mysqld", "--version", "9.7."},
	{"sysbench", "sysbench", "--version", "1."},
	{"haproxy", "haproxy", "-v", "2."},
}

// TestFetchAndRun fetches what the tests and the demo need and asks programs for their version, run by Command and by the
// scripts of Bin.
func TestFetchAndRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for _, c := range real {
		b, err := Fetch(ctx, c.build, Options{Progress: func(s string) { t.Log(s) }})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(b.Version, c.want) && c.build != "bind9" {
			t.Errorf("%s has version %q", c.build, b.Version)
		}
		cmd, err := b.Command(ctx, c.program, c.flag)
		if err != nil {
			t.Fatal(err)
		}
		for _, cmd := range []*exec.Cmd{cmd, exec.CommandContext(ctx, filepath.Join(b.Bin(), c.program), c.flag)} {
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), b.Version) {
				t.Errorf("%s of %+v: %v: %s", cmd, b, err, out)
			}
		}
	}
}

// TestSysbenchFindsItsTests asks for the help of a test that reads another of its files.
func TestSysbenchFindsItsTests(t *testing.T) {
	b, err := Fetch(t.Context(), "sysbench", Options{Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := b.Command(t.Context(), "sysbench", "oltp_point_select", "help")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "table_size") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUnknownBuildNamesTheKnown(t *testing.T) {
	_, err := Fetch(t.Context(), "oracle-23", Options{Cache: t.TempDir()})
	if !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "mariadb-11.8") {
		t.Errorf("error: %v", err)
	}
}

func TestPathTellsProgramsFromScripts(t *testing.T) {
	b, err := Fetch(t.Context(), "mariadb-11.8", Options{Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"mariadb-install-db", "no-such-program", "../sbin/mariadbd/x"} {
		if _, err := b.Argv(p); !errors.Is(err, ErrNoProgram) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestUpstream(t *testing.T) {
	for in, want := range map[string]string{
		"1:11.8.6-0+deb13u1": "11.8.6", "9.7.4-1": "9.7.4", "1.0.20+ds-5": "1.0.20", "1:9.18.41-1~deb12u1": "9.18.41", "15.9": "15.9",
	} {
		if got := upstream(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	if _, err := LockShared(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shared lock beside an exclusive one: %v", err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("try: %v", err)
	}
	unlock()
	var back []func()
	for range 2 {
		u, err := LockShared(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, u)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("try beside shared locks: %v", err)
	}
	for _, u := range back {
		u()
	}
	if u, err := TryLock(path); err != nil {
		t.Error(err)
	} else {
		u()
	}
}

func TestDefaultCache(t *testing.T) {
	t.Setenv("WINDLASS_CACHE", "/some/where")
	if dir, err := DefaultCache(); err != nil || dir != "/some/where" {
		t.Errorf("%s, %v", dir, err)
	}
	t.Setenv("WINDLASS_CACHE", "")
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if _, err := DefaultCache(); err == nil || !strings.Contains(err.Error(), "WINDLASS_CACHE") {
		t.Errorf("no home: %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
