package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// File is a checkpoint in a file. It is replaced by a rename, so that a kill leaves the old one or the new one; a lock beside it keeps two replays from counting into one.
func File(path string) Checkpoint { return &checkpointFile{path: path} }

type checkpointFile struct {
	path string
	lock *os.File
}

// ErrInUse says that another process counts into the same checkpoint.
var ErrInUse = errors.New("another replay counts into this file")

func (c *checkpointFile) Load(context.Context) ([]byte, error) {
	if c.lock == nil {
		f, err := os.OpenFile(c.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			return nil, fmt.Errorf("%s: %w", c.path, ErrInUse)
		}
		c.lock = f
	}
	b, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (c *checkpointFile) Save(_ context.Context, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(c.path), "."+filepath.Base(c.path)+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// Close gives the lock back.
func (c *checkpointFile) Close() error {
	if c.lock == nil {
		return nil
	}
	err := c.lock.Close()
	c.lock = nil
	return err
}

// Merge adds up what the workers of one capture have written down, each its share. The order does not matter. None may be there twice; one that is missing, or did not come to the capture's
// end, is noted as unfinished, so that no verdict passes over it. A single worker that follows a capture has no end to come to: what it has counted is the whole up to there.
func Merge(checkpoints ...[]byte) (*tally.Tally, error) {
	t := &tally.Tally{}
	shares := map[string]map[int]bool{}
	of := map[string]int{}
	for _, b := range checkpoints {
		var f file
		if err := json.Unmarshal(b, &f); err != nil {
			return nil, fmt.Errorf("read a checkpoint: %w", err)
		}
		if f.Format != format {
			return nil, fmt.Errorf("%w: it has format %d", ErrIdentity, f.Format)
		}
		if shares[f.Identity] == nil {
			shares[f.Identity], of[f.Identity] = map[int]bool{}, max(f.Share.N, 1)
		}
		if of[f.Identity] != max(f.Share.N, 1) {
			return nil, fmt.Errorf("%w: of %q there are shares of %d and of %d", ErrShares, f.Identity, of[f.Identity], max(f.Share.N, 1))
		}
		if shares[f.Identity][f.Share.I] {
			return nil, fmt.Errorf("%w: share %d of %q is there twice, and would count twice", ErrShares, f.Share.I+1, f.Identity)
		}
		shares[f.Identity][f.Share.I] = true
		if !f.Over && (f.Share.N > 1 || !f.Follow) {
			t.AddUnfinished(fmt.Sprintf("share %d of %d has not come to the end of the capture", f.Share.I+1, max(f.Share.N, 1)))
		}
		t.Merge(&f.Tally)
	}
	for identity, n := range of {
		for i := range n {
			if !shares[identity][i] {
				t.AddUnfinished(fmt.Sprintf("share %d of %d is missing", i+1, n))
			}
		}
	}
	return t, nil
}

// ErrShares says that what is to be added up does not belong together.
var ErrShares = errors.New("these are not the shares of one replay, each once")
