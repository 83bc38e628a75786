package demo

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"
	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/secret"
)

// The demo's fleet: two environments with three clusters in each.
var (
	environments = []string{"qa", "prod"}
	clusterNames = []string{"orders", "billing", "stock"}
)

const (
	zone       = "windlass.test."
	blueMark   = "demo" // the blue cells are the demo's own, so that tear-down deletes them
	schema     = "shop"
	adminUser  = "windlass"
	appUser    = "app"
	monitor    = "monitor"
	replayUser = "replay" // may read, and nothing else
)

// place is where a demo keeps its things, and what it has made of them.
type place struct {
	control         // its name server, too, is one of its processes
	gateway  string // path of windlass-gateway
	port     int    // of every gateway
	admin    string // passwords
	app      string
	monitor  string
	replay   string
	dns      process.BIND
	local    *local.Provisioner
	clusters []*cluster
}

// cluster is one of the demo's clusters and the load on it.
type cluster struct {
	fleet.Cluster
	load *load.Load
}

// prepare makes the secrets and the provisioner. Node options are the demo's: durable, and small.
func (p *place) prepare(progress func(string)) error {
	for _, d := range []string{"secrets", "nodes", "server"} {
		if err := os.MkdirAll(filepath.Join(p.dir, d), 0o700); err != nil {
			return err
		}
	}
	p.admin, p.app, p.monitor, p.replay = secret.Password(), secret.Password(), secret.Password(), secret.Password()
	accounts := fmt.Sprintf(`CREATE USER '%[1]s'@'%%' IDENTIFIED BY '%[2]s';
GRANT ALL PRIVILEGES ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;
CREATE USER '%[3]s'@'%%' IDENTIFIED BY '%[4]s';
GRANT PROCESS, REPLICATION CLIENT, SLAVE MONITOR, CONNECTION ADMIN ON *.* TO '%[3]s'@'%%';
CREATE USER '%[5]s'@'%%' IDENTIFIED BY '%[6]s';
GRANT SELECT, SLAVE MONITOR ON *.* TO '%[5]s'@'%%';`, adminUser, p.admin, monitor, p.monitor, replayUser, p.replay)
	gatewayAccounts, err := yaml.Marshal(map[string]any{"accounts": []map[string]string{{"user": appUser, "password": p.app}}})
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"admin": p.admin, "monitor": p.monitor, "replay": p.replay, "gateway-token": secret.Password() + secret.Password(), "accounts.sql": accounts, "accounts.yaml": string(gatewayAccounts)} {
		if _, err := p.secret(name, value); err != nil {
			return err
		}
	}
	p.local = local.New(p.provisioner(progress))
	return nil
}

func (p *place) provisioner(progress func(string)) local.Config {
	s := func(name string) string { return filepath.Join(p.dir, "secrets", name) }
	return local.Config{Root: filepath.Join(p.dir, "nodes"), InitSQLFile: s("accounts.sql"), GatewayProgram: p.gateway, GatewayPort: p.port, AccountsFile: s("accounts.yaml"),
		MonitorUser: monitor, MonitorPasswordFile: s("monitor"), AdminTokenFile: s("gateway-token"), CaptureEvery: time.Second, Progress: progress}
}

