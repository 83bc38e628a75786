package process

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/builds"
)

// Server is one database server on this machine, of either make: MariaDB and MySQL say how theirs is configured and initialised.
type Server struct {
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
func (s Server) Address() string { return net.JoinHostPort(s.host(), strconv.Itoa(s.Port)) }

func (s Server) host() string {
	if s.Host == "" {
		return "127.0.0.1"
	}
	return s.Host
}

// DataDir is the folder with its data.
func (s Server) DataDir() string { return filepath.Join(s.Dir, "data") }

// Socket is its socket, in a folder that Init makes for our user alone.
func (s Server) Socket() string { return socketOf(s.Dir) }

func (s Server) tmpDir() string { return filepath.Join(s.Dir, "tmp") }
func (s Server) config() string { return filepath.Join(s.Dir, "my.cnf") }

// installed are the options that tell where the build lies, for a server on that data folder.
func (s Server) installed(data string) []string {
	usr, share := filepath.Join(s.Build.Root, "usr"), shareOf(s.Build)
	o := []string{
		"basedir=" + usr, "datadir=" + data, "lc-messages-dir=" + share, "character-sets-dir=" + filepath.Join(share, "charsets"),
		"plugin-dir=" + filepath.Join(usr, "lib", "mysql", "plugin"), "innodb-buffer-pool-size=16M",
	}
	if os.Geteuid() == 0 {
		o = append(o, "user=root")
	}
	return o
}

// own are the options that make the server this one and no other.
func (s Server) own() []string {
	port := strconv.Itoa(s.Port)
	return append(s.installed(s.DataDir()), "socket="+s.Socket(), "pid-file="+filepath.Join(s.Dir, "server.pid"),
		"tmpdir="+s.tmpDir(), // a starting server deletes every temporary table file in its folder, another server's too
		"bind-address="+s.host(), "port="+port, "report-host="+s.host(), "report-port="+port, "server-id="+strconv.FormatUint(uint64(s.ServerID), 10), "skip-name-resolve")
}

// init writes the option file, and makes the data folder if it is not there: a copy of one that bootstrap has made on this machine. What
// bootstrap makes of a build and its InitSQL is told apart from what an earlier release made by the key.
func (s Server) init(ctx context.Context, key string, options []string, bootstrap func(ctx context.Context, data string) error) error {
	if err := os.MkdirAll(s.tmpDir(), 0o700); err != nil {
		return err
	}
	if err := makeSocketDir(s.Dir); err != nil {
		return fmt.Errorf("a place for the socket of %s: %w", s.Name, err)
	}
	// An option file, not a command line: on MySQL that would win over what a promotion persists.
	text := "[mysqld]\n" + strings.Join(append(options, s.Extra...), "\n") + "\n"
	if err := os.WriteFile(s.config(), []byte(text), 0o600); err != nil {
		return err
	}
	if _, err := os.Stat(s.DataDir()); err == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(key + "\x00" + s.Build.Root + "\x00" + s.Build.Version + "\x00" + s.InitSQL))
	if err := fromTemplate(ctx, s.Build, hex.EncodeToString(sum[:8]), s.DataDir(), bootstrap); err != nil {
		return fmt.Errorf("make the data folder of %s: %w", s.Name, err)
	}
	return nil
}

// spec is the process of that program.
func (s Server) spec(program string) (Spec, error) {
	argv, err := s.Build.Argv(program, "--defaults-file="+s.config())
	if err != nil {
		return Spec{}, err
	}
	return Spec{Name: s.Name, Dir: s.Dir, Argv: argv, Ready: func(ctx context.Context) error { return greets(ctx, s.Address()) }}, nil
}

// maker is a server of one of the makes.
type maker interface {
	Init(ctx context.Context) error
	Spec() (Spec, error)
}

func start(ctx context.Context, m maker) error {
	if err := m.Init(ctx); err != nil {
		return err
	}
	s, err := m.Spec()
	if err != nil {
		return err
	}
	return s.Start(ctx)
}

func stop(ctx context.Context, m maker) error {
	s, err := m.Spec()
	if err != nil {
		return err
	}
	return s.Stop(ctx)
}

// flags are options as a command line has them.
func flags(options []string) []string {
	all := make([]string, len(options))
	for i, o := range options {
		all[i] = "--" + o
	}
	return all
}
