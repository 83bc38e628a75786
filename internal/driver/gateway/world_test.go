package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/gateway"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// world is a cluster of two cells, each with one server and a gateway: MariaDB 10.11 in blue, 11.8 in green.
type world struct {
	t         testing.TB // whose end ends the servers and gateways
	c         fleet.Cluster
	servers   map[string]*processtest.Server // by cell
	processes map[string]*process            // gateways, by cell
	configs   map[string]string
	d         *gateway.Driver
	token     string // file
	term      int64
}

const token = "a-token-of-the-tests"

// newWorld starts the servers, blue's as the primary, and the gateways.
func newWorld(t testing.TB, options ...string) *world {
	t.Helper()
	w := &world{t: t, servers: map[string]*processtest.Server{}, processes: map[string]*process{}, configs: map[string]string{}, term: 1}
	blue, green := processtest.Pair(t, "10.11", "11.8", processtest.With(append(options, "character-set-server=utf8mb4", "collation-server=utf8mb4_general_ci")...))
	green.Exec(t, "SET GLOBAL character_set_collations=''")
	blue.Exec(t, "CREATE DATABASE gw CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
	blue.Exec(t, "CREATE TABLE gw.writes (k VARCHAR(64) NOT NULL PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB")
	green.CatchUp(t, blue)
	w.servers["blue"], w.servers["green"] = blue, green
	w.token = secret(t, "token", token)
	w.d = gateway.New(w.token, time.Now)
	w.c = fleet.Cluster{Name: "orders", Env: "qa", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue", Version: "10.11"}, {Name: "green", Version: "11.8", Owner: "test"}}}
	for i := range w.c.Cells {
		cell := &w.c.Cells[i]
		cell.Nodes = []fleet.Node{{Name: cell.Name + "-1", Address: w.servers[cell.Name].Address()}}
		w.start(cell.Name)
		cell.Gateway = &fleet.Gateway{Name: cell.Name + "-gateway", Address: w.processes[cell.Name].writer, Admin: "http://" + w.processes[cell.Name].admin}
	}
	for _, cell := range w.c.Cells {
		w.untilOpen(t, *cell.Gateway, blue.Address())
	}
	return w
}

// start runs the gateway of a cell; again, it has the addresses that it had.
func (w *world) start(cell string) {
	t := w.t
	t.Helper()
	var listen [3]string
	path := w.configs[cell]
	if p := w.processes[cell]; p != nil {
		listen = [3]string{p.writer, p.readOnly, p.admin}
	} else {
		for i := range listen {
			listen[i] = fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
		}
		path = filepath.Join(t.TempDir(), cell+".yaml")
		w.configs[cell] = path
	}
	text := fmt.Sprintf("kind: Gateway\nversion: 1\nname: %s-gateway\nlisten: %s\nread_only_listen: %s\nadmin:\n  listen: %s\n  token_file: %s\naccounts_file: %s\nmonitor:\n  user: %s\n  password_file: %s\n  interval: 100ms\nservers:\n  local: [%q]\n  all: [%q, %q]\nstate_file: %s.state\n",
		cell, listen[0], listen[1], listen[2], w.token, secret(t, "accounts.yaml", fmt.Sprintf("accounts:\n  - user: %s\n    password: %s\n", processtest.AppUser, processtest.AppPassword)),
		processtest.MonitorUser, secret(t, "monitor", processtest.MonitorSecret), w.servers[cell].Address(), w.servers["blue"].Address(), w.servers["green"].Address(), path)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w.processes[cell] = startProcess(t, path)
}

func secret(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// untilOpen waits until the gateway sends writes to the address.
func (w *world) untilOpen(t testing.TB, g fleet.Gateway, address string) {
	t.Helper()
	processtest.Until(t, 10*time.Second, g.Name+" routes to "+address, func() bool {
		all, err := w.d.Observe(bg(t), w.c)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range all {
			if o.Gateway == g.Name && o.Primary == address && !o.Held {
				return true
			}
		}
		return false
	})
}

// storage is the mysql driver over the same gateways.
func (w *world) storage(t testing.TB, log *slog.Logger) *mysql.Driver {
	t.Helper()
	d, err := mysql.New(mysql.Config{
		Admin:         mysql.Account{User: "root-of-windlass", Password: mysql.Fixed("supervisor-secret")},
		Replication:   mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)},
		Gateway:       func(g fleet.Gateway) (mysql.Gateway, error) { return w.d.Client(g) },
		Known:         mysql.Known{Users: []string{processtest.AdminUser}}, // the test's own pools
		BootsReadOnly: func(context.Context, fleet.Node) (bool, error) { return true, nil },
		Log:           log,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range w.servers {
		c, err := s.Admin.Conn(bg(t))
		if err != nil {
			t.Fatal(err)
		}
		account := "'root-of-windlass'@'%'"
		for _, q := range append(append([]string{"SET SESSION sql_log_bin=0", "CREATE USER IF NOT EXISTS " + account + " IDENTIFIED BY 'supervisor-secret'"}, mysql.Grants("mariadb", account)...), "SET SESSION sql_log_bin=1") {
			if _, err := c.ExecContext(bg(t), q); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		c.Close()
	}
	return d
}

func (w *world) cell(name string) fleet.Cell {
	c, ok := w.c.Cell(name)
	if !ok {
		panic(name)
	}
	return c
}

func bg(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// closedPort is an address that nobody listens on.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func otherCell(cell string) string {
	if cell == "blue" {
		return "green"
	}
	return "blue"
}
