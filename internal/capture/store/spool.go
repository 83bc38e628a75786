package store

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// spooled is a file in a spool that has ended.
type spooled struct {
	file name.File
	path string
	size int64
}

// settled is how old a growing file is before it may be taken for one that a gateway left: its writer has locked it by then.
const settled = 5 * time.Second

// look lists what has ended in a spool, oldest first, and how many files still grow. A file that grows and that nobody holds is one that a gateway left
// behind when it was killed: it has ended, too.
func look(spool string, now time.Time) (ended []spooled, growing int, err error) {
	gateways, err := os.ReadDir(spool)
	if err != nil {
		return nil, 0, fmt.Errorf("look into the spool: %w", err)
	}
	for _, g := range gateways {
		if _, ok := name.Gateway(g.Name()); !ok || !g.IsDir() {
			continue
		}
		runs, err := readDir(filepath.Join(spool, g.Name()))
		if err != nil {
			return nil, 0, err
		}
		for _, r := range runs {
			if _, ok := name.ParseRun(r.Name()); !ok || !r.IsDir() {
				continue
			}
			files, err := readDir(filepath.Join(spool, g.Name(), r.Name()))
			if err != nil {
				return nil, 0, err
			}
			for _, e := range files {
				rel := g.Name() + "/" + r.Name() + "/" + e.Name()
				info, err := e.Info()
				if errors.Is(err, os.ErrNotExist) {
					continue // renamed, or deleted by the quota
				}
				if err != nil {
					return nil, 0, fmt.Errorf("look into the spool: %w", err)
				}
				if f, ok := name.Parse(rel); ok {
					ended = append(ended, spooled{f, filepath.Join(spool, rel), info.Size()})
				} else if f, ok := name.ParseGrowing(rel); ok {
					if now.Sub(info.ModTime()) < settled || now.Sub(f.Began) < settled || !left(filepath.Join(spool, rel)) {
						growing++
						continue
					}
					at := filepath.Join(spool, f.Spool())
					if err := os.Rename(filepath.Join(spool, rel), at); err != nil {
						return nil, 0, fmt.Errorf("end a file that a gateway left: %w", err)
					}
					ended = append(ended, spooled{f, at, info.Size()})
				}
			}
		}
	}
	slices.SortFunc(ended, func(a, b spooled) int { return cmp.Or(a.file.Began.Compare(b.file.Began), cmp.Compare(a.path, b.path)) })
	return ended, growing, nil
}

// readDir is os.ReadDir; a folder that was deleted meanwhile is empty.
func readDir(path string) ([]os.DirEntry, error) {
	all, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look into the spool: %w", err)
	}
	return all, nil
}

// left reports whether nobody holds a growing file. What can't be asked is held.
func left(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
