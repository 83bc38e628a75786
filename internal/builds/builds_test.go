package builds

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFetchAndRun fetches what the tests and the demo need and asks each program for its version.
func TestFetchAndRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	for name, c := range map[string]struct{ program, flag, want string }{
		"mariadb-10.11": {"mariadbd", "--version", "10.11."},
		"mariadb-11.8":  {"mariadbd", "--version", "11.8."},
		"bind9":         {"named", "-v", "BIND 9."},
	} {
		b, err := Fetch(ctx, name, Options{Progress: func(s string) { t.Log(s) }})
		if err != nil {
			t.Fatal(err)
		}
		cmd, err := b.Command(ctx, c.program, c.flag)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.want) || !strings.Contains(string(out), b.Version) {
			t.Errorf("%s %s (build %s): %v: %s", c.program, c.flag, b.Version, err, out)
		}
	}
}

func TestUnknownBuildNamesTheKnown(t *testing.T) {
	_, err := Fetch(context.Background(), "oracle-23", Options{Cache: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "mariadb-11.8") {
		t.Errorf("error: %v", err)
	}
}

// TestHalfMadeBuildIsNotUsed leaves what a killed fetch leaves.
func TestHalfMadeBuildIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "mariadb-11.8", "usr"), 0o755); err != nil {
		t.Fatal(err)
	}
	if b, err := open(dir, "mariadb-11.8"); err == nil {
		t.Errorf("used: %+v", b)
	}
}

func TestFindMirrorInBothFormats(t *testing.T) {
	deb822 := "Types: deb\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\n\nTypes: deb\nURIs: http://mirror.test/debian-security\nSuites: bookworm-security\n"
	list := "# old\ndeb [arch=amd64] http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian-security bookworm-security main\n"
	for file, text := range map[string]string{"sources.list.d/debian.sources": deb822, "sources.list": list} {
		etc := t.TempDir()
		if err := os.MkdirAll(filepath.Join(etc, "sources.list.d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(etc, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		m, err := findMirror(etc)
		if err != nil || m.main != "http://mirror.test/debian" || m.security != "http://mirror.test/debian-security" {
			t.Errorf("%s: %+v, %v", file, m, err)
		}
	}
	if _, err := findMirror(t.TempDir()); err == nil || !strings.Contains(err.Error(), "sources.list") {
		t.Errorf("no mirror: %v", err)
	}
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("second lock: %v", err)
	}
	unlock()
	again, err := Lock(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
