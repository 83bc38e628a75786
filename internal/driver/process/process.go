// Package process starts and stops servers of a version on this machine.
//
// A server outlives the program that started it: it has a session of its own, and is found again by its pid file, which
// holds the pid and the kernel's start time of that pid, so that a pid that was given to another program is never
// mistaken for it. Only that exact process is ever signalled.
//
// A server that somebody else started can be told by a pid file of theirs, Spec.Theirs. It has the pid alone, so there the
// process has to be older than the file.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
)

// State says what is known of a server's process.
type State string

// A server runs or does not. Anything that could not be read is an error, not a state.
const (
	Running State = "running"
	Stopped State = "stopped"
)

// Spec is how to run one server.
type Spec struct {
	Name string   // for messages
	Dir  string   // its folder; holds the pid file and the log
	Argv []string // command line, with no secret in it
	Env  []string // added to the environment
	// Unrooted is for a program that refuses to run as root: if we are root, it is somebody else to itself.
	Unrooted bool
	Ready    func(ctx context.Context) error // nil error once it answers
	// Theirs is the pid file of whoever starts the server without Windlass: while no process that we started is there, the one that it names is the
	// server's. "": nobody else starts it.
	Theirs string
}

func (s Spec) pidFile() string { return filepath.Join(s.Dir, "windlass.pid") }

// LogFile is where the server's output goes.
func (s Spec) LogFile() string { return filepath.Join(s.Dir, "server.log") }

// Status tells whether the server runs, and its pid if it does.
func (s Spec) Status() (State, int, error) {
	state, pid, err := s.ours()
	if err != nil || state == Running || s.Theirs == "" {
		return state, pid, err
	}
	return s.theirs()
}

// ours looks for the process that we started.
func (s Spec) ours() (State, int, error) {
	b, err := os.ReadFile(s.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return Stopped, 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read the pid of %s: %w", s.Name, err)
	}
	var pid int
	var start uint64
	if n, err := fmt.Sscanf(string(b), "%d %d", &pid, &start); n != 2 || err != nil {
		return "", 0, fmt.Errorf("the pid file of %s is unreadable: %q", s.Name, b)
	}
	now, alive, err := startTime(pid)
	if err != nil {
		return "", 0, fmt.Errorf("look at process %d of %s: %w", pid, s.Name, err)
	}
	if !alive || now != start {
		return Stopped, 0, nil
	}
	return Running, pid, nil
}

// startTime reads the kernel's start time of a process, in ticks since boot. A zombie without threads is not alive.
func startTime(pid int) (uint64, bool, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	// The command's name is in brackets and may hold anything: count fields after the last bracket.
	i := bytes.LastIndexByte(b, ')')
	fields := strings.Fields(string(b[i+1:]))
	if i < 0 || len(fields) < 20 {
		return 0, false, fmt.Errorf("unreadable: %q", b)
	}
	// The first thread of a killed process is a zombie while others are still on their way out, with every port and file
	// open: the process is gone when it is the only one.
	if threads := fields[17]; (fields[0] == "Z" || fields[0] == "X") && (threads == "0" || threads == "1") {
		return 0, false, nil
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return start, true, err
}

// Start runs the server if it does not run, and waits until it is ready or the context ends.
func (s Spec) Start(ctx context.Context) error {
	state, _, err := s.Status()
	if err != nil {
		return err
	}
	if state == Stopped {
		if err := s.spawn(); err != nil {
			return fmt.Errorf("start %s: %w", s.Name, err)
		}
	}
	return s.waitReady(ctx)
}

func (s Spec) spawn() error {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.Unrooted {
		builds.Unrooted(cmd)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// Somebody has to collect the exit status while this program lives; afterwards init does.
	go func() { _ = cmd.Wait() }()
	start, alive, err := startTime(cmd.Process.Pid)
	if err != nil || !alive {
		return fmt.Errorf("it ended at once, see %s: %s", s.LogFile(), s.tail())
	}
	tmp := s.pidFile() + ".new"
	if err := os.WriteFile(tmp, fmt.Appendf(nil, "%d %d\n", cmd.Process.Pid, start), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	return os.Rename(tmp, s.pidFile())
}

func (s Spec) waitReady(ctx context.Context) error {
	if s.Ready == nil {
		return nil
	}
	for {
		ready := s.Ready(ctx)
		if ready == nil {
			return nil
		}
		state, _, err := s.Status()
		if err != nil {
			return err
		}
		if state == Stopped {
			return fmt.Errorf("%s ended while starting, see %s: %s", s.Name, s.LogFile(), s.tail())
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("%s does not answer (%v); see %s: %w", s.Name, ready, s.LogFile(), err)
		}
	}
}

func (s Spec) tail() string {
	b, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-600):]))
}

// Stop asks the server to end and waits until it has, or the context ends.
func (s Spec) Stop(ctx context.Context) error { return s.end(ctx, syscall.SIGTERM) }

// Kill ends the server at once, as a power cut would.
func (s Spec) Kill(ctx context.Context) error { return s.end(ctx, syscall.SIGKILL) }

// Pause freezes the server, Continue lets it go on.
func (s Spec) Pause() error { return s.signal(syscall.SIGSTOP) }

// Continue lets a paused server go on.
func (s Spec) Continue() error { return s.signal(syscall.SIGCONT) }

func (s Spec) signal(sig syscall.Signal) error {
	state, pid, err := s.Status()
	if err != nil {
		return err
	}
	if state == Stopped {
		return fmt.Errorf("%s does not run", s.Name)
	}
	return syscall.Kill(pid, sig)
}

func (s Spec) end(ctx context.Context, sig syscall.Signal) error {
	state, pid, err := s.Status()
	if err != nil || state == Stopped {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal %s: %w", s.Name, err)
	}
	for {
		if state, _, err = s.Status(); err != nil || state == Stopped {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%s (pid %d) has not ended: %w", s.Name, pid, err)
		}
	}
}

// pause waits, or returns early with the context's error.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