// startFleet starts name server, blue cells and gateways, a few at a time.
func (p *place) startFleet(ctx context.Context, say func(string)) error {
	hosts := map[string]string{}
	for _, env := range environments {
		for _, name := range clusterNames {
			p.clusters = append(p.clusters, &cluster{Cluster: fleet.Cluster{Name: name, Env: env, Product: "mariadb", Record: fmt.Sprintf("%s.%s.%s", name, env, zone)}})
		}
	}
	g, run := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, c := range p.clusters {
		g.Go(func() error {
			if err := p.startBlue(run, c); err != nil {
				return fmt.Errorf("start %s: %w", c.Ref(), err)
			}
			say(fmt.Sprintf("%s: primary, replica and gateway run 10.11", c.Ref()))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, c := range p.clusters {
		host, _, err := net.SplitHostPort(c.Cells[0].Gateway.Address)
		if err != nil {
			return err
		}
		hosts[c.Record] = host
	}
	b, err := builds.Fetch(ctx, "bind9", builds.Options{Progress: say})
	if err != nil {
		return err
	}
	p.dns = process.BIND{Build: b, Dir: filepath.Join(p.dir, "bind"), Port: freePort(), Zone: zone, Hosts: hosts}
	if err := p.dns.Start(ctx); err != nil {
		return fmt.Errorf("start the name server: %w", err)
	}
	spec, err := p.dns.Spec()
	if err != nil {
		return err
	}
	p.processes = append(p.processes, spec)
	return nil
}

// startBlue makes a cluster's old cell: primary, replica, gateway, and the application's account and tables.
func (p *place) startBlue(ctx context.Context, c *cluster) error {
	cell := fleet.Cell{Name: "blue", Version: "10.11", Owner: blueMark}
	var addresses []string
	for i := range 2 {
		id := fmt.Sprintf("%s-%s-blue-%d", c.Env, c.Name, i+1)
		s, err := p.local.Create(ctx, bluegreen.Resource{ID: id, Kind: "node", Env: c.Env, Cluster: c.Name, Cell: "blue", Product: "mariadb", Version: "10.11", Mark: blueMark})
		if err != nil {
			return err
		}
		cell.Nodes = append(cell.Nodes, *s.Node)
		addresses = append(addresses, s.Node.Address)
	}
	if err := p.replicate(ctx, cell.Nodes[0], cell.Nodes[1]); err != nil {
		return err
	}
	g, err := p.local.Create(ctx, bluegreen.Resource{ID: fmt.Sprintf("%s-%s-blue-gateway", c.Env, c.Name), Kind: "gateway", Env: c.Env, Cluster: c.Name, Cell: "blue", Mark: blueMark, Local: addresses, Servers: addresses})
	if err != nil {
		return err
	}
	cell.Gateway = g.Gateway
	c.Cells = []fleet.Cell{cell}
	return nil
}

// replicate makes the first node the primary, gives it the application's account and tables, and lets the second follow it.
func (p *place) replicate(ctx context.Context, primary, replica fleet.Node) error {
	db, err := p.open(primary.Address, "")
	if err != nil {
		return err
	}
	defer db.Close()
	_, port, err := net.SplitHostPort(primary.Address)
	if err != nil {
		return err
	}
	statements := []string{
		"SET GLOBAL read_only=0", "CREATE DATABASE IF NOT EXISTS " + schema + " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
		fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s'", appUser, p.app),
		fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO '%s'@'%%'", schema, appUser),
	}
	for _, table := range load.Schema {
		statements = append(statements, "USE "+schema, table)
	}
	if err := run(ctx, db, statements...); err != nil {
		return err
	}
	r, err := p.open(replica.Address, "")
	if err != nil {
		return err
	}
	defer r.Close()
	return run(ctx, r, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%s, MASTER_USER='%s', MASTER_PASSWORD='%s', MASTER_USE_GTID=slave_pos, MASTER_SSL=0, MASTER_CONNECT_RETRY=1", port, adminUser, p.admin), "START SLAVE")
}

func (p *place) open(address, schema string) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.DBName = "tcp", address, adminUser, p.admin, schema
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 10*time.Second, 2*time.Minute, time.Minute
	c, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// run executes statements on one connection. Errors never show the statement: it may hold a password.
func run(ctx context.Context, db *sql.DB, statements ...string) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	for i, s := range statements {
		if _, err := c.ExecContext(ctx, s); err != nil {
			return errors.Join(fmt.Errorf("statement %d of %d: %w", i+1, len(statements), err), c.Close())
		}
	}
	return c.Close()
}

// stop ends everything that the demo and its supervisors started, and nothing else.
func (p *place) stop(ctx context.Context) error {
	errs := []error{p.control.stop(ctx)}
	if p.local != nil {
		errs = append(errs, p.local.StopAll(ctx))
	}
	return errors.Join(errs...)
}
