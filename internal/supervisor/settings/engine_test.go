package settings

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
)

const engineFile = `kind: Supervisor
version: 1
name: qa-1
environment: qa
server: {url: http://127.0.0.1:8480, token_file: token}
engines:
  - product: jobs
    versions:
      - version: 1.0
        command: [./jobs, --listen, "{address}"]
        secret_env: {JOBS_DSN: secret}
        migrations: migrations/1.0
    run: {local: {root: nodes, pid_file: "run/{node}.pid"}}
    health: {http: "http://{address}/health"}
    version: {command: [our-version, "{node}"]}
    balancer: {haproxy: {socket: "unix:run/{cluster}.sock", backend: jobs}}
    database: {dialect: postgres, dsn_file: "{cluster}.dsn", dev_dsn_file: dev, connections: {by: host, value: "{host}"}}
`

// A supervisor of engines alone needs none of what databases need. Its paths begin at the file's folder, and its secret files are looked at, but
// for those whose names depend on a cluster.
func TestEnginesAlone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "supervisor.yaml")
	for name, text := range map[string]string{"supervisor.yaml": engineFile, "token": "t", "dev": "hidden-dev"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var problems config.Problems
	if _, err := Read(file); !errors.As(err, &problems) || len(problems) != 2 || problems[1].Path != "engines[0].versions[0].migrations" || problems[1].Line != 12 {
		t.Fatalf("a missing folder: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "migrations", "1.0"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); !errors.As(err, &problems) || len(problems) != 1 || problems[0].Path != "engines[0].versions[0].secret_env.JOBS_DSN" || problems[0].Line != 11 {
		t.Fatalf("a missing secret: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte("hidden-secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "can be read by others") || strings.Contains(err.Error(), "hidden-secret") {
		t.Fatalf("an open secret: %v", err)
	}
	if err := os.Chmod(filepath.Join(dir, "secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Read(file)
	if err != nil || f.Databases {
		t.Fatalf("%+v, %v", f, err)
	}
	e := f.Engines[0]
	for got, want := range map[string]string{
		e.Versions[0].Command[0]: "jobs", e.Versions[0].Migrations: "migrations/1.0", e.Versions[0].SecretEnv["JOBS_DSN"]: "secret", e.Run.Local.Root: "nodes", e.Run.Local.PIDFile: "run/{node}.pid",
		strings.TrimPrefix(e.Balancer.HAProxy.Socket, "unix:"): "run/{cluster}.sock", e.Database.DSNFile: "{cluster}.dsn", e.Database.DevDSNFile: "dev",
	} {
		if got != filepath.Join(dir, want) {
			t.Errorf("%s, not %s below the file's folder", got, want)
		}
	}
	if e.Version.Command[0] != "our-version" || e.Versions[0].Command[2] != "{address}" {
		t.Errorf("%+v", e)
	}
}

// A load balancer's programs begin at the file's folder, as those of nodes do; the file that was read stays as it is.
func TestABalancersPrograms(t *testing.T) {
	e := Engine{Balancer: EngineBalancer{Commands: &EngineBalancerCommands{Observe: []string{"./b", "o"}, Drain: []string{"./b"}, Cut: []string{"./b"}, Admit: []string{"./b"}}}}
	f := e.from(func(s string) string { return s }, func(s string) string { return "/here/" + s })
	c := f.Balancer.Commands
	for _, line := range [][]string{c.Observe, c.Drain, c.Cut, c.Admit} {
		if line[0] != "/here/./b" {
			t.Errorf("%v", line)
		}
	}
	if c.Observe[1] != "o" || e.Balancer.Commands.Observe[0] != "./b" {
		t.Errorf("%v, %v", c.Observe, e.Balancer.Commands.Observe)
	}
}
