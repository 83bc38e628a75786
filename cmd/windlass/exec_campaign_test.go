package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// TestCampaignWithItsOwnProvisioning runs a whole campaign, with load, on a cluster whose old and new cell are made by the document's
// program: every stage of it, from the new cell to the deletion of the old one.
func TestCampaignWithItsOwnProvisioning(t *testing.T) {
	t.Parallel()
	s := tlsSite(t)
	program, root, env := documentedProgram(t, s.dir)
	documentedBuild(t, s.dir, "10.11")
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(cancel)

	// The old cell is the program's work, too.
	nodes, err := exec.New(exec.Config{Command: []string{program}, Env: env, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const owner, record, zone = "by-hand", "stock.db.example.", "db.example."
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, id := range []string{"qa-stock-blue-1", "qa-stock-blue-gateway", "qa-stock-green-1", "qa-stock-green-gateway"} {
			mark := map[bool]string{true: owner, false: "raise:qa/stock"}[strings.Contains(id, "blue")]
			if err := nodes.Delete(ctx, bluegreen.Resource{ID: id, Mark: mark, Term: 1 << 40}); err != nil {
				t.Error(err)
			}
		}
	})
	made := func(r bluegreen.Resource) bluegreen.ResourceState {
		t.Helper()
		r.Env, r.Cluster, r.Cell, r.Product, r.Version, r.Mark = "qa", "stock", "blue", "mariadb", "10.11", owner
		st, err := nodes.Create(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	node := made(bluegreen.Resource{ID: "qa-stock-blue-1", Kind: "node"}).Node
	old := admin(t, node.Address)
	statements := []string{"SET GLOBAL read_only=0", "CREATE USER 'app'@'%' IDENTIFIED BY 'app-secret'", "CREATE DATABASE shop CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON shop.* TO 'app'@'%'", "USE shop"}
	conn, err := old.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, stmt := range append(statements, load.Schema...) {
		if _, err := conn.ExecContext(ctx, stmt); err != nil {
			t.Fatalf("%s: %v", stmt, err)
		}
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	gateway := made(bluegreen.Resource{ID: "qa-stock-blue-gateway", Kind: "gateway", Local: []string{node.Address}, Servers: []string{node.Address}}).Gateway
	host, port, err := net.SplitHostPort(gateway.Address)
	if err != nil {
		t.Fatal(err)
	}
	dns := processtest.BIND(t, zone, map[string]string{record: host})

	clients := load.New(load.Config{Name: "qa/stock", Resolve: func(ctx context.Context) (string, error) {
		host, err := address(ctx, dns.Address(), record)
		return net.JoinHostPort(host, port), err
	}, User: "app", Password: "app-secret", Schema: "shop", Readers: 1, Writers: 2, Pause: 50 * time.Millisecond})
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- clients.Run(run) }()
	t.Cleanup(stop)

	files := []string{
		put(t, 0o644, fmt.Sprintf(`kind: Fleet
version: 1
name: shop
environments:
  - name: qa
    clusters:
      - name: stock
        product: mariadb
        record: %s
        labels: {%s: "yes"}    # of the node that no campaign has made
        cells:
          - name: blue
            version: 10.11
            owner: %s
            nodes: [{name: %s, address: %q}]
            gateway: {name: %s, address: %q, read_only: %q, admin: %q}
`, record, mysql.LabelBootsReadOnly, owner, node.Name, node.Address, gateway.Name, gateway.Address, gateway.ReadOnly, gateway.Admin), s.dir, "fleet.yaml"),
		put(t, 0o644, `kind: Campaign
version: 1
name: raise
product: mariadb
from: 10.11
to: 11.8
environments: [qa]
schedule: {always: true, every: 1s}
soak: {stages: {switch-storage: 1s, switch-gateway: 1s}, environments: 0s}
replay: {skip: {reason: this test is about the nodes of a program, by: the test}}
switch: {min_interval: 0s}
record: {ttl: 1s}
`, s.dir, "campaign.yaml"),
	}
	apply := windlass(t, "apply", "-f", files[0], "-f", files[1], "--server", s.url, "--ca-file", s.ca, "--token-file", filepath.Join(s.dir, "operator"))
	if <-apply.done; apply.code != 0 {
		t.Fatalf("apply exits with %d: %s", apply.code, apply.text())
	}
	agent := windlass(t, "supervisor", "--config", execSupervisor(t, s, env, dns.Address(), zone, dns.KeyFile()))

	ref := fleet.ClusterRef{Env: "qa", Name: "stock"}
	var last api.ClusterStatus
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("progress %+v, decision %+v; the supervisor said: %s", last.Progress, last.Decision, agent.text())
		}
	})
	processtest.Until(t, 5*time.Minute, "the campaign has arrived", func() bool {
		if last, err = s.operator.Cluster(ctx, ref); err != nil {
			t.Fatal(err)
		}
		if agent.ended() {
			t.Fatal("the supervisor ended")
		}
		p := last.Progress
		if p != nil && (p.Failure != nil || p.Attention != "") {
			t.Fatalf("it stops: %+v %s", p.Failure, p.Attention)
		}
		return p != nil && p.Stage == strategy.StageTearDown && p.Action == nil
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	green, ok := last.Cluster.Cell("green")
	if _, blue := last.Cluster.Cell("blue"); !ok || blue || len(green.Nodes) != 1 || green.Gateway == nil {
		t.Fatalf("the cluster is now %+v", last.Cluster)
	}
	for _, id := range []string{"qa-stock-blue-1", "qa-stock-blue-gateway"} {
		if _, err := os.Stat(filepath.Join(root, id)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left: %v", id, err)
		}
	}
	now := admin(t, green.Nodes[0].Address)
	var version string
	var readOnly bool
	if err := now.QueryRow("SELECT VERSION(), @@global.read_only").Scan(&version, &readOnly); err != nil || !strings.HasPrefix(version, "11.8.") || readOnly {
		t.Errorf("the primary runs %s, read-only %v: %v", version, readOnly, err)
	}
	want, _, _ := net.SplitHostPort(green.Gateway.Address)
	if at, err := address(ctx, dns.Address(), record); err != nil || at != want {
		t.Errorf("the record is at %s, not %s: %v", at, want, err)
	}
	r, err := clients.Verify(ctx, now)
	if err != nil || r.Errors > 0 || r.Lost > 0 || r.Duplicate > 0 || r.Acked == 0 {
		t.Errorf("clients: %+v, %v", r, err)
	}
	t.Logf("clients: %+v", r)
}

// documentedBuild puts a version where the document's program looks for it.
func documentedBuild(t *testing.T, dir, version string) {
	t.Helper()
	build := processtest.Fetch(t, "mariadb-"+version)
	argv, err := build.Argv("mariadbd")
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(dir, "mariadb-"+version)
	if err := os.MkdirAll(filepath.Join(base, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, 0o755, "#!/bin/sh\nexec "+strings.Join(argv, " ")+" \"$@\"\n", base, "bin", "mariadbd")
	share := filepath.Join(build.Root, "usr", "share", "mariadb")
	if _, err := os.Stat(share); err != nil {
		share = filepath.Join(build.Root, "usr", "share", "mysql") // as Debian calls it in 10.11
	}
	for from, to := range map[string]string{share: "share", filepath.Join(build.Root, "usr", "lib", "mysql"): "lib"} {
		if err := os.Symlink(from, filepath.Join(base, to)); err != nil {
			t.Fatal(err)
		}
	}
}

// execSupervisor writes the file of a supervisor of qa whose nodes the document's program makes.
func execSupervisor(t *testing.T, s site, env []string, dns, zone, key string) string {
	t.Helper()
	var lines strings.Builder
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&lines, "    %s: %q\n", name, value)
	}
	put(t, 0o600, "the-program-needs-this", s.dir, "secrets", "our-token")
	return put(t, 0o644, fmt.Sprintf(`kind: Supervisor
version: 1
name: qa-1
environment: qa
watch_every: 2s
server: {url: %q, token_file: %q, ca_file: %q}
mysql: {admin: {user: %s, password_file: secrets/admin}}
gateways: {admin_token_file: secrets/gateway-token, monitor_user: %s}
dns: {server: %q, zone: %s, key_file: %q}
exec:
  command: [./our-nodes]
  secret_env: {OUR_TOKEN: secrets/our-token}
  env:
%s`, s.url, s.token(t, "supervisor", "qa", "qa-1"), s.ca, processtest.AdminUser, processtest.MonitorUser, dns, zone, key, lines.String()), s.dir, "qa-1.yaml")
}

// admin is a pool of the administrator's.
func admin(t *testing.T, address string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// address asks a name server for a record's address.
func address(ctx context.Context, server, record string) (string, error) {
	m := new(miekg.Msg)
	m.SetQuestion(record, miekg.TypeA)
	r, err := miekg.ExchangeContext(ctx, m, server)
	if err != nil {
		return "", err
	}
	for _, rr := range r.Answer {
		if a, ok := rr.(*miekg.A); ok {
			return a.A.String(), nil
		}
	}
	return "", fmt.Errorf("%s has no address", record)
}
