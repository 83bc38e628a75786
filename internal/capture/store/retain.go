package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// retainEvery is how often what was kept long enough is deleted.
const retainEvery = 10 * time.Minute

// retain deletes now and then what was kept long enough. A bucket that does not let us is told of, and tried again the next time.
func (s *shipper) retain(ctx context.Context, last bool) error {
	if s.Retain == 0 && s.RetainBytes == 0 || !last && !s.retained.IsZero() && s.Now().Sub(s.retained) < retainEvery {
		return nil
	}
	s.retained = s.Now()
	files, bytes, err := s.To.Retain(ctx, s.Retain, s.RetainBytes, s.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p.Deleted += files
	s.p.DeletedSize += bytes
	if s.Metrics != nil {
		s.Metrics.deleted.Add(float64(files))
	}
	if files > 0 {
		s.Log.Info("segments were kept long enough", "deleted", files, "bytes", bytes)
	}
	if err != nil && ctx.Err() == nil {
		s.p.Failures++
		s.Log.Warn("what was kept long enough can't be deleted, and is tried again", "err", err)
		if last {
			return err
		}
	}
	return nil
}

// Retain deletes segments that began longer ago than age, and then the oldest until no more than so many bytes are left. Zero is no bound. What has
// another name is left alone.
func (b *Bucket) Retain(ctx context.Context, age time.Duration, bytes int64, now time.Time) (files, deleted int64, err error) {
	r := Range{}
	if bytes == 0 {
		r.To = now.Add(-age)
	}
	all, err := b.Segments(ctx, r)
	if err != nil {
		return 0, 0, err
	}
	var total int64
	for _, s := range all {
		total += s.Size
	}
	for _, s := range all {
		old := age > 0 && s.Began.Before(now.Add(-age))
		if !old && (bytes == 0 || total <= bytes) {
			continue
		}
		if err := b.blob.Delete(ctx, s.Name); err != nil && !gone(err) { // another shipper may have been first
			return files, deleted, fmt.Errorf("delete %s: %w", s.Name, err)
		}
		files, deleted, total = files+1, deleted+s.Size, total-s.Size
	}
	return files, deleted, b.tidy(now)
}

// unfinished is how long a part of a file lies in a folder before it is one that a kill left.
const unfinished = time.Hour

// tidy deletes what a folder has beside segments: empty hours and days, and parts of files that a kill left.
func (b *Bucket) tidy(now time.Time) error {
	if b.dir == "" {
		return nil
	}
	var dirs []string
	err := filepath.WalkDir(b.dir, func(path string, e fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(b.dir, path)
		parts := strings.Split(filepath.ToSlash(rel), "/")
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case e.IsDir() && len(parts) > 1:
			if _, ok := name.ParseDay(parts[1]); !ok {
				return filepath.SkipDir
			}
			dirs = append(dirs, path)
		case !e.IsDir() && len(parts) == 4 && strings.HasSuffix(parts[3], ".tmp"):
			if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > unfinished {
				return os.Remove(path)
			}
		}
		return nil
	})
	this, next := name.Day(now), name.Day(now.Add(24*time.Hour)) // where one may be being made
	for i := len(dirs) - 1; i >= 0; i-- {
		if !strings.Contains(dirs[i], this) && !strings.Contains(dirs[i], next) {
			_ = os.Remove(dirs[i]) // unless something is in it
		}
	}
	return err
}
