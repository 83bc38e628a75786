package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
)

// throwaway is a server that was started for one check: it listens on a socket in a folder of ours alone, and ends with our process.
type throwaway struct {
	dsn   string // of an account that may do everything
	build string // such as "mariadb-11.8"
	end   func()
}

// startWithin bounds the start of a server that was fetched already.
const startWithin = 2 * time.Minute

// buildFor is the name of the build that has a live server's version; the dialect's own if none is live. ok is false if there is none.
func buildFor(d Dialect, version string) (name string, ok bool) {
	switch {
	case version == "" && d == Postgres:
		name = "postgresql-15"
	case version == "":
		name = "mariadb-11.8"
	case d == Postgres:
		name = "postgresql-" + major(d, version)
	default:
		number, maria := strings.CutSuffix(major(d, version), "-MariaDB")
		name = "mysql-" + number
		if maria {
			name = "mariadb-" + number
		}
	}
	return name, slices.Contains(builds.Names(), name)
}

// isBuild tells whether --dev names a build, of which a server is started, rather than a server that runs.
func isBuild(d Dialect, s string) (bool, error) {
	if s == "" || isDSN(s) {
		return false, nil
	}
	var fit []string
	for _, n := range builds.Names() {
		if strings.HasPrefix(n, "postgresql-") && d == Postgres || (strings.HasPrefix(n, "mysql-") || strings.HasPrefix(n, "mariadb-")) && d == MySQL {
			fit = append(fit, n)
		}
	}
	if slices.Contains(fit, s) {
		return true, nil
	}
	return false, &Error{Where: "--dev", What: fmt.Sprintf("%q is neither a data source name nor a server that can be started", s), Hint: "give a DSN, or one of " + strings.Join(fit, ", "), Usage: true}
}

// startThrowaway fetches the build, and starts a server of it with those options; fetch and say tell what it does.
func startThrowaway(ctx context.Context, d Dialect, build string, options []string, fetch, say func(string)) (_ *throwaway, err error) {
	wrong := func(err error) error {
		return &Error{Where: "--dev", What: "no server " + build + " could be started for the check", Hint: "give --dev DSN of a server of production's version that holds nothing of worth", Err: err}
	}
	b, err := builds.Fetch(ctx, build, builds.Options{Progress: fetch})
	if err != nil {
		return nil, wrong(err)
	}
	dir, free, err := privateDir()
	if err != nil {
		return nil, wrong(err)
	}
	say("starting " + build + " for the check")
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	t := &throwaway{build: build}
	var argv []string
	switch {
	case d == Postgres:
		argv, err = postgresArgv(ctx, b, dir)
		t.dsn = "host=" + dir + " user=windlass dbname=postgres sslmode=disable"
	default:
		argv, t.dsn, err = mysqlArgv(ctx, b, dir, options)
	}
	if err != nil {
		free()
		return nil, wrong(err)
	}
	stop, ended, err := runUntil(argv, filepath.Join(dir, "server.log"), d == Postgres)
	if err != nil {
		free()
		return nil, wrong(err)
	}
	t.end = func() { stop(); free() }
	if err := t.ready(ctx, d, ended); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "server.log"))
		t.end()
		return nil, wrong(fmt.Errorf("%w: %s", err, lastLines(log)))
	}
	return t, nil
}

// privateDir makes a folder that others can't enter, with a short path for the socket in it. What a killed check left is removed: its lock
// ended with it.
func privateDir() (dir string, free func(), err error) {
	old, err := filepath.Glob(filepath.Join(os.TempDir(), "windlass-dev-*"))
	if err != nil {
		return "", nil, err
	}
	for _, o := range old {
		info, err := os.Lstat(o)
		if err != nil || !info.IsDir() || time.Since(info.ModTime()) < time.Minute { // it may just be made
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
			continue
		}
		if unlock, err := builds.TryLock(filepath.Join(o, "lock")); err == nil {
			os.RemoveAll(o)
			unlock()
		}
	}
	if dir, err = os.MkdirTemp("", "windlass-dev-"); err != nil {
		return "", nil, err
	}
	unlock, err := builds.TryLock(filepath.Join(dir, "lock"))
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() { os.RemoveAll(dir); unlock() }, nil
}

func postgresArgv(ctx context.Context, b builds.Build, dir string) ([]string, error) {
	bin, err := b.PostgresTree(dir)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	// Nobody but us reaches the socket's folder, so it needs no password.
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "windlass", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	builds.Unrooted(init)
	if out, err := init.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w: %s (PostgreSQL refuses to be root: run as another user, or where root may make user namespaces)", err, lastLines(out))
	}
	return []string{filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories=" + dir, "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20", "-c", "autovacuum=off"}, nil
}

func mysqlArgv(ctx context.Context, b builds.Build, dir string, options []string) (argv []string, dsn string, err error) {
	const account = "CREATE USER 'windlass'@'localhost';\nGRANT ALL ON *.* TO 'windlass'@'localhost' WITH GRANT OPTION;\n"
	options = append([]string{"skip-networking", "skip-log-bin", "innodb-flush-log-at-trx-commit=0", "read-only=OFF"}, options...)
	var spec process.Spec
	var socket string
	if strings.HasPrefix(b.Name, "mariadb-") {
		m := process.MariaDB{Name: "dev", Build: b, Dir: dir, Port: 3306, ServerID: 1, InitSQL: account, Extra: options}
		if err := m.Init(ctx); err != nil {
			return nil, "", err
		}
		socket = m.Socket()
		spec, err = m.Spec()
	} else {
		m := process.MySQL{Name: "dev", Build: b, Dir: dir, Port: 3306, ServerID: 1, InitSQL: account, Extra: append(options, "super-read-only=OFF", "log-replica-updates=OFF", "gtid-mode=OFF", "enforce-gtid-consistency=OFF")}
		if err := m.Init(ctx); err != nil {
			return nil, "", err
		}
		socket = m.Socket()
		spec, err = m.Spec()
	}
	return spec.Argv, "windlass@unix(" + socket + ")/", err
}

// runUntil runs a server until stop is called, or our process is gone, however it ended: the kernel then kills the server.
func runUntil(argv []string, log string, unrooted bool) (stop func(), ended <-chan error, err error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // of its own group: Ctrl-C is for us
	if unrooted {
		builds.Unrooted(cmd)
	}
	started, done := make(chan error), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the signal comes when the thread ends that started it, so this one stays
		defer runtime.UnlockOSThread()
		defer out.Close()
		err := cmd.Start()
		started <- err
		if err == nil {
			done <- cmd.Wait()
			close(done)
		}
	}()
	if err := <-started; err != nil {
		return nil, nil, err
	}
	return func() {
		_ = cmd.Process.Kill() // nothing in it is to be kept
		for range done {       //nolint:revive // until it is gone
		}
	}, done, nil
}

// ready waits until the server answers.
func (t *throwaway) ready(ctx context.Context, d Dialect, ended <-chan error) error {
	s, err := parseDSN(d, "--dev", t.dsn)
	if err != nil {
		return err
	}
	for {
		var db *sql.DB
		if db, err = s.open(ctx, "--dev"); err == nil {
			return db.Close()
		}
		select {
		case e := <-ended:
			return fmt.Errorf("it ended: %w", e)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(30 * time.Millisecond):
		}
	}
}

func lastLines(b []byte) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-3):], " | ")
}
