package process

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/builds"
)

// MariaDB is one MariaDB server on this machine. It boots read-only (trap 2) with the event scheduler off (trap 5): who
// may write is decided after it is up, never by its configuration.
type MariaDB struct {
	Name     string
	Build    builds.Build
	Dir      string // its folder: data, configuration, log
	Host     string // loopback address; empty: 127.0.0.1
	Port     int
	ServerID uint32
	InitSQL  string   // run once when the data folder is made, unlogged: accounts; one statement on each line. Never on a command line
	Extra    []string // more options, as in an option file: "name=value"
}

// Address is host:port of its SQL port.
func (m MariaDB) Address() string { return net.JoinHostPort(m.host(), strconv.Itoa(m.Port)) }

func (m MariaDB) host() string {
	if m.Host == "" {
		return "127.0.0.1"
	}
	return m.Host
}

// DataDir is the folder with its data.
func (m MariaDB) DataDir() string { return filepath.Join(m.Dir, "data") }

func (m MariaDB) tmpDir() string { return filepath.Join(m.Dir, "tmp") }

// Socket is its socket, in a folder that Init makes for our user alone.
func (m MariaDB) Socket() string { return socketOf(m.Dir) }

func (m MariaDB) share() string { return shareOf(m.Build) }

// options are those that do not depend on the data folder's being there.
func (m MariaDB) options() []string {
	o := []string{
		"basedir=" + filepath.Join(m.Build.Root, "usr"), "datadir=" + m.DataDir(), "lc-messages-dir=" + m.share(), "character-sets-dir=" + filepath.Join(m.share(), "charsets"),
		"plugin-dir=" + filepath.Join(m.Build.Root, "usr", "lib", "mysql", "plugin"), "socket=" + m.Socket(), "pid-file=" + filepath.Join(m.Dir, "mariadbd.pid"),
		"tmpdir=" + m.tmpDir(), // a starting server deletes every temporary table file in its folder, another server's too
		"bind-address=" + m.host(), "port=" + strconv.Itoa(m.Port), "report-host=" + m.host(), "report-port=" + strconv.Itoa(m.Port), "server-id=" + strconv.FormatUint(uint64(m.ServerID), 10),
		"skip-ssl", "skip-name-resolve", "innodb-buffer-pool-size=16M", "innodb-log-file-size=8M", "performance-schema=OFF", "max-connections=300",
		"log-bin=binlog", "log-bin-index=binlog.index", "relay-log=relay", "relay-log-index=relay.index", "binlog-format=ROW", "log-slave-updates=ON", "gtid-strict-mode=ON", "sync-binlog=1", "innodb-flush-log-at-trx-commit=1",
		"read-only=ON", "event-scheduler=OFF", "rpl-semi-sync-master-wait-point=AFTER_SYNC", "slave-net-timeout=10", "master-info-file=master.info", "relay-log-info-file=relay.info",
	}
	if os.Geteuid() == 0 {
		o = append(o, "user=root")
	}
	return append(o, m.Extra...)
}

func (m MariaDB) config() string { return filepath.Join(m.Dir, "my.cnf") }

// Spec is the process that runs it.
func (m MariaDB) Spec() (Spec, error) {
	argv, err := m.Build.Argv("mariadbd", "--defaults-file="+m.config())
	if err != nil {
		return Spec{}, err
	}
	return Spec{Name: m.Name, Dir: m.Dir, Argv: argv, Ready: func(ctx context.Context) error { return greets(ctx, m.Address()) }}, nil
}

// Init makes the data folder if it is not there. The first of a version on this machine takes seconds; the others copy it.
func (m MariaDB) Init(ctx context.Context) error {
	if err := os.MkdirAll(m.tmpDir(), 0o700); err != nil {
		return err
	}
	if err := makeSocketDir(m.Dir); err != nil {
		return fmt.Errorf("a place for the socket of %s: %w", m.Name, err)
	}
	text := "[mariadbd]\n" + strings.Join(m.options(), "\n") + "\n"
	if err := os.WriteFile(m.config(), []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(m.DataDir()); err == nil {
		return nil
	}
	sum := sha256.Sum256([]byte("2\x00" + m.Build.Root + "\x00" + m.Build.Version + "\x00" + m.InitSQL))
	if err := fromTemplate(ctx, m.Build, hex.EncodeToString(sum[:8]), m.DataDir(), m.bootstrap); err != nil {
		return fmt.Errorf("make the data folder of %s: %w", m.Name, err)
	}
	return nil
}

// bootstrap runs the version's own system tables into an empty folder.
func (m MariaDB) bootstrap(ctx context.Context, data string) error {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	var sql bytes.Buffer
	sql.WriteString("create database mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n")
	share := m.share()
	for _, name := range []string{"system_tables", "performance_tables", "system_tables_data", "add_gis_sp_bootstrap", "sys_schema"} {
		b, err := readFirst(share, "mariadb_"+name+".sql", "mysql_"+name+".sql", "maria_"+name+".sql")
		if err != nil {
			return err
		}
		sql.Write(b)
		sql.WriteByte('\n')
	}
	sql.WriteString("use mysql;\nFLUSH PRIVILEGES;\n" + m.InitSQL + "\n")
	args := []string{"--no-defaults", "--bootstrap", "--silent-startup", "--basedir=" + filepath.Join(m.Build.Root, "usr"), "--datadir=" + data, "--tmpdir=" + data, "--lc-messages-dir=" + share,
		"--character-sets-dir=" + filepath.Join(share, "charsets"), "--plugin-dir=" + filepath.Join(m.Build.Root, "usr", "lib", "mysql", "plugin"), "--skip-ssl", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--max-allowed-packet=8M", "--net-buffer-length=16K", "--log-warnings=0", "--enforce-storage-engine="}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
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

// Start makes the data folder if needed, runs the server, and waits until it accepts clients.
func (m MariaDB) Start(ctx context.Context) error {
	if err := m.Init(ctx); err != nil {
		return err
	}
	s, err := m.Spec()
	if err != nil {
		return err
	}
	return s.Start(ctx)
}

// Stop ends it cleanly.
func (m MariaDB) Stop(ctx context.Context) error {
	s, err := m.Spec()
	if err != nil {
		return err
	}
	return s.Stop(ctx)
}
