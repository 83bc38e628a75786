package engines

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

func put(t *testing.T, mode os.FileMode, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), mode)); err != nil {
		t.Fatal(err)
	}
	return file
}

// site is one engine whose nodes are run by a program of the test, which notes how it was called.
func engine(t *testing.T, dir string) settings.Engine {
	t.Helper()
	program := put(t, 0o755, `#!/bin/sh
dir=$(dirname "$0")
case "$1" in
start) echo "$@ secret=$SECRET env=$PLAIN" >> "$dir/calls"; test -e "$dir/broken" && { echo "no room for $SECRET"; exit 1; }; echo "$3" > "$dir/$2.version";;
stop) rm -f "$dir/$2.version";;
running) test -e "$dir/$2.version" || exit 3;;
version) cat "$dir/$2.version";;
esac
`, dir, "our-nodes")
	put(t, 0o600, "hunter2-{node}-{x}", dir, "one.secret")
	put(t, 0o600, "postgres://u:hunter3@127.0.0.1:1/one", dir, "one.dsn")
	put(t, 0o644, "CREATE TABLE a (id INT);", dir, "1.0", "0001_a.sql")
	put(t, 0o644, "CREATE TABLE a (id INT);", dir, "1.1", "0001_a.sql")
	put(t, 0o644, "ALTER TABLE a ADD COLUMN b INT;", dir, "1.1", "0002_b.sql")
	version := func(v string) settings.EngineVersion {
		return settings.EngineVersion{Version: v, Migrations: filepath.Join(dir, v), Env: map[string]string{"PLAIN": "{cluster}/{zone}"}, SecretEnv: map[string]string{"SECRET": filepath.Join(dir, "{cluster}.secret")}}
	}
	return settings.Engine{Product: "jobs", Versions: []settings.EngineVersion{version("1.0"), version("1.1")},
		Run:    settings.EngineRun{Commands: &settings.EngineCommands{Running: []string{program, "running", "{node}"}, Start: []string{program, "start", "{node}", "{version}", "{term}"}, Stop: []string{program, "stop", "{node}"}}},
		Health: settings.Probe{Command: []string{program, "running", "{node}"}}, Version: settings.Probe{Command: []string{program, "version", "{node}"}},
		Balancer: settings.EngineBalancer{HAProxy: &settings.EngineHAProxy{Socket: "unix:" + filepath.Join(dir, "{cluster}.sock"), Backend: "{cluster}"}},
		Database: settings.EngineDatabase{Dialect: "postgres", DSNFile: filepath.Join(dir, "{cluster}.dsn"), Connections: settings.EngineConnections{By: "application", Value: "{node}"}}}
}

func cluster(name, product string) fleet.Cluster {
	return fleet.Cluster{Env: "qa", Name: name, Product: product, Cells: []fleet.Cell{{Name: "main", Version: "1.0", Nodes: []fleet.Node{{Name: "n1", Address: "127.0.0.1:9", Zone: "a"}}}}}
}

