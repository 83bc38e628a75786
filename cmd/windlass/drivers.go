package main

import (
	"context"
	"log/slog"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/driver/dns"
	"github.com/windlass-db/windlass/internal/driver/exec"
	gatewaydriver "github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/replay"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/inplace"
	"github.com/windlass-db/windlass/internal/seed"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

// storage is the mysql driver with the seeder: together they are bluegreen's Storage.
type storage struct {
	*mysql.Driver
	*seed.Seeder
}

var _ bluegreen.Resumer = storage{} // looked for by its type: without it an undo would leave an applier stopped

// drivers opens every capability that the steps need.
func drivers(f settings.File, log *slog.Logger) (bluegreen.Ports, inplace.Ports, error) {
	account := func(a settings.Account) mysql.Account {
		return mysql.Account{User: a.User, Password: func(context.Context) (mysql.Secret, error) {
			s, err := settings.Secret(a.PasswordFile)
			return mysql.Secret(s), err
		}}
	}
	nodes, err := provisioner(f, log)
	if err != nil {
		return bluegreen.Ports{}, inplace.Ports{}, err
	}
	gateways := gatewaydriver.New(f.Gateways.AdminTokenFile, time.Now)
	cfg := mysql.Config{NoReopen: f.NoReopen, Admin: account(f.MySQL.Admin), Log: log, Now: time.Now, Known: mysql.Known{Users: append([]string{f.Gateways.MonitorUser}, f.MySQL.Known...)},
		Gateway: func(g fleet.Gateway) (mysql.Gateway, error) { return gateways.Client(g) },
	}
	if f.Local != nil {
		cfg.BootsReadOnly = func(ctx context.Context, n fleet.Node) (bool, error) { // every node that the local provisioner has made does
			s, err := nodes.Observe(ctx, bluegreen.Resource{ID: n.Name, Kind: "node"})
			if err == nil && !s.Exists {
				err = mysql.ErrNotKnown // somebody else has made it
			}
			return s.Exists, err
		}
	}
	if f.MySQL.Replication != nil {
		cfg.Replication = account(*f.MySQL.Replication)
	}
	db, err := mysql.New(cfg)
	if err != nil {
		return bluegreen.Ports{}, inplace.Ports{}, err
	}
	access := func(_ context.Context, n fleet.Node) (*driver.Config, error) {
		password, err := settings.Secret(f.MySQL.Admin.PasswordFile)
		if err != nil {
			return nil, err
		}
		c := driver.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, f.MySQL.Admin.User, password
		return c, nil
	}
	seeder, err := seed.New(seed.Config{Access: access, Mark: func(ctx context.Context, r bluegreen.SeedRequest) (string, error) {
		s, err := nodes.Observe(ctx, bluegreen.Resource{ID: r.Node.Name, Kind: "node", Env: r.Cluster.Env, Cluster: r.Cluster.Name, Cell: r.ToCell})
		return s.Mark, err
	}, Limit: f.Seed.Bytes(), Writers: f.Seed.Writers, Reserved: []string{f.Gateways.MonitorUser}, Log: log, Now: time.Now})
	if err != nil {
		return bluegreen.Ports{}, inplace.Ports{}, err
	}
	checker, err := datacheck.New(datacheck.Config{Access: access, Reserved: []string{f.MySQL.Admin.User, f.Gateways.MonitorUser}, Log: log, Now: time.Now})
	if err != nil {
		return bluegreen.Ports{}, inplace.Ports{}, err
	}
	ports := bluegreen.Ports{
		Provisioner: nodes,
		Storage:     storage{db, seeder},
		Switcher:    db,
		DataChecker: checker,
		Gateways:    gateways,
		Records:     &dns.Driver{Servers: map[string]dns.Server{f.Environment: {Address: f.DNS.Server, Zone: f.DNS.Zone, KeyFile: f.DNS.KeyFile}}},
	}
	if f.Replay != nil {
		r, err := replays(*f.Replay, access, gateways, db, log)
		if err != nil {
			return bluegreen.Ports{}, inplace.Ports{}, err
		}
		ports.Capturer, ports.Replayer = r, r
	}
	return ports, inplace.Ports{Nodes: nodes, Storage: db, Switcher: db, Gateways: gateways}, nil
}

// replays is the driver of replays, if the file says where captures are.
func replays(f settings.Replay, control node.Access, gateways *gatewaydriver.Driver, db *mysql.Driver, log *slog.Logger) (*replay.Driver, error) {
	cfg := replay.Config{Store: f.Store, Results: f.Results, Control: control, Gateway: gateways.Client, Observe: db.Observe, Log: log, Now: time.Now}
	if cfg.Results == "" {
		cfg.Results = f.Store
	}
	cfg.Query = func(ctx context.Context, n fleet.Node) (*driver.Config, error) {
		c, err := control(ctx, n)
		if err != nil {
			return nil, err
		}
		if c.Passwd, err = settings.Secret(f.Account.PasswordFile); err != nil {
			return nil, err
		}
		c.User = f.Account.User
		return c, nil
	}
	if f.KeyFile != "" {
		cfg.Key = func() (*capture.Key, error) {
			text, err := settings.Secret(f.KeyFile)
			if err != nil {
				return nil, err
			}
			return capture.ParseKey(text)
		}
	}
	return replay.New(cfg)
}

// makesNodes makes nodes, and changes their version where they are.
type makesNodes interface {
	bluegreen.Provisioner
	inplace.Nodes
}

// provisioner is the one that the file chooses.
func provisioner(f settings.File, log *slog.Logger) (makesNodes, error) {
	if e := f.Exec; e != nil {
		var env []string
		for name, value := range e.Env {
			env = append(env, name+"="+value)
		}
		p, err := exec.New(exec.Config{Command: e.Command, Dir: e.Dir, Env: env, Observe: e.ObserveTimeout, Change: e.ChangeTimeout, Grace: e.Grace, Log: log,
			Secrets: func() (map[string]string, error) { return secretEnvironment(e.SecretEnv) }})
		if err != nil {
			return nil, cli.Failf(cli.ExitUsage, "look at exec.command in the supervisor's file", "%w", err)
		}
		return p, nil
	}
	l := f.Local
	key := ""
	if f.Replay != nil {
		key = f.Replay.KeyFile
	}
	return local.New(local.Config{CaptureEvery: l.CaptureEvery, CaptureKeyFile: key, Root: l.Root, InitSQLFile: l.InitSQLFile, GatewayProgram: l.GatewayProgram, GatewayPort: l.GatewayPort,
		AccountsFile: l.GatewayAccountsFile, MonitorUser: f.Gateways.MonitorUser, MonitorPasswordFile: l.MonitorPasswordFile,
		AdminTokenFile: f.Gateways.AdminTokenFile, NodeOptions: l.NodeOptions, Progress: func(s string) { log.Info("build", "message", s) }}), nil
}

// secretEnvironment reads the variables' files; a rotation needs no restart.
func secretEnvironment(files map[string]string) (map[string]string, error) {
	values := make(map[string]string, len(files))
	for name, path := range files {
		s, err := settings.Secret(path)
		if err != nil {
			return nil, err
		}
		values[name] = s
	}
	return values, nil
}
