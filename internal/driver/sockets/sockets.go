// Package sockets tells from the kernel's tables which connections a process has, on Linux.
//
// A load balancer that has been told to leave says nothing any more of what it still serves; the kernel does. A process's network is seen by
// everybody, its own sockets only by root and its user.
//
// Failure. What can't be read is an error. A process that ended meanwhile is one too, which Gone knows.
package sockets

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Conn is one socket of TCP as the kernel shows it.
type Conn struct {
	Local, Remote netip.AddrPort
	Listens       bool
	Inode         string // "0" once no process has it any more
}

// Gone tells that a process ended while it was looked at.
func Gone(err error) bool {
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// Of are the inodes of a process's open sockets. proc is where the kernel shows processes: /proc.
func Of(proc string, pid int) (map[string]bool, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid), "fd")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	mine := map[string]bool{}
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if Gone(err) {
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

// Seen goes through every socket of TCP in the network that the process is in, whosever they are.
func Seen(proc string, pid int, each func(Conn)) error {
	for _, table := range []string{"tcp", "tcp6"} {
		err := read(filepath.Join(proc, strconv.Itoa(pid), "net", table), each)
		if err != nil && (table == "tcp" || !Gone(err)) { // a kernel without IPv6 has no tcp6
			return fmt.Errorf("read the kernel's connections: %w", err)
		}
	}
	return nil
}

func read(name string, each func(Conn)) error {
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
		local, err := parse(c[1])
		remote, rerr := parse(c[2])
		if err = errors.Join(err, rerr); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		each(Conn{local, remote, c[3] == "0A", c[9]})
	}
	return lines.Err()
}

// parse reads an address as the kernel shows it: words of four bytes, each in the machine's order, and the port in hex.
func parse(text string) (netip.AddrPort, error) {
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

// Stat are the fields of a process's line from its state on: state, parent, …; the 20th is when it started, in the kernel's ticks.
func Stat(proc string, pid int) ([]string, error) {
	stat, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // a program's name may hold anything
	if len(f) < 20 {
		return nil, fmt.Errorf("%q is no process's line", stat)
	}
	return f, nil
}
