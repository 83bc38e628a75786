package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// standIn is a systemctl that answers as systemd's does, of units that are files with their state in them, and an ssh that has a shell read
// its words, as sshd does, in a folder in which the pattern would match.
func standIn(t *testing.T) (units, ssh string) {
	t.Helper()
	dir := t.TempDir()
	units = filepath.Join(dir, "units")
	for _, d := range []string{units, filepath.Join(dir, "home"), filepath.Join(dir, "bin")} {
		must(t, os.Mkdir(d, 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "home", "jobs-files@n1.service"), nil, 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "bin", "systemctl"), []byte(`#!/bin/sh
echo "$@" >> '`+dir+`/calls'
[ -e '`+dir+`/mute' ] && exit 0
[ -e '`+dir+`/no-bus' ] && { echo "Failed to connect to bus" >&2; exit 1; }
act=$1; shift
[ "$act" = show ] && { property=$1; shift; }
[ "$property" = --property=Version ] && { echo "Version=252"; exit 0; }
cd '`+units+`' || exit 9
for pattern in "$@"; do
	for unit in $pattern; do
		case $act in
		show) [ "$property" = --property=ActiveState ] || exit 8; [ -e "$unit" ] && echo "ActiveState=$(cat "$unit")" && echo;;
		start) echo active > "$unit";;
		stop) [ -e "$unit" ] && echo inactive > "$unit";;
		is-active) [ "$(cat "$unit" 2>/dev/null)" = active ] || exit 3;;
		*) exit 7;;
		esac
	done
done
exit 0
`), 0o755))
	ssh = filepath.Join(dir, "bin", "ssh")
	must(t, os.WriteFile(ssh, []byte(`#!/bin/sh
[ "$1" = -oBatchMode=yes ] && [ "$2" = 10.0.0.1 ] || exit 255
shift 2
cd '`+dir+`/home' && exec sh -c "$*"
`), 0o755))
	t.Setenv("PATH", filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
	return units, ssh
}

// A unit that begins, ends or reloads runs; one that is gone, failed or was never there does not; anything else is not known. The same over ssh.
func TestUnits(t *testing.T) {
	units, ssh := standIn(t)
	dir := filepath.Dir(units)
	u := Unit{Node: fleet.Node{Name: "n1", Address: "10.0.0.1:80"}, Version: "1.1"}
	for where, s := range map[string]Systemd{
		"here":     {Unit: "jobs-{version}@{node}.service", Any: "jobs-*@{node}.service"},
		"over ssh": {Unit: "jobs-{version}@{node}.service", Any: "jobs-*@{node}.service", SSH: []string{ssh, "-oBatchMode=yes", "{host}"}},
	} {
		runs := func(what string, want bool) {
			t.Helper()
			if got, err := s.Runs(ctx, u); err != nil || got != want {
				t.Errorf("%s, %s: %v, %v", where, what, got, err)
			}
		}
		runs("no unit", false)
		must(t, s.Start(ctx, u))
		runs("started", true)
		for state, want := range map[string]bool{"active": true, "activating": true, "deactivating": true, "reloading": true, "inactive": false, "failed": false} {
			must(t, os.WriteFile(filepath.Join(units, "jobs-1.1@n1.service"), []byte(state+"\n"), 0o600))
			must(t, os.WriteFile(filepath.Join(units, "jobs-1.0@n1.service"), []byte("inactive\n"), 0o600))
			must(t, os.WriteFile(filepath.Join(units, "jobs-1.1@n2.service"), []byte("active\n"), 0o600)) // another node's
			runs(state, want)
		}
		must(t, os.WriteFile(filepath.Join(units, "jobs-1.1@n1.service"), []byte("active\n"), 0o600))
		must(t, s.Stop(ctx, u))
		runs("stopped", false)
		must(t, os.WriteFile(filepath.Join(units, "jobs-1.1@n1.service"), []byte("dreaming\n"), 0o600))
		if _, err := s.Runs(ctx, u); err == nil || !strings.Contains(err.Error(), "dreaming") {
			t.Errorf("%s, a state that nobody knows: %v", where, err)
		}
		for file, want := range map[string]string{"no-bus": "Failed to connect to bus", "mute": "says nothing of n1"} {
			if file == "mute" {
				must(t, os.RemoveAll(filepath.Join(units, "jobs-1.1@n1.service")))
			}
			must(t, os.WriteFile(filepath.Join(dir, file), nil, 0o600))
			if _, err := s.Runs(ctx, u); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s, %s: %v", where, file, err)
			}
			must(t, os.Remove(filepath.Join(dir, file)))
		}
		for _, unit := range []string{"jobs-1.0@n1.service", "jobs-1.1@n2.service"} {
			must(t, os.Remove(filepath.Join(units, unit)))
		}
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	must(t, err)
	if strings.Contains(string(calls), "jobs-files@n1") || strings.Count(string(calls), "show --property=ActiveState jobs-*@n1.service\n") < 16 {
		t.Errorf("a shell on the way changed the words:\n%s", calls)
	}
}

func TestWordsForAShell(t *testing.T) {
	for word, want := range map[string]string{"systemctl": "systemctl", "": "''", "jobs-*@n1": "'jobs-*@n1'", "it's": `'it'\''s'`, "a b;c": "'a b;c'"} {
		if got := quoted(word); got != want {
			t.Errorf("%q: %s", word, got)
		}
	}
}
