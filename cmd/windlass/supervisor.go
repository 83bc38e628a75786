package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/datacheck"
	"github.com/windlass-db/windlass/internal/driver/dns"
	gatewaydriver "github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/seed"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// supervisorFile is the shape of a supervisor's document. Files that it names hold one secret each and have mode 0600;
// they never leave the environment.
type supervisorFile struct {
	Name        string `yaml:"name" rule:"required name" doc:"the supervisor's name, unique in its environment" example:"prod-1"`
	Environment string `yaml:"environment" rule:"required name" doc:"the one environment that it works in" example:"prod"`
	Slots       int    `yaml:"slots" rule:"min=0 max=1000" doc:"actions at once; 0: 4" example:"4"`
	Server      struct {
		URL       string `yaml:"url" rule:"required url" doc:"base URL of the server" example:"https://windlass.example:8480"`
		TokenFile string `yaml:"token_file" rule:"required" doc:"file with the supervisor's token" example:"/etc/windlass/token"`
		CAFile    string `yaml:"ca_file" doc:"PEM file that the server's certificate must come from" example:"/etc/windlass/ca.pem"`
	} `yaml:"server" rule:"required" doc:"where the work comes from"`
	MySQL struct {
		Admin       accountFile `yaml:"admin" rule:"required" doc:"the supervisors' own account on every node"`
		Replication accountFile `yaml:"replication" doc:"the account that replicas log in with; absent: admin"`
		Known       []string    `yaml:"known_users" doc:"accounts that may stay connected to a primary through a switch: monitoring, backup" example:"[monitor]"`
	} `yaml:"mysql" rule:"required" doc:"how nodes are reached"`
	Gateways struct {
		AdminTokenFile string `yaml:"admin_token_file" rule:"required" doc:"file with the token of the gateways' admin API" example:"/etc/windlass/gateway-token"`
	} `yaml:"gateways" rule:"required" doc:"how gateways are reached"`
	DNS struct {
		Server  string `yaml:"server" rule:"required hostport" doc:"the zone's primary name server" example:"127.0.0.1:53"`
		Zone    string `yaml:"zone" rule:"required fqdn" doc:"the zone of the clusters' records" example:"db.example."`
		KeyFile string `yaml:"key_file" rule:"required" doc:"TSIG key in BIND's form" example:"/etc/windlass/ddns.key"`
	} `yaml:"dns" rule:"required" doc:"where the clusters' records are kept"`
	Local struct {
		Root                string   `yaml:"root" rule:"required" doc:"folder of all nodes and gateways" example:"/var/lib/windlass"`
		InitSQLFile         string   `yaml:"init_sql_file" rule:"required" doc:"statements, one on each line, that make the accounts of a new node" example:"/etc/windlass/accounts.sql"`
		GatewayProgram      string   `yaml:"gateway_program" rule:"required" doc:"path of windlass-gateway" example:"/usr/bin/windlass-gateway"`
		GatewayPort         int      `yaml:"gateway_port" rule:"required min=1024 max=65000" doc:"port of every gateway's writer endpoint" example:"13306"`
		GatewayAccountsFile string   `yaml:"gateway_accounts_file" rule:"required" doc:"who may log in at the gateways" example:"/etc/windlass/accounts.yaml"`
		MonitorUser         string   `yaml:"monitor_user" rule:"required" doc:"the account by which gateways ask servers for their role" example:"monitor"`
		MonitorPasswordFile string   `yaml:"monitor_password_file" rule:"required" doc:"its password" example:"/etc/windlass/monitor"`
		NodeOptions         []string `yaml:"node_options" doc:"more server options of every node" example:"[innodb-buffer-pool-size=64M]"`
	} `yaml:"local" rule:"required" doc:"makes nodes and gateways on this machine"`
}

type accountFile struct {
	User         string `yaml:"user" doc:"the account's name" example:"windlass"`
	PasswordFile string `yaml:"password_file" doc:"file with its password" example:"/etc/windlass/password"`
}

func supervisorKind() config.Kind {
	return config.Define("Supervisor", "one environment's agent: where its work comes from, and how it reaches nodes, gateways and records", nil,
		func(f *supervisorFile, _ *config.Report) supervisorFile { return *f })
}

func supervisorCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "supervisor --config FILE", Short: "Run the agent of one environment",
		Long: "Pulls actions of its environment from the server and runs them. Several supervisors of one environment share the work.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSupervisor(cmd.Context(), file) },
	}
	cmd.Flags().StringVar(&file, "config", "supervisor.yaml", "the supervisor's `FILE`")
	return cmd
}

// storage is the mysql driver with the seeder: together they are bluegreen's Storage.
type storage struct {
	*mysql.Driver
	*seed.Seeder
}

