package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// ownCluster is a cluster of the site's own, with the load on it.
type ownCluster struct {
	fleet.Cluster
	writers *load.Load
	reads   atomic.Int64 // that the read-only endpoint answered
}

// ownNodes are nodes that the site has made before any campaign, by the local provisioner of its supervisor.
type ownNodes struct {
	*local.Provisioner
	root, yaml string // yaml is the supervisor's "local"
}

func newOwnNodes(t *testing.T, s site) ownNodes {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	secret := func(name, text string) string { return put(t, 0o600, text, s.dir, "secrets", name) }
	program := filepath.Join(s.dir, "windlass-gateway")
	if out, err := osexec.Command("go", "build", "-o", program, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	secret("admin", processtest.AdminPassword)
	// The option file keeps the new version's default collations away, as the preflight asks for.
	cfg := local.Config{Root: filepath.Join(s.dir, "nodes"), InitSQLFile: secret("accounts.sql", processtest.InitSQL), GatewayProgram: program, GatewayPort: processtest.FreePort(t),
		AccountsFile: secret("accounts.yaml", fmt.Sprintf("accounts:\n  - {user: %s, password: %s}\n", processtest.AppUser, processtest.AppPassword)),
		MonitorUser:  processtest.MonitorUser, MonitorPasswordFile: secret("monitor", processtest.MonitorSecret),
		AdminTokenFile: secret("gateway-token", "a-token-of-the-gateways-admin-api"),
		NodeOptions:    []string{"character-set-server=utf8mb4", "collation-server=utf8mb4_general_ci", "loose-character-set-collations="}}
	n := ownNodes{Provisioner: local.New(cfg), root: cfg.Root, yaml: fmt.Sprintf(`local:
  root: nodes
  init_sql_file: secrets/accounts.sql
  gateway_program: ./windlass-gateway
  gateway_port: %d
  gateway_accounts_file: secrets/accounts.yaml
  monitor_password_file: secrets/monitor
  node_options: [%q, %q, %q]
`, cfg.GatewayPort, cfg.NodeOptions[0], cfg.NodeOptions[1], cfg.NodeOptions[2])}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.StopAll(ctx); err != nil {
			t.Error(err)
		}
	})
	return n
}

// cluster makes a primary with its replicas, and a gateway before them; readers: it has a read-only endpoint.
func (n ownNodes) cluster(ctx context.Context, name string, nodes int, readers bool) (*ownCluster, error) {
	cell := fleet.Cell{Name: "blue", Version: "10.11", Owner: "site"}
	var addresses []string
	for i := range nodes {
		st, err := n.Create(ctx, bluegreen.Resource{ID: fmt.Sprintf("%s-%d", name, i+1), Kind: "node", Env: "qa", Cluster: name, Cell: cell.Name, Product: "mariadb", Version: cell.Version, Mark: cell.Owner})
		if err != nil {
			return nil, err
		}
		cell.Nodes, addresses = append(cell.Nodes, *st.Node), append(addresses, st.Node.Address)
	}
	_, port, err := net.SplitHostPort(addresses[0])
	if err != nil {
		return nil, err
	}
	follow := fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%s, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", port, processtest.AdminUser, processtest.AdminPassword)
	for i, address := range addresses {
		statements := []string{follow, "START SLAVE"}
		if i == 0 {
			statements = append([]string{"SET GLOBAL read_only=0", "USE app"}, load.Schema...)
		}
		if err := said(ctx, address, statements...); err != nil {
			return nil, err
		}
	}
	g, err := n.Create(ctx, bluegreen.Resource{ID: name + "-gateway", Kind: "gateway", Env: "qa", Cluster: name, Cell: cell.Name, Mark: cell.Owner, Local: addresses, Servers: addresses})
	if err != nil {
		return nil, err
	}
	cell.Gateway = g.Gateway
	if !readers {
		cell.Gateway.ReadOnly = "" // nobody reads there
	}
	c := &ownCluster{Cluster: fleet.Cluster{Name: name, Env: "qa", Product: "mariadb", Record: name + ".db.example.", Cells: []fleet.Cell{cell}}}
	c.writers = load.New(load.Config{Name: "qa/" + name, Resolve: func(context.Context) (string, error) { return g.Gateway.Address, nil }, User: processtest.AppUser, Password: processtest.AppPassword, Schema: "app",
		Writers: 2, Readers: 1, Pause: 50 * time.Millisecond})
	return c, nil
}

