package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/windlass-db/windlass/internal/driver/sockets"
)

// worker is one of nginx's worker processes.
type worker struct {
	pid     int
	started string // the kernel's time of its start: a pid may be given again
	leaving bool   // it was told to end, and goes on with what it has
}

// workerTitle is what a worker calls itself. One that is run by another's dynamic loader has the loader's words before it.
var workerTitle = regexp.MustCompile(`(?:^|\x00)nginx: worker process( is shutting down)?`)

// errNoWorkers means that none is seen. For a moment of a reload that may be so: the old ones are gone, the new ones have no title yet.
var errNoWorkers = errors.New("nginx has no workers")

// workers are the worker processes of the master that runs. None is an error: then nothing is known.
func (d *Driver) workers() ([]worker, error) {
	master, err := d.master()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.cfg.Proc)
	if err != nil {
		return nil, fmt.Errorf("look for nginx's workers: %w", err)
	}
	var all []worker
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := sockets.Stat(d.cfg.Proc, pid)
		if sockets.Gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for nginx's workers: %w", err)
		}
		if stat[1] != strconv.Itoa(master) || stat[0] == "Z" {
			continue
		}
		title, err := os.ReadFile(filepath.Join(d.cfg.Proc, e.Name(), "cmdline"))
		if sockets.Gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at nginx's worker %d: %w", pid, err)
		}
		if m := workerTitle.FindSubmatch(title); m != nil {
			all = append(all, worker{pid, stat[19], len(m[1]) > 0})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: %s names process %d, which may be gone", errNoWorkers, d.cfg.PIDFile, master)
	}
	return all, nil
}

// busy is what one worker is connected to.
type busy struct {
	worker
	to       map[netip.AddrPort]int // connections that it has made, by where they lead
	clients  int
	made     int
	listened bool // a port is known on which clients come
}

// mayChoose tells that the worker has a client for whom it may yet choose a node, by what it knew when it was told to leave: one that has
// no connection beside it that was made, since the request is still read.
func (b busy) mayChoose() bool { return b.leaving && (b.clients > b.made || !b.listened) }

// on counts a worker's sessions on a node.
func (b busy) on(node netip.AddrPort, admitted bool) int {
	n := b.to[node]
	if !admitted && b.mayChoose() {
		n++
	}
	return n
}

// connections looks at the workers' connections. Those to a port on which nginx listens are of clients, all others it has made.
func (d *Driver) connections(workers []worker) ([]busy, error) {
	var all []busy
	var conns [][]sockets.Conn
	ports := map[uint16]bool{}
	for _, w := range workers {
		mine, err := sockets.Of(d.cfg.Proc, w.pid)
		var own []sockets.Conn
		if err == nil {
			err = sockets.Seen(d.cfg.Proc, w.pid, func(c sockets.Conn) {
				switch {
				case !mine[c.Inode]:
				case c.Listens:
					ports[c.Local.Port()] = true
				default:
					own = append(own, c)
				}
			})
		}
		switch {
		case sockets.Gone(err):
			continue // it ended, and its connections with it
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("see whom nginx's worker %d is connected to: %w; run the supervisor as root, or as nginx's user", w.pid, err)
		case err != nil:
			return nil, fmt.Errorf("see whom nginx's worker %d is connected to: %w", w.pid, err)
		}
		all, conns = append(all, busy{worker: w, to: map[netip.AddrPort]int{}}), append(conns, own)
	}
	for i := range all {
		b := &all[i]
		b.listened = len(ports) > 0
		for _, c := range conns[i] {
			if ports[c.Local.Port()] {
				b.clients++
			} else {
				b.made++
				b.to[c.Remote]++
			}
		}
	}
	return all, nil
}