func runSupervisor(ctx context.Context, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return cli.Failf(cli.ExitUsage, "name the supervisor's file with --config", "%w", err)
	}
	f, _, err := config.One[supervisorFile](config.Source{Name: file, Text: text}, supervisorKind())
	if err != nil {
		return cli.Failf(cli.ExitUsage, "", "%w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	dir := filepath.Dir(file)
	secretAt := func(path string) (string, error) { return readSecret(resolve(dir, path)) }

	token, err := secretAt(f.Server.TokenFile)
	if err != nil {
		return err
	}
	client, err := api.NewClient(f.Server.URL, token, f.Server.CAFile)
	if err != nil {
		return cli.Failf(cli.ExitUsage, "", "%w", err)
	}
	ports, err := drivers(f, dir, secretAt, log)
	if err != nil {
		return err
	}
	handlers, err := engine.NewHandlers(bluegreen.Handlers(ports)...)
	if err != nil {
		return err
	}
	log.Info("supervisor runs", "env", f.Environment, "name", f.Name, "server", f.Server.URL)
	return supervisor.New(supervisor.Config{
		Name: f.Name, Env: f.Environment, Server: client.Agent(f.Environment), Handlers: handlers, Slots: f.Slots, Log: log, Now: time.Now,
		Observer:   supervisor.Looks{Storage: ports.Storage, Switcher: ports.Switcher, Gateways: ports.Gateways, Records: ports.Records, Now: time.Now},
		WatchEvery: 2 * time.Second,
		Engine:     engine.Options{OnLease: bluegreen.Settle(ports)}, // a primary that was restarted boots read-only (trap 2)
	}).Run(ctx)
}

// drivers opens every capability that the steps need.
func drivers(f supervisorFile, dir string, secretAt func(string) (string, error), log *slog.Logger) (bluegreen.Ports, error) {
	account := func(a accountFile) mysql.Account {
		return mysql.Account{User: a.User, Password: func(context.Context) (mysql.Secret, error) {
			s, err := secretAt(a.PasswordFile)
			return mysql.Secret(s), err
		}}
	}
	gateways := gatewaydriver.New(resolve(dir, f.Gateways.AdminTokenFile), time.Now)
	cfg := mysql.Config{Admin: account(f.MySQL.Admin), Log: log, Now: time.Now, Known: mysql.Known{Users: append([]string{f.Local.MonitorUser}, f.MySQL.Known...)},
		Gateway:       func(g fleet.Gateway) (mysql.Gateway, error) { return gateways.Client(g) },
		BootsReadOnly: func(context.Context, fleet.Node) (bool, error) { return true, nil }, // every node of the local provisioner's does
	}
	if f.MySQL.Replication.User != "" {
		cfg.Replication = account(f.MySQL.Replication)
	}
	db, err := mysql.New(cfg)
	if err != nil {
		return bluegreen.Ports{}, err
	}
	access := func(_ context.Context, n fleet.Node) (*driver.Config, error) {
		password, err := secretAt(f.MySQL.Admin.PasswordFile)
		if err != nil {
			return nil, err
		}
		c := driver.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", n.Address, f.MySQL.Admin.User, password
		return c, nil
	}
	nodes := local.New(local.Config{Root: resolve(dir, f.Local.Root), InitSQLFile: resolve(dir, f.Local.InitSQLFile), GatewayProgram: f.Local.GatewayProgram, GatewayPort: f.Local.GatewayPort,
		AccountsFile: resolve(dir, f.Local.GatewayAccountsFile), MonitorUser: f.Local.MonitorUser, MonitorPasswordFile: resolve(dir, f.Local.MonitorPasswordFile),
		AdminTokenFile: resolve(dir, f.Gateways.AdminTokenFile), NodeOptions: f.Local.NodeOptions, Progress: func(s string) { log.Info("build", "message", s) }})
	seeder, err := seed.New(seed.Config{Access: access, Mark: func(ctx context.Context, r bluegreen.SeedRequest) (string, error) {
		s, err := nodes.Observe(ctx, bluegreen.Resource{ID: r.Node.Name})
		return s.Mark, err
	}, Reserved: []string{f.Local.MonitorUser}, Log: log, Now: time.Now})
	if err != nil {
		return bluegreen.Ports{}, err
	}
	checker, err := datacheck.New(datacheck.Config{Access: access, Reserved: []string{f.MySQL.Admin.User, f.Local.MonitorUser}, Log: log, Now: time.Now})
	if err != nil {
		return bluegreen.Ports{}, err
	}
	return bluegreen.Ports{
		Provisioner: nodes,
		Storage:     storage{db, seeder},
		Switcher:    db,
		DataChecker: checker,
		Gateways:    gateways,
		Records:     &dns.Driver{Servers: map[string]dns.Server{f.Environment: {Address: f.DNS.Server, Zone: f.DNS.Zone, KeyFile: resolve(dir, f.DNS.KeyFile)}}},
	}, nil
}

func resolve(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// readSecret reads a file that only its owner may read.
func readSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", cli.Failf(cli.ExitUsage, "chmod 600 "+path, "%s holds a secret and can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", errors.New(path + " is empty")
	}
	return s, nil
}
