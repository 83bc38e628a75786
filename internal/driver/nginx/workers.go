package nginx

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// worker is one of nginx's worker processes.
type worker struct {
	pid     int
	started string // the kernel's time of its start: a pid may be given again
	leaving bool   // it was told to end, and goes on with what it has
}

// workerTitle is what a worker calls itself. One that is run by another's dynamic loader has the loader's words before it.
var workerTitle = regexp.MustCompile(`(?:^|\x00)nginx: worker process( is shutting down)?`)

// gone tells that a process ended while it was looked at.
func gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

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
		stat, err := os.ReadFile(filepath.Join(d.cfg.Proc, e.Name(), "stat"))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look for nginx's workers: %w", err)
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // a program's name may hold anything
		if len(f) < 20 || f[1] != strconv.Itoa(master) || f[0] == "Z" {
			continue
		}
		title, err := os.ReadFile(filepath.Join(d.cfg.Proc, e.Name(), "cmdline"))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("look at nginx's worker %d: %w", pid, err)
		}
		if m := workerTitle.FindSubmatch(title); m != nil {
			all = append(all, worker{pid, f[19], len(m[1]) > 0})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nginx has no workers: %s names process %d, which may be gone", d.cfg.PIDFile, master)
	}
	return all, nil
}

// connections counts the workers' connections by where they lead.
func (d *Driver) connections(workers []worker) (map[netip.AddrPort]int, error) {
	count := map[netip.AddrPort]int{}
	counted := map[string]bool{} // workers of one network see the same sockets
	for _, w := range workers {
		mine, err := d.sockets(w.pid)
		if gone(err) {
			continue // it ended, and its connections with it
		}
		if errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("see whom nginx's worker %d is connected to: %w; run the supervisor as root, or as nginx's user", w.pid, err)
		}
		if err != nil {
			return nil, fmt.Errorf("see whom nginx's worker %d is connected to: %w", w.pid, err)
		}
		for _, table := range []string{"tcp", "tcp6"} {
			err := d.table(filepath.Join(d.cfg.Proc, strconv.Itoa(w.pid), "net", table), func(remote netip.AddrPort, inode string) {
				if mine[inode] && !counted[inode] {
					counted[inode] = true
					count[remote]++
				}
			})
			if err != nil && !gone(err) { // a kernel without IPv6 has no tcp6
				return nil, fmt.Errorf("read the kernel's connections: %w", err)
			}
		}
	}
	return count, nil
}

// sockets are the inodes of a process's open sockets.
func (d *Driver) sockets(pid int) (map[string]bool, error) {
	dir := filepath.Join(d.cfg.Proc, strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if inode, ok := strings.CutPrefix(to, "socket:["); ok {
			mine[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return mine, nil
}

// table reads one of the kernel's tables of connections.
func (d *Driver) table(name string, each func(remote netip.AddrPort, inode string)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Scan() // the columns' names
	for lines.Scan() {
		c := strings.Fields(lines.Text())
		if len(c) < 10 {
			return fmt.Errorf("%s: %q is no connection", name, lines.Text())
		}
		remote, err := parseRemote(c[2])
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		each(remote, c[9])
	}
	return lines.Err()
}

// parseRemote reads an address as the kernel shows it: words of four bytes, each in the machine's order, and the port in hex.
func parseRemote(text string) (netip.AddrPort, error) {
	host, port, _ := strings.Cut(text, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err = errors.Join(err, perr); err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, fmt.Errorf("%q is no address: %w", text, err)
	}
	for word := range slices.Chunk(b, 4) { // every machine that servers are fetched for has the little end first
		slices.Reverse(word)
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return netip.AddrPort{}, fmt.Errorf("%q is no address", text)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), nil
}
