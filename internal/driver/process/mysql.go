package process

import (
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

// MySQL is one MySQL server on this machine. It boots read-only for everybody (trap 2) with the event scheduler off (trap 5);
// a promotion persists that it is open, over the option file.
type MySQL struct {
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
func (m MySQL) Address() string { return net.JoinHostPort(m.host(), strconv.Itoa(m.Port)) }

func (m MySQL) host() string {
	if m.Host == "" {
		return "127.0.0.1"
	}
	return m.Host
}

// DataDir is the folder with its data.
func (m MySQL) DataDir() string { return filepath.Join(m.Dir, "data") }

// Socket is its socket, in a folder that Init makes for our user alone.
func (m MySQL) Socket() string { return socketOf(m.Dir) }

func (m MySQL) config() string { return filepath.Join(m.Dir, "my.cnf") }
func (m MySQL) tmpDir() string { return filepath.Join(m.Dir, "tmp") }

// installed are the options that tell where the build lies.
func (m MySQL) installed(data string) []string {
	usr, share := filepath.Join(m.Build.Root, "usr"), shareOf(m.Build)
	o := []string{
		"basedir=" + usr, "datadir=" + data, "lc-messages-dir=" + share, "character-sets-dir=" + filepath.Join(share, "charsets"),
		"plugin-dir=" + filepath.Join(usr, "lib", "mysql", "plugin"), "secure-file-priv=", "innodb-buffer-pool-size=16M", "innodb-redo-log-capacity=16M",
	}
	if os.Geteuid() == 0 {
		o = append(o, "user=root")
	}
	return o
}

func (m MySQL) options() []string {
	o := append(m.installed(m.DataDir()),
		"socket="+m.Socket(), "pid-file="+filepath.Join(m.Dir, "mysqld.pid"), "tmpdir="+m.tmpDir(), "bind-address="+m.host(), "port="+strconv.Itoa(m.Port), "report-host="+m.host(), "report-port="+strconv.Itoa(m.Port),
		"server-id="+strconv.FormatUint(uint64(m.ServerID), 10), "mysqlx=OFF", "skip-name-resolve", "max-connections=150",
		"log-bin=binlog", "relay-log=relay", "gtid-mode=ON", "enforce-gtid-consistency=ON", "replica-net-timeout=10", "plugin-load-add=semisync_source.so", "plugin-load-add=semisync_replica.so",
		"super-read-only=ON", "event-scheduler=OFF", "sync-binlog=1", "innodb-flush-log-at-trx-commit=1")
	return append(o, m.Extra...)
}

// Spec is the process that runs it.
func (m MySQL) Spec() (Spec, error) {
	argv, err := m.Build.Argv("mysqld", "--defaults-file="+m.config())
	if err != nil {
		return Spec{}, err
	}
	return Spec{Name: m.Name, Dir: m.Dir, Argv: argv, Ready: func(ctx context.Context) error { return greets(ctx, m.Address()) }}, nil
}

// Init makes the data folder if it is not there. The first of a version on this machine takes seconds; the others copy it.
func (m MySQL) Init(ctx context.Context) error {
	if err := os.MkdirAll(m.tmpDir(), 0o700); err != nil {
		return err
	}
	if err := makeSocketDir(m.Dir); err != nil {
		return fmt.Errorf("a place for the socket of %s: %w", m.Name, err)
	}
	// An option file, not a command line: that would win over what a promotion persists.
	if err := os.WriteFile(m.config(), []byte("[mysqld]\n"+strings.Join(m.options(), "\n")+"\n"), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(m.DataDir()); err == nil {
		return nil
	}
	sum := sha256.Sum256([]byte("1\x00" + m.Build.Root + "\x00" + m.Build.Version + "\x00" + m.InitSQL))
	if err := fromTemplate(ctx, m.Build, hex.EncodeToString(sum[:8]), m.DataDir(), m.bootstrap); err != nil {
		return fmt.Errorf("make the data folder of %s: %w", m.Name, err)
	}
	return nil
}

// bootstrap initialises an empty folder. The account that this makes without a password is locked.
func (m MySQL) bootstrap(ctx context.Context, data string) error {
	init := data + ".sql"
	defer os.Remove(init)
	if err := os.WriteFile(init, []byte("ALTER USER 'root'@'localhost' ACCOUNT LOCK;\n"+m.InitSQL+"\n"), 0o600); err != nil {
		return err
	}
	args := []string{"--no-defaults", "--initialize-insecure", "--init-file=" + init}
	for _, o := range m.installed(data) {
		args = append(args, "--"+o)
	}
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

// Start makes the data folder if needed, runs the server, and waits until it accepts clients.
func (m MySQL) Start(ctx context.Context) error {
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
func (m MySQL) Stop(ctx context.Context) error {
	s, err := m.Spec()
	if err != nil {
		return err
	}
	return s.Stop(ctx)
}
