package demo

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// InUseError says that another demo runs in the folder: its servers, its secrets and its state are there.
type InUseError struct {
	Dir string
	PID string // "" if it could not be read
}

// Error names the folder and the process.
func (e *InUseError) Error() string {
	other := "another demo"
	if e.PID != "" {
		other += ", process " + e.PID + ","
	}
	return fmt.Sprintf("%s runs in %s", other, e.Dir)
}

// ErrorHint says what to do about it.
func (e *InUseError) ErrorHint() string {
	return "end it first, or give this one a folder of its own with --dir"
}

// Hold keeps the folder for this demo alone until it is released or the process ends, however it ends. A folder that has no name is a new one, and
// needs none.
func Hold(dir string) (release func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "demo.pid"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		pid, _ := io.ReadAll(io.LimitReader(f, 20)) // it may not be written yet
		return nil, &InUseError{dir, strings.TrimSpace(string(pid))}
	}
	if err := errors.Join(f.Truncate(0), func() error { _, err := fmt.Fprintln(f, os.Getpid()); return err }()); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", f.Name(), err), f.Close())
	}
	return func() { _ = f.Close() }, nil // which gives the lock back
}
