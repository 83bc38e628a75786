package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// child is a part of the control plane in a process of its own.
type child struct {
	name string
	log  string
	cmd  *exec.Cmd
	in   io.Closer
	gone chan struct{} // closed when it has ended
	told chan struct{} // closed when its last edge was read
}

// startChild starts this binary again in a role. Each line that it tells is given to edge, and answered when that returns
// true; nil for a part that has no edges.
func startChild(dir, role, name string, settings any, edge func(c *child, line string) bool) (*child, error) {
	b, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: name, log: filepath.Join(dir, name+".log"), cmd: exec.Command(self), gone: make(chan struct{}), told: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+role, settingsEnv+"="+file)
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	var ours, theirs []*os.File
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
	}()
	if edge != nil {
		fromChild, tell, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		hear, toChild, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		c.cmd.ExtraFiles = []*os.File{tell, hear} // tellFD, hearFD
		theirs, ours = []*os.File{tell, hear}, []*os.File{fromChild, toChild}
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // it was killed, or its log says why
		close(c.gone)
	}()
	if edge == nil {
		close(c.told)
		return c, nil
	}
	go func() {
		defer close(c.told)
		defer ours[0].Close()
		defer ours[1].Close()
		lines := bufio.NewScanner(ours[0])
		for lines.Scan() {
			if edge(c, lines.Text()) {
				if _, err := io.WriteString(ours[1], "go\n"); err != nil {
					return // it has died meanwhile
				}
			}
		}
	}()
	return c, nil
}

// kill ends it at once, and sees it gone.
func (c *child) kill() error {
	if err := c.signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-c.gone:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("%s (pid %d) does not end", c.name, c.cmd.Process.Pid)
	}
}

func (c *child) signal(sig syscall.Signal) error {
	select {
	case <-c.gone:
		return nil
	default:
	}
	if err := c.cmd.Process.Signal(sig); err != nil && err != os.ErrProcessDone {
		return fmt.Errorf("signal %s: %w", c.name, err)
	}
	return nil
}

// pause stops it as SIGSTOP does, and sees it stopped.
func (c *child) pause(ctx context.Context) error {
	if err := c.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		if still, err := processtest.StandsStill(c.cmd.Process.Pid); err != nil || still {
			return err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%s does not stand still: %w", c.name, err)
		}
	}
}

// pause waits, or ends early with the context's error.
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

// until polls a condition, which tells why it is not true yet.
func until(ctx context.Context, d time.Duration, what string, condition func() error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		why := condition()
		if why == nil {
			return nil
		}
		if err := pause(ctx, 15*time.Millisecond); err != nil {
			return fmt.Errorf("not within %v: %s: %w", d, what, why)
		}
	}
}
