package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// MySQL is one MySQL server on this machine. It boots read-only for everybody (trap 2) with the event scheduler off (trap 5);
// a promotion persists that it is open, over the option file.
type MySQL Server

// Address is host:port of its SQL port.
func (m MySQL) Address() string { return Server(m).Address() }

// DataDir is the folder with its data.
func (m MySQL) DataDir() string { return Server(m).DataDir() }

// Socket is its socket, in a folder that Init makes for our user alone.
func (m MySQL) Socket() string { return Server(m).Socket() }

// Spec is the process that runs it.
func (m MySQL) Spec() (Spec, error) { return Server(m).spec("mysqld") }

// base are the options that it needs on any data folder, beside those that tell where the build lies.
func (MySQL) base() []string { return []string{"secure-file-priv=", "innodb-redo-log-capacity=16M"} }

// Init makes the data folder if it is not there. The first of a version on this machine takes seconds; the others copy it.
func (m MySQL) Init(ctx context.Context) error {
	return Server(m).init(ctx, "1", append(append(Server(m).own(), m.base()...), "mysqlx=OFF", "max-connections=150",
		"log-bin=binlog", "relay-log=relay", "gtid-mode=ON", "enforce-gtid-consistency=ON", "replica-net-timeout=10", "plugin-load-add=semisync_source.so", "plugin-load-add=semisync_replica.so",
		"super-read-only=ON", "event-scheduler=OFF", "sync-binlog=1", "innodb-flush-log-at-trx-commit=1",
	), m.bootstrap)
}

// Start makes the data folder if needed, runs the server, and waits until it accepts clients.
func (m MySQL) Start(ctx context.Context) error { return start(ctx, m) }

// Stop ends it cleanly.
func (m MySQL) Stop(ctx context.Context) error { return stop(ctx, m) }

// bootstrap initialises an empty folder. The account that this makes without a password is locked.
func (m MySQL) bootstrap(ctx context.Context, data string) error {
	init := data + ".sql"
	defer os.Remove(init)
	if err := os.WriteFile(init, []byte("ALTER USER 'root'@'localhost' ACCOUNT LOCK;\n"+m.InitSQL+"\n"), 0o600); err != nil {
		return err
	}
	args := append([]string{"--no-defaults", "--initialize-insecure", "--init-file=" + init}, flags(append(Server(m).installed(data), m.base()...))...)
	cmd, err := m.Build.Command(ctx, "mysqld", args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mysqld --initialize: %w: %s", err, tailOf(string(out)))
	}
	if err := os.Remove(filepath.Join(data, "auto.cnf")); err != nil && !errors.Is(err, os.ErrNotExist) { // the server's identity
		return err
	}
	return nil
}
