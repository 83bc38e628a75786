package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// ourBalancer keeps what it was told in a folder: a file of each node, and the highest term.
const ourBalancer = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
fenced() { [ "$1" -lt "$(cat term 2>/dev/null || echo 0)" ] && exit 75; echo "$1" > term; }
case $1 in
observe) echo "a warning of $2" >&2; [ -e answer ] && { cat answer; exit 0; }; [ -e broken ] && { echo "no route"; exit 1; }
	echo '{"nodes": ['; cat n1; echo ,; cat n2; echo ']}';;
drain) fenced "$3"; echo '{"node": "'"$2"'", "up": true, "admitted": false, "weight": 100, "sessions": 2}' > "$2";;
cut) fenced "$3"; echo '{"node": "'"$2"'", "up": true, "admitted": false, "weight": 100, "sessions": 0}' > "$2";;
admit) fenced "$4"; echo '{"node": "'"$2"'", "up": true, "admitted": true, "weight": '"$3"', "sessions": 0}' > "$2";;
hang) sleep 1000;;
esac
`

func TestABalancerByCommands(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "our-balancer")
	must(t, os.WriteFile(program, []byte(ourBalancer), 0o755))
	l := Balancer{Look: []string{program, "observe", "{cluster}"}, DrainWith: []string{program, "drain", "{node}", "{term}"}, CutWith: []string{program, "cut", "{node}", "{term}"},
		Give: []string{program, "admit", "{node}", "{percent}", "{term}"}}
	one, two := fleet.Node{Name: "n1", Address: "h:1"}, fleet.Node{Name: "n2", Address: "h:2"}
	c := fleet.Cluster{Env: "qa", Name: "jobs", Cells: []fleet.Cell{{Nodes: []fleet.Node{one, two}}}}
	sees := func(n1, n2 rolling.Backend) {
		t.Helper()
		n1.Node, n2.Node, n1.Up, n2.Up = "n1", "n2", true, true
		if all, err := l.Observe(ctx, c); err != nil || len(all) != 2 || all[0] != n1 || all[1] != n2 {
			t.Errorf("%+v, %v", all, err)
		}
	}
	must(t, l.Admit(ctx, c, one, 100, 5))
	must(t, l.Admit(ctx, c, two, 10, 5))
	sees(rolling.Backend{Admitted: true, Weight: 100}, rolling.Backend{Admitted: true, Weight: 10})
	must(t, l.Drain(ctx, c, one, 5))
	sees(rolling.Backend{Weight: 100, Sessions: 2}, rolling.Backend{Admitted: true, Weight: 10})
	must(t, l.Cut(ctx, c, one, 6))
	sees(rolling.Backend{Weight: 100}, rolling.Backend{Admitted: true, Weight: 10})
	for what, err := range map[string]error{"drain": l.Drain(ctx, c, two, 5), "cut": l.Cut(ctx, c, two, 5), "admit": l.Admit(ctx, c, one, 100, 5)} { // trap 1
		if !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s under an old term: %v", what, err)
		}
	}
	sees(rolling.Backend{Weight: 100}, rolling.Backend{Admitted: true, Weight: 10})

	must(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	if _, err := l.Observe(ctx, c); err == nil || !strings.Contains(err.Error(), "ends with 1: a warning of jobs\nno route") {
		t.Errorf("a command that fails: %v", err)
	}
	const n2 = `, {"node": "n2", "up": true, "admitted": true, "weight": 100, "sessions": 0}]}`
	const other = `, {"node": "n0", "up": true, "admitted": %t, "weight": 100, "sessions": 1}]}`
	for _, admitted := range []bool{true, false} { // one that the fleet does not have is told if it is given requests
		answer := strings.Replace(`{"nodes": [{"node": "n1", "up": true, "admitted": true, "weight": 100, "sessions": 0}`+n2, "]}", fmt.Sprintf(other, admitted), 1)
		must(t, os.WriteFile(filepath.Join(dir, "answer"), []byte(answer), 0o600))
		all, err := l.Observe(ctx, c)
		if err != nil || admitted != (len(all) == 3 && all[2] == rolling.Backend{Node: "n0", Up: true, Admitted: true, Weight: 100, Sessions: 1}) || !admitted && len(all) != 2 {
			t.Errorf("admitted: %t: %+v, %v", admitted, all, err)
		}
	}
	for answer, want := range map[string]string{
		"": "not the JSON", "[]": "not the JSON", "{}": "nothing of n1", `{"nodes": [` + n2[2:]: "nothing of n1",
		`{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 100}` + n2:                     "n1 lacks one of",
		`{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 100, "sessions": null}` + n2:   "n1 lacks one of",
		`{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 256, "sessions": 0}` + n2:      "no percentage",
		`{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 100, "sessions": -1}` + n2:     "-1 sessions",
		`{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 100, "sessions": "many"}` + n2: "not the JSON",
		`{"nodes": [{"up": true, "admitted": false, "weight": 100, "sessions": 0}` + n2:                    "has no \"node\"",
		`{"nodes": [{"node": "n2", "up": true, "admitted": false, "weight": 100, "sessions": 0}` + n2:      "twice",
	} {
		must(t, os.WriteFile(filepath.Join(dir, "answer"), []byte(answer), 0o600))
		if all, err := l.Observe(ctx, c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %q", answer, all, err, want)
		}
	}
	slow := Balancer{Look: []string{program, "hang"}, DrainWith: []string{program, "hang"}, Timeout: 100 * time.Millisecond}
	for what, f := range map[string]func() error{"observe": func() error { _, err := slow.Observe(ctx, c); return err }, "drain": func() error { return slow.Drain(ctx, c, one, 1) }} {
		var late *LateError
		if err := f(); !errors.As(err, &late) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(late.ErrorHint(), "balancer.commands.timeout") {
			t.Errorf("%s that hangs: %v", what, err)
		}
	}
}
