// Package nginx decides through nginx's configuration who gets requests: by a file with one upstream, which it alone changes, and a reload.
//
// # Model
//
// The file is included by nginx's own configuration, and says for every node "server ADDRESS weight=N" or "… down"; 100 is the full weight.
// What else stands in it stays. A change writes the whole file anew, lets nginx test it, reloads, and sees that new workers have taken over
// from the ones before. The file outlives nginx: one that is restarted goes on as it was.
//
// Open nginx has no word on its upstreams, so sessions are counted where they can be seen: the kernel's connections from nginx's own
// processes to the node. stub_status counts clients, of all nodes together. Workers that were there before a reload go on with what they
// have begun, and may yet choose a node, by what they know, for a client whose request they still read: one that has more clients than
// connections of its own counts as a session on every drained node. One that only goes on with long connections to others, such as
// websockets, does not. The driver therefore runs on nginx's machine, as root or as nginx's user.
//
// # Invariants
//
// A file that nginx refuses is put back as it was. While a change is under way, or was broken off, the file from before lies beside it, and a
// node is admitted if either of the two says so. The highest term that changed the file stands in it, and is looked at and written under a
// lock (trap 1).
//
// # Failure
//
// What can't be read is an error, never zero. Whether a node is well nginx does not know either: it leaves out, for a while, one that did
// not answer. Up is therefore true for all, and a node's health is its own word.
package nginx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Config is how one cluster's nginx is reached.
type Config struct {
	File     string        // with the upstream alone; its folder has to be writable
	Upstream string        // its name
	PIDFile  string        // of the master process
	Test     []string      // command that tests the configuration; empty: nginx -t
	Reload   []string      // command that reloads it; empty: SIGHUP to the master
	Timeout  time.Duration // of a test and of a reload; 0: 30 s
	Proc     string        // where the kernel shows processes; empty: /proc
}

// Driver is a rolling.Balancer.
type Driver struct{ cfg Config }

// New makes a driver.
func New(cfg Config) *Driver {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if len(cfg.Test) == 0 {
		cfg.Test = []string{"nginx", "-t"}
	}
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	return &Driver{cfg}
}

// RefusedError is what nginx said against a file, or what the file lacks.
type RefusedError struct{ File, Said string }

// Error tells both.
func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Said) }

// ErrorHint says what to do.
func (e *RefusedError) ErrorHint() string {
	if strings.Contains(e.Said, "emerg") {
		return "mend nginx's configuration: the file is as it was before"
	}
	return "write one upstream into the file, with a line \"server ADDRESS weight=100;\" for every node, and include it in nginx's http block"
}

func (d *Driver) before() string { return d.cfg.File + ".before" }

// Observe tells of every node of the cluster, and after them, by their addresses, of other servers of the upstream that are not down. A backup is none
// of these.
func (d *Driver) Observe(_ context.Context, c fleet.Cluster) ([]rolling.Backend, error) {
	now, was, err := d.files()
	if err != nil {
		return nil, err
	}
	workers, err := d.workers()
	if err != nil {
		return nil, err
	}
	on, err := d.connections(workers)
	if err != nil {
		return nil, err
	}
	var all []rolling.Backend
	ours := map[string]bool{}
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			ours[n.Address] = true
			at, err := address(n)
			if err != nil {
				return nil, err
			}
			s, err := now.server(n, d.cfg.File)
			if err != nil {
				return nil, err
			}
			b := rolling.Backend{Node: n.Name, Up: true, Admitted: !s.down, Weight: s.weight}
			if was != nil { // which of the two is in force is not known
				old, err := was.server(n, d.before())
				if err != nil {
					return nil, err
				}
				b.Admitted = b.Admitted || !old.down
				if b.Weight = min(b.Weight, old.weight); s.down != old.down {
					b.Weight = 0
				}
			}
			b.Weight = min(b.Weight, 100)
			for _, w := range on {
				b.Sessions += w.on(at, b.Admitted)
			}
			all = append(all, b)
		}
	}
	for _, f := range []*file{now, was} { // which of the two is in force is not known
		for _, s := range f.given() {
			if !ours[s.address] {
				ours[s.address] = true
				all = append(all, rolling.Backend{Node: s.address, Up: true, Admitted: true, Weight: min(s.weight, 100)})
			}
		}
	}
	return all, nil
}

// files reads the file, and the one from before if a change is under way or was broken off.
func (d *Driver) files() (now, was *file, err error) {
	text, err := os.ReadFile(d.cfg.File)
	if err != nil {
		return nil, nil, fmt.Errorf("read nginx's upstream: %w", err)
	}
	if now, err = parse(d.cfg.File, d.cfg.Upstream, text); err != nil {
		return nil, nil, err
	}
	text, err = os.ReadFile(d.before())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return now, nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("read nginx's upstream from before: %w", err)
	}
	was, err = parse(d.before(), d.cfg.Upstream, text)
	return now, was, err
}

// Drain sends the node nothing new.
func (d *Driver) Drain(ctx context.Context, _ fleet.Cluster, n fleet.Node, term int64) error {
	return d.change(ctx, term, n, func(s *server) { s.down = true })
}