// read reads from the read-only endpoint, on one connection, until the context ends; an error ends it too.
func (c *ownCluster) read(ctx context.Context) error {
	db, err := sql.Open("mysql", processtest.DSN(c.Cells[0].Gateway.ReadOnly, processtest.AppUser, processtest.AppPassword, "app"))
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for ctx.Err() == nil {
		var n int
		if err := conn.QueryRowContext(context.WithoutCancel(ctx), "SELECT COUNT(*) FROM orders WHERE id < 100").Scan(&n); err != nil {
			return fmt.Errorf("a reader of %s: %w", c.Name, err)
		}
		c.reads.Add(1)
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil
}

// said sends statements to a server, all on one connection.
func said(ctx context.Context, address string, statements ...string) error {
	db, err := sql.Open("mysql", processtest.DSN(address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		return err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, s := range statements {
		if _, err := conn.ExecContext(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// fleetYAML is the clusters as a user's file has them.
func fleetYAML(clusters ...*ownCluster) string {
	var b strings.Builder
	b.WriteString("kind: Fleet\nversion: 1\nname: shop\nenvironments:\n  - name: qa\n    clusters:\n")
	for _, c := range clusters {
		cell := c.Cells[0]
		fmt.Fprintf(&b, "      - name: %s\n        product: mariadb\n        record: %s\n        cells:\n          - name: %s\n            version: %s\n            owner: %s\n            nodes:\n", c.Name, c.Record, cell.Name, cell.Version, cell.Owner)
		for _, n := range cell.Nodes {
			fmt.Fprintf(&b, "              - {name: %s, address: %q}\n", n.Name, n.Address)
		}
		readOnly := ""
		if cell.Gateway.ReadOnly != "" {
			readOnly = fmt.Sprintf(", read_only: %q", cell.Gateway.ReadOnly)
		}
		fmt.Fprintf(&b, "            gateway: {name: %s, address: %q%s, admin: %q}\n", cell.Gateway.Name, cell.Gateway.Address, readOnly, cell.Gateway.Admin)
	}
	return b.String()
}

// versionsOf asks every node itself. writable are the names of those that take writes.
func versionsOf(t *testing.T, c *ownCluster) (versions map[string]string, writable []string) {
	t.Helper()
	versions = map[string]string{}
	for _, n := range c.Cells[0].Nodes {
		var version string
		var readOnly bool
		if err := admin(t, n.Address).QueryRow("SELECT VERSION(), @@global.read_only").Scan(&version, &readOnly); err != nil {
			t.Fatal(err)
		}
		versions[n.Name] = version
		if !readOnly {
			writable = append(writable, n.Name)
		}
	}
	return versions, writable
}

// held is the reason of that code for which the cluster does not move.
func held(st api.ClusterStatus, code string) (campaign.Reason, bool) {
	if st.Decision == nil || st.Decision.Hold == nil {
		return campaign.Reason{}, false
	}
	i := slices.IndexFunc(st.Decision.Hold.Reasons, func(r campaign.Reason) bool { return r.Code == code })
	if i < 0 {
		return campaign.Reason{}, false
	}
	return st.Decision.Hold.Reasons[i], true
}

// TestInPlaceCampaign raises two clusters where they are, by a campaign's file, a server and a supervisor in processes of their own, under
// load: the replicas, the primary by a switch, the way back of the switch rehearsed on one cluster before the other may begin it, and the
// old primaries last. Nobody sees an error, and no write is lost or there twice.
func TestInPlaceCampaign(t *testing.T) {
	t.Parallel()
	s := tlsSite(t)
	nodes := newOwnNodes(t, s)
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	var stock, orders *ownCluster
	var g errgroup.Group
	g.Go(func() (err error) { stock, err = nodes.cluster(ctx, "stock", 3, true); return err })
	g.Go(func() (err error) { orders, err = nodes.cluster(ctx, "orders", 2, false); return err })
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	all := []*ownCluster{stock, orders}
	hosts := map[string]string{}
	run, stop := context.WithCancel(ctx)
	t.Cleanup(stop)
	var clients errgroup.Group
	for _, c := range all {
		host, _, err := net.SplitHostPort(c.Cells[0].Gateway.Address)
		if err != nil {
			t.Fatal(err)
		}
		hosts[c.Record] = host
		processtest.Until(t, 30*time.Second, "the gateway of "+c.Name+" follows the primary", func() bool {
			return answers(ctx, c.Cells[0].Gateway.Address) && (c.Cells[0].Gateway.ReadOnly == "" || answers(ctx, c.Cells[0].Gateway.ReadOnly))
		})
		clients.Go(func() error { return c.writers.Run(run) })
		if c.Cells[0].Gateway.ReadOnly != "" {
			clients.Go(func() error { return c.read(run) })
			clients.Go(func() error { return c.read(run) })
		}
	}
	dns := processtest.BIND(t, "db.example.", hosts)

	files := []string{put(t, 0o644, fleetYAML(all...), s.dir, "fleet.yaml"), put(t, 0o644, `kind: Campaign
version: 1
name: raise
strategy: inplace
product: mariadb
from: 10.11
to: 11.8
environments: [qa]
cells: {from: blue}
rehearse: switch-primary
schedule: {always: true, every: 1s}
soak: {stages: {upgrade-replicas: 1s, switch-primary: 1s}, environments: 0s}
switch: {min_interval: 0s}
`, s.dir, "campaign.yaml")}
	operate := func(code int, args ...string) string {
		t.Helper()
		p := windlass(t, append(args, "--server", s.url, "--ca-file", s.ca, "--token-file", filepath.Join(s.dir, "operator"))...)
		if <-p.done; p.code != code {
			t.Fatalf("%s exits with %d: %s", strings.Join(args, " "), p.code, p.text())
		}
		return p.text()
	}
	t.Log(operate(0, "apply", "-f", files[0], "-f", files[1]))
	agent := windlass(t, "supervisor", "--config", put(t, 0o644, fmt.Sprintf(`kind: Supervisor
version: 1
name: qa-1
environment: qa
watch_every: 1s
server: {url: %q, token_file: %q, ca_file: %q}
mysql: {admin: {user: %s, password_file: secrets/admin}}
gateways: {admin_token_file: secrets/gateway-token, monitor_user: %s}
dns: {server: %q, zone: db.example., key_file: %q}
%s`, s.url, s.token(t, "supervisor", "qa", "qa-1"), s.ca, processtest.AdminUser, processtest.MonitorUser, dns.Address(), dns.KeyFile(), nodes.yaml), s.dir, "qa-1.yaml"))

	now := map[string]api.ClusterStatus{}
	t.Cleanup(func() {
		if t.Failed() {
			for name, st := range now {
				t.Logf("%s: progress %+v, decision %+v", name, st.Progress, st.Decision)
			}
			t.Logf("the supervisor said: %s", agent.text())
		}
	})
	began := time.Now()
	until := func(what string, ok func() bool) {
		t.Helper()
		processtest.Until(t, 4*time.Minute, what, func() bool {
			for _, c := range all {
				st, err := s.operator.Cluster(ctx, c.Ref())
				if err != nil {
					t.Fatal(err)
				}
				if st.Progress != nil && st.Progress.Failure != nil {
					t.Fatalf("%s stops: %+v", c.Name, st.Progress.Failure)
				}
				now[c.Name] = st
			}
			if agent.ended() {
				t.Fatal("the supervisor ended")
			}
			return ok()
		})
		t.Logf("%v: %s", time.Since(began).Round(100*time.Millisecond), what)
	}
	at := func(c *ownCluster, stage string) bool {
		p := now[c.Name].Progress
		return p != nil && p.Stage == stage && p.Action == nil
	}

	// One goes through the switch; the other waits before it, and says for what.
	first, second := stock, orders
	until("one cluster has a new primary, and the other waits for the rehearsal", func() bool {
		if at(orders, strategy.StageSwitchPrimary) {
			first, second = orders, stock
		}
		_, wait := held(now[second.Name], campaign.CodeRehearsal)
		_, stays := held(now[first.Name], campaign.CodeRehearsal)
		return at(first, strategy.StageSwitchPrimary) && at(second, strategy.StageUpgradeReplicas) && wait && stays
	})
	if r, _ := held(now[second.Name], campaign.CodeRehearsal); !strings.Contains(r.Message, first.Ref().String()+" goes first") {
		t.Errorf("%s waits: %+v", second.Name, r)
	}
	if r, _ := held(now[first.Name], campaign.CodeRehearsal); !strings.Contains(r.Release, "windlass rollback "+first.Ref().String()+" --to upgrade-replicas") {
		t.Errorf("%s waits: %+v", first.Name, r)
	}
	if why := operate(cli.ExitFinding, "why", second.Ref().String()); !strings.Contains(why, "has not been rehearsed") {
		t.Errorf("why says: %s", why)
	}
	old := first.Cells[0].Nodes[0].Name
	if versions, writable := versionsOf(t, first); len(writable) != 1 || writable[0] == old || !strings.HasPrefix(versions[writable[0]], "11.8.") || !strings.HasPrefix(versions[old], "10.11.") {
		t.Errorf("after the switch: %v, %v take writes", versions, writable)
	}
	if versions, writable := versionsOf(t, second); len(writable) != 1 || writable[0] != second.Cells[0].Nodes[0].Name || !strings.HasPrefix(versions[writable[0]], "10.11.") {
		t.Errorf("the one that waits: %v, %v take writes", versions, writable)
	}
	acked := first.writers.Report().Acked
	processtest.Until(t, 30*time.Second, "writes on the new version, which the way back may not lose", func() bool { return first.writers.Report().Acked > acked+20 })

	t.Log(operate(0, "rollback", first.Ref().String(), "--to", strategy.StageUpgradeReplicas, "--why", "rehearsal", "--yes"))
	until("the primary is back on the old version, and the other cluster may go", func() bool {
		_, wait := held(now[second.Name], campaign.CodeRehearsal)
		return at(first, strategy.StageUpgradeReplicas) && !wait
	})
	if versions, writable := versionsOf(t, first); len(writable) != 1 || writable[0] != old || !strings.HasPrefix(versions[old], "10.11.") {
		t.Errorf("after the way back: %v, %v take writes", versions, writable)
	}
	t.Log(operate(0, "resume", first.Ref().String(), "--why", "the way back works", "--yes"))
	until("both clusters have arrived", func() bool {
		return at(first, strategy.StageUpgradeLast) && at(second, strategy.StageUpgradeLast)
	})
	stop()
	if err := clients.Wait(); err != nil {
		t.Fatal(err)
	}

	for line := range strings.Lines(agent.text()) {
		if strings.Contains(line, "msg=switched ") {
			t.Log(strings.TrimSpace(line))
		}
	}
	for _, c := range all {
		cell, _ := now[c.Name].Cluster.Cell("blue")
		if cell.Version != "11.8" || len(cell.Nodes) != len(c.Cells[0].Nodes) || slices.ContainsFunc(cell.Nodes, func(n fleet.Node) bool { return n.Version != "" }) {
			t.Errorf("the inventory has %+v", cell)
		}
		versions, writable := versionsOf(t, c)
		for name, v := range versions {
			if !strings.HasPrefix(v, "11.8.") || len(writable) != 1 {
				t.Errorf("%s: %s runs %s, %v take writes", c.Name, name, v, writable)
			}
			if kept, err := filepath.Glob(filepath.Join(nodes.root, name, "kept-*")); err != nil || len(kept) > 0 {
				t.Errorf("copies are left: %v, %v", kept, err)
			}
		}
		if err := ledger(ctx, c, writable[0]); err != nil {
			t.Errorf("%s: %v", c.Name, err)
		}
		r := c.writers.Report()
		t.Logf("%s: %+v, %d reads of the read-only endpoint", c.Name, r, c.reads.Load())
		if r.Errors > 0 || r.ForcedReconnects > 0 || (c.reads.Load() == 0) != (cell.Gateway.ReadOnly == "") {
			t.Errorf("%s: %+v, %d reads of the read-only endpoint", c.Name, r, c.reads.Load())
		}
	}
}

// answers tells whether an application gets an answer at a gateway's endpoint.
func answers(ctx context.Context, address string) bool {
	db, err := sql.Open("mysql", processtest.DSN(address, processtest.AppUser, processtest.AppPassword, "app"))
	if err != nil {
		return false
	}
	defer db.Close()
	return db.PingContext(ctx) == nil
}

// ledger holds what was promised to the writers against every node.
func ledger(ctx context.Context, c *ownCluster, primary string) error {
	open := func(n fleet.Node) *sql.DB {
		db, err := sql.Open("mysql", processtest.DSN(n.Address, processtest.AdminUser, processtest.AdminPassword, "app"))
		if err != nil {
			panic(err) // the DSN is ours
		}
		return db
	}
	var position string
	for _, n := range c.Cells[0].Nodes {
		if n.Name == primary {
			db := open(n)
			err := db.QueryRowContext(ctx, "SELECT @@global.gtid_binlog_pos").Scan(&position)
			if err = errors.Join(err, db.Close()); err != nil {
				return err
			}
		}
	}
	for _, n := range c.Cells[0].Nodes {
		db := open(n)
		defer db.Close()
		if n.Name != primary {
			var late int
			if err := db.QueryRowContext(ctx, "SELECT MASTER_GTID_WAIT(?, 30)", position).Scan(&late); err != nil || late != 0 {
				return fmt.Errorf("%s did not reach %s: %d, %w", n.Name, position, late, err)
			}
		}
		if r, err := c.writers.Verify(ctx, db); err != nil || r.Lost > 0 || r.Duplicate > 0 || r.Acked == 0 {
			return fmt.Errorf("%s: %+v, %w", n.Name, r, err)
		}
	}
	return nil
}
