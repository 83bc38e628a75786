package haproxy

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

// elsewhere counts the connections to a node that others have than the process that answers, and this one: one from before a reload is among them. It
// is 1 if that can't be known. why says what was counted.
//
// HAProxy's own check of the node may begin and end between two reads of the kernel's tables, so what is not its own by the first look is looked at again.
func (d *Driver) elsewhere(is process, node netip.AddrPort) (n int, why string) {
	if !node.IsValid() || node.Port() == 0 || !d.here(is) {
		return 1, "whether another process is connected to it can't be seen from this machine, so one counts"
	}
	node = netip.AddrPortFrom(node.Addr().Unmap(), node.Port())
	for range 2 {
		var others []string
		mine := map[string]bool{}
		d.own(is, mine)
		err := sockets.Seen(d.cfg.Proc, is.pid, func(c sockets.Conn) {
			if c.Remote == node && c.Inode != "0" && !mine[c.Inode] {
				others = append(others, c.Inode)
			}
		})
		if err != nil {
			return 1, fmt.Sprintf("the kernel does not say who is connected to it (%v), so one counts", err)
		}
		d.own(is, mine) // what began between
		if n = len(slices.DeleteFunc(others, func(inode string) bool { return mine[inode] })); n == 0 {
			return 0, ""
		}
	}
	return n, fmt.Sprintf("the kernel shows %d connections to it of other processes", n)
}

// own adds the sockets of the process that answers, and of this one, which asks nodes how they are. If they belong to another user they count, too.
func (d *Driver) own(is process, mine map[string]bool) {
	for _, pid := range []int{is.pid, os.Getpid()} {
		if some, err := sockets.Of(d.cfg.Proc, pid); err == nil {
			maps.Copy(mine, some)
		}
	}
}

// here tells whether the process of that number is the one that answers: HAProxy may be on another machine, or in a container. It is if the process
// has the very socket; where that can't be seen its age has to be what HAProxy says, which is in whole seconds, and begins with what it reads before
// it serves.
func (d *Driver) here(is process) bool {
	if d.cfg.Network != "unix" {
		return false
	}
	if d.listens(is.pid) {
		return true
	}
	age, err := d.age(is.pid)
	return err == nil && (age-is.age).Abs() < 5*time.Second
}

// listens tells whether the process is seen to have the runtime socket. HAProxy makes it by another name, and renames it.
func (d *Driver) listens(pid int) bool {
	b, err := os.ReadFile(filepath.Join(d.cfg.Proc, strconv.Itoa(pid), "net", "unix"))
	if err != nil {
		return false
	}
	mine, err := sockets.Of(d.cfg.Proc, pid)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) { // Num RefCount Protocol Flags Type St Inode Path
		f := strings.Fields(line)
		if len(f) < 8 || !mine[f[6]] {
			continue
		}
		after, ok := strings.CutPrefix(f[7], d.cfg.Address)
		if ok && (after == "" || strings.HasPrefix(after, ".") && strings.HasSuffix(after, ".tmp")) {
			return true
		}
	}
	return false
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