// What a file says of a product is done to the clusters of that product; placeholders and secrets are those of the cluster and node that are meant.
func TestCommandsGetWhatTheFileSays(t *testing.T) {
	dir := t.TempDir()
	x, err := New([]settings.Engine{engine(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx, p, c := context.Background(), x.Ports(), cluster("one", "jobs")
	n := c.Cells[0].Nodes[0]
	if s, err := p.Nodes.Observe(ctx, c, n); err != nil || s.Running {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := p.Nodes.Start(ctx, c, n, "1.1", 7); err != nil {
		t.Fatal(err)
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if want := "start n1 1.1 7 secret=hunter2-n1-{x} env=one/a\n"; err != nil || string(calls) != want {
		t.Errorf("it was called with %q, want %q: %v", calls, want, err)
	}
	if s, err := p.Nodes.Observe(ctx, c, n); err != nil || s != (rolling.NodeState{Running: true, Healthy: true, Version: "1.1", Detail: s.Detail}) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := p.Nodes.Stop(ctx, c, n, 8); err != nil {
		t.Error(err)
	}
	put(t, 0o600, "", dir, "broken")
	if err := p.Nodes.Start(ctx, c, n, "1.1", 9); err == nil || !strings.Contains(err.Error(), "no room for *****") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the program's word is told as %v", err)
	}
}

// A load balancer of another kind is driven by its commands, for the cluster that is meant.
func TestABalancerByCommands(t *testing.T) {
	dir := t.TempDir()
	e := engine(t, dir)
	program := put(t, 0o755, `#!/bin/sh
dir=$(dirname "$0")
[ "$1" = observe ] && { cat "$dir/$2.json"; exit; }
echo "$@" >> "$dir/balancer-calls"
`, dir, "our-balancer")
	put(t, 0o600, `{"nodes": [{"node": "n1", "up": true, "admitted": false, "weight": 50, "sessions": 4}]}`, dir, "one.json")
	e.Balancer = settings.EngineBalancer{Commands: &settings.EngineBalancerCommands{Observe: []string{program, "observe", "{cluster}"}, Drain: []string{program, "drain", "{node}", "{term}"},
		Cut: []string{program, "cut", "{address}"}, Admit: []string{program, "admit", "{node}", "{percent}"}}}
	x, err := New([]settings.Engine{e})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx, b, c := context.Background(), x.Ports().Balancer, cluster("one", "jobs")
	n := c.Cells[0].Nodes[0]
	if all, err := b.Observe(ctx, c); err != nil || len(all) != 1 || all[0] != (rolling.Backend{Node: "n1", Up: true, Weight: 50, Sessions: 4}) {
		t.Errorf("%+v, %v", all, err)
	}
	if _, err := b.Observe(ctx, cluster("two", "jobs")); err == nil || !strings.Contains(err.Error(), "two.json") {
		t.Errorf("another cluster: %v", err)
	}
	if err := errors.Join(b.Drain(ctx, c, n, 7), b.Cut(ctx, c, n, 7), b.Admit(ctx, c, n, 10, 7)); err != nil {
		t.Error(err)
	}
	if calls, err := os.ReadFile(filepath.Join(dir, "balancer-calls")); err != nil || string(calls) != "drain n1 7\ncut 127.0.0.1:9\nadmit n1 10\n" {
		t.Errorf("%s, %v", calls, err)
	}
}

// What can't be reached or is not known of is an error that says so, and tells no secret.
func TestWhatIsNotThere(t *testing.T) {
	dir := t.TempDir()
	x, err := New([]settings.Engine{engine(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx, p := context.Background(), x.Ports()
	var unknown *NotDrivenError
	other := cluster("one", "camunda")
	if _, err := p.Balancer.Observe(ctx, other); !errors.As(err, &unknown) || x.Drives(other) {
		t.Errorf("another product: %v", err)
	}
	c := cluster("one", "jobs")
	if _, err := p.Balancer.Observe(ctx, c); err == nil || !strings.Contains(err.Error(), "one.sock") {
		t.Errorf("no load balancer: %v", err)
	}
	for name, want := range map[string]string{"one": "can't reach postgres://127.0.0.1:1/one", "two": "two.dsn"} {
		if _, _, err := p.Connections.Of(ctx, cluster(name, "jobs"), c.Cells[0].Nodes[0]); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter3") {
			t.Errorf("the database of %s: %v", name, err)
		}
	}
	o := rolling.Observe(ctx, p, c)
	if len(o.Nodes) != 1 || o.Nodes[0].Role != fleet.RoleUnknown || !strings.Contains(o.Unknown(), "load balancer") {
		t.Errorf("a look without the load balancer: %+v", o)
	}
	bad := engine(t, dir)
	bad.Versions[1].Migrations = filepath.Join(dir, "nowhere")
	if _, err := New([]settings.Engine{bad}); err == nil || !strings.Contains(err.Error(), "the engine jobs: the schema of version 1.1") {
		t.Errorf("no migrations: %v", err)
	}
}
