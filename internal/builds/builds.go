// Package builds fetches servers in the versions that Windlass runs locally, without installing them.
//
// A build is a folder with the programs of one version and every library that they need, unpacked from Debian's
// packages of the suite that has that version. Its programs are started through the folder's own dynamic loader, so
// nothing of the machine is changed and no root is needed. apt does the fetching, with a state folder of its own: it
// checks signatures and sees security updates.
//
// Invariants: a build's folder appears by one rename when it is whole, so a half-made one is never used; processes
// that fetch the same build wait for one another on a file lock; a build that is there is used without the network.
package builds

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// recipe says which packages of which suite make a build.
type recipe struct {
	suite    string
	security bool // the suite has a security archive
	packages []string
	version  string // package whose version is the build's
}

var recipes = map[string]recipe{
	"mariadb-10.11": {"bookworm", true, []string{"mariadb-server-core", "mariadb-client-core", "mariadb-client", "mariadb-backup"}, "mariadb-server-core"},
	"mariadb-11.8":  {"trixie", true, []string{"mariadb-server-core", "mariadb-client-core", "mariadb-client", "mariadb-backup"}, "mariadb-server-core"},
	"mysql-9.7":     {"sid", false, []string{"mysql-server-core", "mysql-client-core"}, "mysql-server-core"},
	"bind9":         {"bookworm", true, []string{"bind9", "bind9-utils"}, "bind9"},
	"sysbench":      {"bookworm", true, []string{"sysbench"}, "sysbench"},
	"postgresql-15": {"bookworm", true, []string{"postgresql-15"}, "postgresql-15"},
}

// Build is a version's programs on this machine.
type Build struct {
	Name    string // such as "mariadb-11.8"
	Root    string // folder that holds usr/…
	Version string // full upstream version, such as "11.8.6"
}

// Options are settings of Fetch.
type Options struct {
	Cache    string       // folder of the builds; empty: DefaultCache
	Progress func(string) // told one line for each phase; may be nil
}

// DefaultCache is $WINDLASS_CACHE, or a folder of the user's cache.
func DefaultCache() (string, error) {
	if dir := os.Getenv("WINDLASS_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set WINDLASS_CACHE to choose one): %w", err)
	}
	return filepath.Join(dir, "windlass"), nil
}

// Names lists the builds that can be fetched.
func Names() []string {
	return []string{"bind9", "mariadb-10.11", "mariadb-11.8", "mysql-9.7", "postgresql-15", "sysbench"}
}

// Fetch returns the build, fetching it first if it is not there. It takes seconds to a minute when it has to fetch.
func Fetch(ctx context.Context, name string, o Options) (Build, error) {
	r, ok := recipes[name]
	if !ok {
		return Build{}, fmt.Errorf("no build is called %q: there are %s", name, strings.Join(Names(), ", "))
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	if o.Cache == "" {
		var err error
		if o.Cache, err = DefaultCache(); err != nil {
			return Build{}, err
		}
	}
	dir := filepath.Join(o.Cache, "builds")
	if b, err := open(dir, name); err == nil {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Build{}, fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := Lock(ctx, filepath.Join(dir, name+".lock"))
	if err != nil {
		return Build{}, fmt.Errorf("wait for another fetch of %s: %w", name, err)
	}
	defer unlock()
	if b, err := open(dir, name); err == nil {
		return b, nil // another process made it meanwhile
	}
	if err := fetch(ctx, dir, name, r, o.Progress); err != nil {
		return Build{}, fmt.Errorf("fetch %s: %w", name, err)
	}
	return open(dir, name)
}

const versionFile = "windlass-version"

func open(dir, name string) (Build, error) {
	root := filepath.Join(dir, name)
	v, err := os.ReadFile(filepath.Join(root, versionFile))
	if err != nil {
		return Build{}, err
	}
	return Build{Name: name, Root: root, Version: strings.TrimSpace(string(v))}, nil
}

// Lock takes an exclusive lock on a file, waiting until the context ends, and returns what gives it back. The lock ends with the process.
func Lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// ErrNoProgram means that the build does not hold such a program.
var ErrNoProgram = errors.New("no such program")

// Path finds a program of the build.
func (b Build) Path(program string) (string, error) {
	for _, dir := range []string{"usr/sbin", "usr/bin", "usr/local/sbin", "sbin", "bin", "usr/lib/postgresql/15/bin"} {
		p := filepath.Join(b.Root, dir, program)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w: build %s has no %s", ErrNoProgram, b.Name, program)
}

// Argv is the command line that runs a program of the build through the build's own loader and libraries.
func (b Build) Argv(program string, args ...string) ([]string, error) {
	p, err := b.Path(program)
	if err != nil {
		return nil, err
	}
	loader := filepath.Join(b.Root, "lib", "x86_64-linux-gnu", "ld-linux-x86-64.so.2")
	if _, err := os.Stat(loader); err != nil { // newer suites have merged lib into usr/lib
		loader = filepath.Join(b.Root, "usr", "lib", "x86_64-linux-gnu", "ld-linux-x86-64.so.2")
	}
	if _, err := os.Stat(loader); err != nil {
		return nil, fmt.Errorf("build %s has no dynamic loader: %w", b.Name, err)
	}
	return append([]string{loader, "--library-path", b.libraryPath(), p}, args...), nil
}

func (b Build) libraryPath() string {
	var dirs []string
	for _, d := range []string{"usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/mysql/private", "usr/lib/x86_64-linux-gnu/bind"} {
		p := filepath.Join(b.Root, d)
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			dirs = append(dirs, p)
		}
	}
	return strings.Join(dirs, ":")
}

// Command prepares a program of the build to be run. The context ends it.
func (b Build) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	argv, err := b.Argv(program, args...)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, argv[0], argv[1:]...), nil
}
