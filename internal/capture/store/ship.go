package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ShipConfig is what Ship does.
type ShipConfig struct {
	Spool string
	To    *Bucket
	Once  bool // end when nothing that has ended is left in the spool, instead of waiting for more

	Retain      time.Duration // how long segments are kept in the bucket; 0: for ever
	RetainBytes int64         // how much is kept there at the most, over all gateways; 0: no bound

	Uploads int           // at a time; 0: 2
	Every   time.Duration // how often the spool is looked into; 0: 1 s
	GiveUp  time.Duration // with Once, how long nothing may succeed; 0: 2 minutes

	Log      *slog.Logger
	Metrics  *Metrics       // may be nil
	Progress func(Progress) // called after each look and each file; may be nil
	Now      func() time.Time
}

// Progress is how far shipping is.
type Progress struct {
	Files, Bytes         int64 // that were shipped
	Left                 int   // files that have ended and are still in the spool
	LeftBytes            int64
	Growing              int       // files that have not ended
	Oldest               time.Time // when the oldest of those left began; zero if there is none
	Failures             int64     // tries that failed
	Err                  error     // of the last try; nil if it succeeded
	Deleted, DeletedSize int64     // segments that were kept long enough
}

// ErrGaveUp means that files are left in the spool because the bucket took nothing for too long.
var ErrGaveUp = errors.New("the bucket took nothing for too long")

// Ship brings what ends in a spool to a bucket until the context ends, or with Once until nothing is left. It fails only if the spool itself can't be read, or
// with Once if the bucket takes nothing: whatever else fails is tried again.
func Ship(ctx context.Context, c ShipConfig) error {
	c.Uploads = cmp.Or(c.Uploads, 2)
	c.Every = cmp.Or(c.Every, time.Second)
	c.GiveUp = cmp.Or(c.GiveUp, 2*time.Minute)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &shipper{ShipConfig: c, tries: map[string]int{}, succeeded: c.Now()}
	for {
		left, err := s.round(ctx)
		if err != nil {
			return err
		}
		if err := s.retain(ctx, left == 0 && c.Once); err != nil {
			return err
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case left == 0 && c.Once:
			return nil
		case left > 0 && c.Once && c.Now().Sub(s.succeeded) >= c.GiveUp:
			return fmt.Errorf("%w: %d files are left in %s: %w", ErrGaveUp, left, c.Spool, s.p.Err)
		}
		wait := c.Every
		if s.fails > 0 {
			wait = s.To.pauses(s.fails)
			wait = wait/2 + rand.N(wait) // not all shippers of a bucket at once
		} else if left > 0 {
			wait = 0
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

type shipper struct {
	ShipConfig
	retained time.Time // when old segments were looked for last

	mu        sync.Mutex
	p         Progress
	tries     map[string]int // of files that failed, by path
	fails     int            // in a row
	succeeded time.Time
}

// hopeless is after how many failures in a row a round ends: the others would fail as well, and each may take a minute to.
const hopeless = 4

// round tries every file that has ended once, those first that failed less often, then the oldest first. It gives how many are left.
func (s *shipper) round(ctx context.Context) (left int, err error) {
	files, growing, err := look(s.Spool, s.Now())
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(files, func(a, b spooled) int { return cmp.Compare(s.tries[a.path], s.tries[b.path]) })
	s.found(files, growing)
	var g errgroup.Group
	g.SetLimit(s.Uploads)
	before := s.fails
	for _, f := range files {
		s.mu.Lock()
		stop := s.fails >= before+hopeless
		s.mu.Unlock()
		if stop || ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			s.tell(f, s.one(ctx, f))
			return nil
		})
	}
	_ = g.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p.Left, nil
}

func (s *shipper) found(files []spooled, growing int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p.Left, s.p.Growing, s.p.LeftBytes, s.p.Oldest = len(files), growing, 0, time.Time{}
	known := map[string]int{}
	for _, f := range files {
		s.p.LeftBytes += f.size
		if s.p.Oldest.IsZero() || f.file.Began.Before(s.p.Oldest) {
			s.p.Oldest = f.file.Began
		}
		if n := s.tries[f.path]; n > 0 {
			known[f.path] = n
		}
	}
	s.tries = known
	s.publish()
}

// one brings one file to the bucket and deletes it from the spool. A file that is not there any more was deleted by the spool's quota.
func (s *shipper) one(ctx context.Context, f spooled) error {
	content, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		return fmt.Errorf("read the spool: %w", err)
	}
	key, sum := f.file.Bucket(), checksum(content)
	switch err := s.To.seen(ctx, key, int64(len(content)), sum); {
	case err == nil: // it was shipped, and a kill came before it was deleted
	case ctx.Err() != nil:
		return err
	case !gone(err) && !errors.Is(err, errDiffers):
		return err
	default:
		if err := s.To.put(ctx, key, content); err != nil {
			return err
		}
		if err := s.To.seen(ctx, key, int64(len(content)), sum); err != nil {
			return err
		}
	}
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete what was shipped from the spool: %w", err)
	}
	return nil
}

// tell counts how a try ended.
func (s *shipper) tell(f spooled, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrNotExist) && !gone(err):
		s.Log.Warn("a file of the spool was deleted before it was shipped", "gateway", f.file.Gateway, "file", filepath.Base(f.path))
	case err != nil:
		s.tries[f.path]++
		s.fails++
		s.p.Failures++
		s.p.Err = err
		if s.Metrics != nil {
			s.Metrics.failures.Inc()
		}
		s.Log.Warn("a file was not shipped, and is tried again", "gateway", f.file.Gateway, "file", filepath.Base(f.path), "tries", s.tries[f.path], "err", err)
		s.publish()
		return
	default:
		s.p.Files++
		s.p.Bytes += f.size
		if s.Metrics != nil {
			s.Metrics.files.Inc()
			s.Metrics.bytes.Add(float64(f.size))
		}
	}
	s.fails, s.p.Err, s.succeeded = 0, nil, s.Now()
	s.p.Left--
	s.p.LeftBytes -= f.size
	s.publish()
}

func (s *shipper) publish() {
	if s.Metrics != nil {
		s.Metrics.left(s.p)
	}
	if s.Progress != nil {
		s.Progress(s.p)
	}
}
