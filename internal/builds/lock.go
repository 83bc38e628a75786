package builds

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// Lock takes an exclusive lock on a file, which it makes if needed, waiting until the context ends. It returns what gives
// the lock back. The lock ends with the process.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	return lock(ctx, path, nil)
}

// LockShared takes a lock that others may share, and that Lock waits for.
func LockShared(ctx context.Context, path string) (unlock func(), err error) {
	return flock(ctx, path, syscall.LOCK_SH, nil)
}

// ErrLocked means that another holds the lock.
var ErrLocked = errors.New("another process holds the lock")

// TryLock takes an exclusive lock without waiting, or fails with ErrLocked.
func TryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, err
	}
	return func() { f.Close() }, nil
}

// lock calls waiting once if another holds the lock.
func lock(ctx context.Context, path string, waiting func()) (func(), error) {
	return flock(ctx, path, syscall.LOCK_EX, waiting)
}

func flock(ctx context.Context, path string, how int, waiting func()) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		// A blocking flock can't be ended by a context.
		err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}
