package exec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A call outlives a supervisor that is killed: nobody bounds it any more, and nobody reads its answer. Whoever calls next for the
// same resource on this machine finds it by its environment, ends it, and only then looks at what it came to.
const (
	callVariable = "WINDLASS_CALL"     // pid and start time of the supervisor, the program, the resource's id
	pidVariable  = "WINDLASS_CALL_PID" // the program's own pid, so that what it started is not mistaken for it
)

// wrapper tells the program its pid, and becomes it.
const wrapper = `export ` + pidVariable + `=$$; exec "$@"`

// stat is what the kernel says of a process.
type stat struct {
	group, session int
	start          string // in ticks since boot: pid and start together are one process for ever
}

// readStat reads it; ok is false for a process that is gone or dead.
func readStat(pid int) (s stat, ok bool, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return s, false, nil
	}
	if err != nil {
		return s, false, err
	}
	// The command's name is in brackets and may hold anything: count fields after the last bracket.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 20 {
		return s, false, fmt.Errorf("/proc/%d/stat is unreadable: %q", pid, b)
	}
	if s.group, err = strconv.Atoi(f[2]); err != nil {
		return s, false, err
	}
	if s.session, err = strconv.Atoi(f[3]); err != nil {
		return s, false, err
	}
	s.start = f[19]
	return s, f[0] != "Z" && f[0] != "X", nil
}

// call is the value of callVariable for a call of this process.
func (p *Provisioner) callOf(id string) (string, error) {
	s, ok, err := readStat(os.Getpid())
	if err != nil || !ok {
		return "", fmt.Errorf("look at our own process: %w", err)
	}
	return fmt.Sprintf("%d %s %s %s", os.Getpid(), s.start, p.cfg.Command[0], id), nil
}

// orphans lists the programs that run for the resource, and whose supervisor is gone. A supervisor that is merely paused is not.
func (p *Provisioner) orphans(id string) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err != nil {
			continue // gone, or another user's: not of our making
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		value, ok := variable(env, callVariable)
		own, _ := variable(env, pidVariable)
		if !ok || own != strconv.Itoa(pid) {
			continue
		}
		supervisor, rest, _ := strings.Cut(value, " ")
		start, what, _ := strings.Cut(rest, " ")
		if what != p.cfg.Command[0]+" "+id {
			continue
		}
		by, err := strconv.Atoi(supervisor)
		if err != nil {
			continue
		}
		s, alive, err := readStat(by)
		if err != nil {
			return nil, fmt.Errorf("look for the supervisor %d that called process %d: %w", by, pid, err)
		}
		if alive && s.start == start {
			continue
		}
		if s, alive, err := readStat(pid); err != nil {
			return nil, err
		} else if alive && s.group == pid && s.session != pid { // as start made it
			found = append(found, pid)
		}
	}
	return found, nil
}

func variable(environ []byte, name string) (string, bool) {
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		if rest, ok := bytes.CutPrefix(v, []byte(name+"=")); ok {
			return string(rest), true
		}
	}
	return "", false
}

// endOrphans ends what a killed supervisor left running for the resource, with its whole group, as a timeout would. An error means
// that it may still act: hold.
func (p *Provisioner) endOrphans(ctx context.Context, id string) error {
	pids, err := p.orphans(id)
	if err != nil {
		return fmt.Errorf("look for an earlier call that still runs: %w", err)
	}
	for _, pid := range pids {
		p.cfg.Log.Warn("an earlier call still runs, and its supervisor is gone: it is ended", "resource", id, "pid", pid)
		if err := endGroup(ctx, pid, p.cfg.Grace); err != nil {
			return fmt.Errorf("an earlier call, process %d, still runs, and its supervisor is gone: end it: %w", pid, err)
		}
	}
	return nil
}

// endGroup asks the group to end, kills it after the grace, and waits until its leader is gone.
func endGroup(ctx context.Context, pid int, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, grace+10*time.Second)
	defer cancel()
	for _, s := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, 10 * time.Second}} {
		if err := syscall.Kill(-pid, s.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		for deadline := time.Now().Add(s.wait); time.Now().Before(deadline); {
			_, alive, err := readStat(pid)
			if err != nil {
				return err
			}
			if !alive {
				if s.signal == syscall.SIGKILL {
					return nil
				}
				break // what it started may have ignored the request
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	return errors.New("it does not end")
}
