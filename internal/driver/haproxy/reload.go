package haproxy

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/driver/sockets"
)

// process is the one that answers.
type process struct {
	pid int
	age time.Duration // in whole seconds
}

func (d *Driver) process(ctx context.Context) (process, error) {
	const line = "show info"
	text, err := d.ask(ctx, line)
	if err != nil {
		return process{}, err
	}
	said := map[string]int{}
	for row := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(row), ": ")
		if n, err := strconv.Atoi(value); err == nil {
			said[key] = n
		}
	}
	for _, key := range []string{"Pid", "Uptime_sec"} {
		if _, ok := said[key]; !ok {
			return process{}, &RefusedError{line, "there is no " + key + ": " + text}
		}
	}
	return process{said["Pid"], time.Duration(said["Uptime_sec"]) * time.Second}, nil
}

// elsewhere counts the connections to a node that others have than the process that answers: one from before a reload is among them. It is 1
// if that can't be known.
func (d *Driver) elsewhere(is process, node netip.AddrPort) int {
	if !node.IsValid() || node.Port() == 0 || !d.here(is) {
		return 1
	}
	mine, err := sockets.Of(d.cfg.Proc, is.pid)
	if err != nil { // of another user: its own count, too
		mine = nil
	}
	node = netip.AddrPortFrom(node.Addr().Unmap(), node.Port())
	n := 0
	err = sockets.Seen(d.cfg.Proc, is.pid, func(c sockets.Conn) {
		if c.Remote == node && c.Inode != "0" && !mine[c.Inode] {
			n++
		}
	})
	if err != nil {
		return 1
	}
	return n
}

// here tells whether the process of that number is the one that answers: HAProxy may be on another machine, or in a container.
func (d *Driver) here(is process) bool {
	if d.cfg.Network != "unix" {
		return false
	}
	age, err := d.age(is.pid)
	return err == nil && (age-is.age).Abs() < 5*time.Second // HAProxy's is in whole seconds, and begins with what it reads before it serves
}

// age is the age of a process by the kernel.
func (d *Driver) age(pid int) (time.Duration, error) {
	stat, err := sockets.Stat(d.cfg.Proc, pid)
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join(d.cfg.Proc, "uptime"))
	if err != nil {
		return 0, err
	}
	up, _, _ := strings.Cut(string(b), " ")
	seconds, err := strconv.ParseFloat(up, 64)
	if err != nil {
		return 0, fmt.Errorf("the machine's uptime: %w", err)
	}
	ticks, err := strconv.ParseFloat(stat[19], 64)
	if err != nil {
		return 0, fmt.Errorf("the start of process %d: %w", pid, err)
	}
	const hertz = 100 // of what the kernel shows, on every machine that servers are fetched for
	return time.Duration((seconds - ticks/hertz) * float64(time.Second)), nil
}
