package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// migrating bounds how long a server waits for another one that brings the same state up to date.
const migrating = time.Minute

// aloneInFolder keeps other servers from bringing a file's tables up to date at the same time: each migration is a transaction, but which
// ones are due is asked before it, so that two servers would run the same one. PostgreSQL has a lock for it, SQLite has none that lasts over
// several transactions. The lock is on the folder, because closing another handle of the file itself would drop SQLite's own locks on it; it
// ends with the process. A file system that can't lock is used without.
func aloneInFolder(ctx context.Context, path string) (release func() error, err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("lock the state's folder: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, migrating)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		switch err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil, !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return dir.Close, nil // which gives the lock back
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(&Trouble{What: fmt.Sprintf("another server is bringing the state %s up to date", path),
				Hint: "wait until it has started; if there is none, look who holds a lock on its folder", Err: ctx.Err()}, dir.Close())
		case <-again.C:
		}
	}
}
