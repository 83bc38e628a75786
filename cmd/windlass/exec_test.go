package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// documentedProgram is the one of docs/exec-driver.md as written, with the environment that it asks for.
func documentedProgram(t *testing.T, dir string) (program, root string, env []string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/exec-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```python\n(.*?)```").FindSubmatch(doc)
	if text == nil {
		t.Fatal("the document has no program")
	}
	build := processtest.Fetch(t, "mariadb-11.8")
	argv, err := build.Argv("mariadbd")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "mariadb-11.8", "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, 0o755, "#!/bin/sh\nexec "+strings.Join(argv, " ")+" \"$@\"\n", dir, "mariadb-11.8", "bin", "mariadbd")
	for from, to := range map[string]string{"usr/share/mariadb": "share", "usr/lib/mysql": "lib"} {
		if err := os.Symlink(filepath.Join(build.Root, from), filepath.Join(dir, "mariadb-11.8", to)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, 0o600, fmt.Sprintf("CREATE USER '%[1]s'@'%%' IDENTIFIED BY '%[2]s';\nGRANT ALL PRIVILEGES ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\n"+
		"CREATE USER '%[3]s'@'%%' IDENTIFIED BY '%[4]s';\nGRANT PROCESS, REPLICATION CLIENT, SLAVE MONITOR ON *.* TO '%[3]s'@'%%';\n",
		processtest.AdminUser, processtest.AdminPassword, processtest.MonitorUser, processtest.MonitorSecret), dir, "secrets", "accounts.sql")
	put(t, 0o600, "a-token-of-the-gateways-admin-api", dir, "secrets", "gateway-token")
	put(t, 0o600, "accounts:\n  - {user: app, password: app-secret}\n", dir, "secrets", "accounts.yaml")
	put(t, 0o600, processtest.MonitorSecret, dir, "secrets", "monitor-password")
	put(t, 0o600, processtest.AdminPassword, dir, "secrets", "admin")
	gateway := filepath.Join(dir, "windlass-gateway")
	if out, err := osexec.Command("go", "build", "-o", gateway, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	root = filepath.Join(dir, "root")
	return put(t, 0o755, string(text[1]), dir, "our-nodes"), root, []string{"OUR_ROOT=" + root, "OUR_MARIADB=" + filepath.Join(dir, "mariadb-{version}"), "OUR_GATEWAY=" + gateway,
		"OUR_SECRETS=" + filepath.Join(dir, "secrets"), fmt.Sprintf("OUR_PORT=%d", processtest.FreePort(t)), "PATH=/usr/bin:/bin"}
}

// TestSupervisorWithItsOwnProvisioning raises a cell as a user would whose program makes the nodes: a server, a supervisor whose file
// names the program, a cluster that runs 10.11. The new cell is made by the program, seeded and replicating; the way back deletes it.
func TestSupervisorWithItsOwnProvisioning(t *testing.T) {
	t.Parallel()
	s := tlsSite(t)
	program, root, env := documentedProgram(t, s.dir)
	primary := processtest.Primary(t, "10.11")
	primary.Exec(t, "CREATE TABLE app.item (id INT PRIMARY KEY, name VARCHAR(20))")
	primary.Exec(t, "INSERT INTO app.item VALUES (1, 'one'), (2, 'two')")

	// The old gateway is the program's work, too, but nobody's campaign made it.
	nodes, err := exec.New(exec.Config{Command: []string{program}, Env: env, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	blue := bluegreen.Resource{ID: "qa-stock-blue-gateway", Kind: "gateway", Env: "qa", Cluster: "stock", Cell: "blue", Mark: "ours", Local: []string{primary.Address()}, Servers: []string{primary.Address()}}
	made, err := nodes.Create(ctx, blue)
	t.Cleanup(func() {
		for id, mark := range map[string]string{blue.ID: blue.Mark, "qa-stock-green-1": "raise:qa/stock", "qa-stock-green-gateway": "raise:qa/stock"} {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if err := nodes.Delete(ctx, bluegreen.Resource{ID: id, Mark: mark, Term: 1 << 40}); err != nil {
				t.Error(err)
			}
			cancel()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	dns := processtest.BIND(t, "db.example.", map[string]string{"stock.db.example.": strings.Split(made.Gateway.Address, ":")[0]})

	var envYAML strings.Builder
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&envYAML, "    %s: %q\n", name, value)
	}
	put(t, 0o600, "the-program-needs-this", s.dir, "secrets", "our-token")
	file := put(t, 0o644, fmt.Sprintf(`kind: Supervisor
version: 1
name: qa-1
environment: qa
watch_every: 2s
server: {url: %q, token_file: %q, ca_file: %q}
mysql: {admin: {user: %s, password_file: secrets/admin}}
gateways: {admin_token_file: secrets/gateway-token, monitor_user: %s}
dns: {server: %q, zone: db.example., key_file: %q}
exec:
  command: [./our-nodes]
  secret_env: {OUR_TOKEN: secrets/our-token}
  env:
%s`, s.url, s.token(t, "supervisor", "qa", "qa-1"), s.ca, processtest.AdminUser, processtest.MonitorUser, dns.Address(), dns.KeyFile(), envYAML.String()), s.dir, "qa-1.yaml")

	c, err := campaign.Parse(config.Source{Name: "campaign.yaml", Text: []byte(`kind: Campaign
version: 1
name: raise
product: mariadb
from: 10.11
to: 11.8
environments: [qa]
schedule: {always: true, every: 1s}
replay: {skip: {reason: this test is about the nodes of a program, by: the test}}
approve: [verify]
`)})
	if err != nil {
		t.Fatal(err)
	}
	ref := fleet.ClusterRef{Env: "qa", Name: "stock"}
	f := fleet.Fleet{Name: "shop", Environments: []fleet.Environment{{Name: "qa", Clusters: []fleet.Cluster{{Name: ref.Name, Env: ref.Env, Product: "mariadb", Record: "stock.db.example.",
		Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "stock-1", Address: primary.Address()}}, Gateway: made.Gateway}}}}}}}
	if _, err := s.operator.Apply(ctx, api.ApplyRequest{Fleet: &f, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	agent := windlass(t, "supervisor", "--config", file)
	var last string
	until := func(what string, ok func(st api.ClusterStatus) bool) {
		t.Helper()
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s; the supervisor said: %s", last, agent.text())
			}
		})
		processtest.Until(t, 4*time.Minute, what, func() bool {
			st, err := s.operator.Cluster(ctx, ref)
			if err != nil {
				t.Fatal(err)
			}
			last = fmt.Sprintf("progress %+v, decision %+v", st.Progress, st.Decision)
			if agent.ended() {
				t.Fatal("the supervisor ended")
			}
			return ok(st)
		})
	}
	until("the new cell is created", func(st api.ClusterStatus) bool {
		return st.Progress != nil && st.Progress.Stage == strategy.StageCreate && st.Progress.Action == nil
	})
	st, err := s.operator.Cluster(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	green, ok := st.Cluster.Cell("green")
	if !ok || len(green.Nodes) != 1 || green.Gateway == nil || green.Owner != "raise:qa/stock" {
		t.Fatalf("green: %+v", green)
	}
	var rows int
	replica, err := sql.Open("mysql", processtest.DSN(green.Nodes[0].Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer replica.Close()
	if err := replica.QueryRow("SELECT COUNT(*) FROM app.item").Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows on the node that the program made: %v", rows, err)
	}
	for _, secret := range []string{"the-program-needs-this", processtest.AdminPassword, processtest.MonitorSecret} {
		if strings.Contains(agent.text(), secret) {
			t.Errorf("the supervisor tells %s", secret)
		}
	}

	if err := s.operator.Rollback(ctx, c.Name, api.RollbackRequest{Ref: ref, Why: "the test goes back"}); err != nil {
		t.Fatal(err)
	}
	until("the new cell is gone", func(st api.ClusterStatus) bool {
		_, there := st.Cluster.Cell("green")
		return !there && st.Progress != nil && st.Progress.Action == nil
	})
	for _, id := range []string{"qa-stock-green-1", "qa-stock-green-gateway"} {
		if _, err := os.Stat(filepath.Join(root, id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", id, err)
		}
	}
}