// Admit gives the node that share of its weight.
func (d *Driver) Admit(ctx context.Context, _ fleet.Cluster, n fleet.Node, percent int, term int64) error {
	return d.change(ctx, term, n, func(s *server) { s.down, s.weight = false, max(percent, 1) })
}

// Cut ends the workers from before the last reload that have a connection to the node, or might yet choose it, with all that they still
// serve: nginx can't end one connection by itself. Then none counts on the node any more.
func (d *Driver) Cut(ctx context.Context, _ fleet.Cluster, n fleet.Node, term int64) error {
	at, err := address(n)
	if err != nil {
		return err
	}
	return d.locked(ctx, term, func(now *file) error {
		if err := write(d.cfg.File, now.text()); err != nil { // for its term
			return err
		}
		workers, err := d.workers()
		if err != nil {
			return err
		}
		all, err := d.connections(workers)
		if err != nil {
			return err
		}
		for _, w := range all {
			if !w.leaving || w.on(at, false) == 0 {
				continue
			}
			if err := syscall.Kill(w.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end nginx's worker %d: %w", w.pid, err)
			}
		}
		return nil
	})
}

// locked runs f on the file under its lock, unless a higher term has changed it.
func (d *Driver) locked(ctx context.Context, term int64, f func(now *file) error) error {
	unlock, err := builds.Lock(ctx, d.cfg.File+".lock")
	if err != nil {
		return fmt.Errorf("lock nginx's upstream: %w", err)
	}
	defer unlock()
	now, _, err := d.files()
	if err != nil {
		return err
	}
	if now.term > term {
		return fmt.Errorf("%s was changed under term %d, ours is %d: %w", d.cfg.File, now.term, term, engine.ErrFenced)
	}
	now.term = term
	return f(now)
}

// change changes one node, and sees nginx take it up. What is so already, and was not broken off, is written for its term alone.
func (d *Driver) change(ctx context.Context, term int64, n fleet.Node, what func(*server)) error {
	return d.locked(ctx, term, func(now *file) error {
		s, err := now.server(n, d.cfg.File)
		if err != nil {
			return err
		}
		was := *s
		what(s)
		_, err = os.Stat(d.before())
		switch {
		case err == nil: // a change was broken off: nginx has to be seen to take up the file
		case !errors.Is(err, os.ErrNotExist):
			return err
		case *s == was:
			return write(d.cfg.File, now.text())
		default:
			old, err := os.ReadFile(d.cfg.File)
			if err == nil {
				err = write(d.before(), old)
			}
			if err != nil {
				return fmt.Errorf("keep nginx's upstream from before: %w", err)
			}
		}
		if err := write(d.cfg.File, now.text()); err != nil {
			return err
		}
		if err := d.run(ctx, d.cfg.Test); err != nil {
			return errors.Join(err, os.Rename(d.before(), d.cfg.File))
		}
		if err := d.reload(ctx); err != nil {
			return err // which of the two is in force is not known: both stay
		}
		return os.Remove(d.before())
	})
}

// write writes a file whole or not at all.
func write(name string, text []byte) error {
	f, err := os.OpenFile(name+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return os.Rename(name+".new", name)
}

// run runs a command of nginx; what it says against the file is the error.
func (d *Driver) run(ctx context.Context, argv []string) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), context.Cause(ctx))
	case errors.As(err, &exit):
		return &RefusedError{d.cfg.File, strings.TrimSpace(string(bytes.TrimSpace(out)))}
	case err != nil:
		return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return nil
}

// reload reloads, and sees that every worker from before has begun to leave, and that another is there.
func (d *Driver) reload(ctx context.Context) error {
	old, err := d.workers()
	if err != nil {
		return err
	}
	if len(d.cfg.Reload) > 0 {
		err = d.run(ctx, d.cfg.Reload)
	} else if pid, perr := d.master(); perr == nil {
		err = syscall.Kill(pid, syscall.SIGHUP)
	} else {
		err = perr
	}
	if err != nil {
		return fmt.Errorf("reload nginx: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	for {
		workers, err := d.workers()
		if err != nil && !errors.Is(err, errNoWorkers) {
			return err
		}
		fresh, stay := false, 0
		for _, w := range workers {
			before := slices.ContainsFunc(old, func(o worker) bool { return o.pid == w.pid && o.started == w.started })
			switch {
			case !before:
				fresh = true
			case !w.leaving:
				stay++
			}
		}
		if fresh && stay == 0 {
			return nil
		}
		t := time.NewTimer(10 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("nginx has not taken up %s (%d workers are as before; its error log says why): %w", d.cfg.File, stay, context.Cause(ctx))
		case <-t.C:
		}
	}
}

// address is where a node listens, as the kernel shows it.
func address(n fleet.Node) (netip.AddrPort, error) {
	a, err := net.ResolveTCPAddr("tcp", n.Address)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("the address of %s: %w", n.Name, err)
	}
	ap := a.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Balancer = (*Driver)(nil)

// master is the pid of nginx's master process.
func (d *Driver) master() (int, error) {
	b, err := os.ReadFile(d.cfg.PIDFile)
	if err != nil {
		return 0, fmt.Errorf("find nginx: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid < 2 {
		return 0, fmt.Errorf("find nginx: %s holds no pid: %q", d.cfg.PIDFile, b)
	}
	return pid, nil
}
