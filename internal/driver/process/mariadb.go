package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// MariaDB is one MariaDB server on this machine. It boots read-only (trap 2) with the event scheduler off (trap 5): who
// may write is decided after it is up, never by its configuration.
type MariaDB Server

// Address is host:port of its SQL port.
func (m MariaDB) Address() string { return Server(m).Address() }

// DataDir is the folder with its data.
func (m MariaDB) DataDir() string { return Server(m).DataDir() }

// Socket is its socket, in a folder that Init makes for our user alone.
func (m MariaDB) Socket() string { return Server(m).Socket() }

// Spec is the process that runs it.
func (m MariaDB) Spec() (Spec, error) { return Server(m).spec("mariadbd") }

// Init makes the data folder if it is not there. The first of a version on this machine takes seconds; the others copy it.
func (m MariaDB) Init(ctx context.Context) error {
	return Server(m).init(ctx, "2", append(Server(m).own(),
		"skip-ssl", "innodb-log-file-size=8M", "performance-schema=OFF", "max-connections=300",
		"log-bin=binlog", "log-bin-index=binlog.index", "relay-log=relay", "relay-log-index=relay.index", "binlog-format=ROW", "log-slave-updates=ON", "gtid-strict-mode=ON", "sync-binlog=1", "innodb-flush-log-at-trx-commit=1",
		"read-only=ON", "event-scheduler=OFF", "rpl-semi-sync-master-wait-point=AFTER_SYNC", "slave-net-timeout=10", "master-info-file=master.info", "relay-log-info-file=relay.info",
	), m.bootstrap)
}

// Start makes the data folder if needed, runs the server, and waits until it accepts clients.
func (m MariaDB) Start(ctx context.Context) error { return start(ctx, m) }

// Stop ends it cleanly.
func (m MariaDB) Stop(ctx context.Context) error { return stop(ctx, m) }

// bootstrap runs the version's own system tables into an empty folder.
func (m MariaDB) bootstrap(ctx context.Context, data string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	var sql bytes.Buffer
	sql.WriteString("create database mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n")
	share := shareOf(m.Build)
	for _, name := range []string{"system_tables", "performance_tables", "system_tables_data", "add_gis_sp_bootstrap", "sys_schema"} {
		b, err := readFirst(share, "mariadb_"+name+".sql", "mysql_"+name+".sql", "maria_"+name+".sql")
		if err != nil {
			return err
		}
		sql.Write(b)
		sql.WriteByte('\n')
	}
	sql.WriteString("use mysql;\nFLUSH PRIVILEGES;\n" + m.InitSQL + "\n")
	args := append([]string{"--no-defaults", "--bootstrap", "--silent-startup", "--tmpdir=" + data, "--skip-ssl", "--innodb-log-file-size=8M",
		"--max-allowed-packet=8M", "--net-buffer-length=16K", "--log-warnings=0", "--enforce-storage-engine="}, flags(Server(m).installed(data))...)
	cmd, err := m.Build.Command(ctx, "mariadbd", args...)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &sql, &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("mariadbd --bootstrap: %w: %s", err, tailOf(out.String()))
	}
	if strings.Contains(out.String(), "ERROR") {
		return fmt.Errorf("mariadbd --bootstrap: %s", tailOf(out.String()))
	}
	return nil
}

func readFirst(dir string, names ...string) ([]byte, error) {
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(dir, n))
		if err == nil {
			return b, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%s holds none of %s", dir, strings.Join(names, ", "))
}
