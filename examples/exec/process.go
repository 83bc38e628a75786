package main

import (
	"bytes"
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

// process is the server of one resource. It outlives this program, and is found again by its pid and the kernel's start time of it,
// so that a pid that was given to another program is never mistaken for it.
type process struct{ dir string }

func (p process) pidFile() string { return filepath.Join(p.dir, "pid") }
func (p process) log() string     { return filepath.Join(p.dir, "server.log") }

// wrapper writes the pid file from inside the new process, before the server is there: no kill of this program can leave a
// server that is not found again. $0 is the pid file, $1 the command.
const wrapper = `stat=$(cat /proc/$$/stat) && at() { shift 19; echo "$1"; } && echo "$$ $(at ${stat##*) })" >"$0.new" && mv "$0.new" "$0" && exec sh -c "exec $1"`

// start runs the command if it does not run, in a session of its own and with its output in a file: Windlass waits until nobody holds
// this program's own output open.
func (p process) start(command string, env []string) error {
	if pid, err := p.pid(); err != nil || pid != 0 {
		return err
	}
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("sh", "-c", wrapper, p.pidFile(), command)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, append(os.Environ(), env...), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(10 * time.Second); ; {
		if pid, err := p.pid(); err != nil || pid == cmd.Process.Pid {
			return err
		}
		select {
		case err := <-ended:
			return fmt.Errorf("it ended at once (%v); see %s", err, p.log())
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.Join(errors.New("it wrote no pid file"), cmd.Process.Kill())
		}
	}
}

// pid is the process's number, or 0 if it does not run. What can't be read is an error, never 0.
func (p process) pid() (int, error) {
	b, err := os.ReadFile(p.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var pid int
	var started string
	if _, err := fmt.Sscan(string(b), &pid, &started); err != nil {
		return 0, fmt.Errorf("%s is unreadable: %w", p.pidFile(), err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat is unreadable", pid)
	}
	if fields[19] != started {
		return 0, nil
	}
	// The first thread of a killed server is a zombie while others are still on their way out, with its port and its files: whoever took it
	// for gone would start the next one beside it, and take its answer for that one's.
	if threads := fields[17]; (fields[0] == "Z" || fields[0] == "X") && (threads == "0" || threads == "1") {
		return 0, nil
	}
	return pid, nil
}

// stop asks the process to end, and waits until it has.
func (p process) stop(ctx context.Context) error {
	pid, err := p.pid()
	if err != nil || pid == 0 {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	for {
		if now, err := p.pid(); err != nil || now == 0 {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("process %d does not end: %w", pid, err)
		}
	}
}
