package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// Read opens a segment. Where the connection breaks it goes on from there by itself, a few times; the error is ErrGone if the segment is not there any
// more. The reader is bound to the context.
func (b *Bucket) Read(ctx context.Context, s Segment) (io.ReadCloser, error) {
	r := &reader{size: s.Size, open: func(from int64) (io.ReadCloser, error) {
		within, cancel := context.WithCancelCause(ctx)
		watch := time.AfterFunc(b.stalled, func() { cancel(errStalled) })
		in, err := b.blob.NewRangeReader(within, s.Name, from, -1, nil)
		if err != nil {
			watch.Stop()
			err = errors.Join(err, context.Cause(within))
			cancel(nil)
			return nil, err // not a nil pointer in an interface
		}
		watch.Stop()
		return &watched{in, watch, b.stalled, func() { cancel(nil) }}, nil
	}, pause: func(n int) error { return pause(ctx, b.pauses(n)) }, name: s.Name}
	if err := r.reopen(); err != nil {
		return nil, err
	}
	return r, nil
}

// watched ends a connection at which nothing moves.
type watched struct {
	io.ReadCloser
	watch *time.Timer
	most  time.Duration
	free  func()
}

func (w *watched) Read(to []byte) (int, error) {
	w.watch.Reset(w.most)
	defer w.watch.Stop()
	return w.ReadCloser.Read(to)
}

func (w *watched) Close() error {
	w.watch.Stop()
	defer w.free()
	return w.ReadCloser.Close()
}

// again is how often a read is tried that gets nowhere.
const again = 5

// reader goes on where a connection broke.
type reader struct {
	name  string
	open  func(from int64) (io.ReadCloser, error)
	pause func(n int) error
	in    io.ReadCloser
	at    int64
	size  int64
	fails int // in a row
}

func (r *reader) reopen() error {
	for {
		in, err := r.open(r.at)
		if err == nil {
			r.in = in
			return nil
		}
		if err := r.failed(err); err != nil {
			return err
		}
	}
}

// failed waits after a failure, or gives it as the error if it is one too many.
func (r *reader) failed(err error) error {
	if gone(err) {
		return fmt.Errorf("read %s: %w", r.name, ErrGone)
	}
	if r.fails++; r.fails >= again {
		return fmt.Errorf("read %s at %d: %w", r.name, r.at, err)
	}
	if waited := r.pause(r.fails); waited != nil {
		return fmt.Errorf("read %s at %d: %w", r.name, r.at, errors.Join(waited, err))
	}
	return nil
}

func (r *reader) Read(to []byte) (int, error) {
	for {
		if r.in == nil {
			if err := r.reopen(); err != nil {
				return 0, err
			}
		}
		n, err := r.in.Read(to)
		r.at += int64(n)
		if n > 0 {
			r.fails = 0
		}
		if errors.Is(err, io.EOF) && r.at < r.size {
			err = io.ErrUnexpectedEOF // some connections end as if that were all
		}
		if err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		r.in.Close()
		r.in = nil
		if n > 0 {
			return n, nil
		}
		if err := r.failed(err); err != nil {
			return 0, err
		}
	}
}

func (r *reader) Close() error {
	if r.in == nil {
		return nil
	}
	return r.in.Close()
}

// backoff is how long to wait after so many failures in a row.
func backoff(n int) time.Duration {
	d := firstPause << min(max(n-1, 0), 20)
	return min(d, longestPause)
}

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 30 * time.Second
)

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Put keeps a file that is not from a spool, such as one made of a server's log. What is there under its name is replaced.
func (b *Bucket) Put(ctx context.Context, f name.File, content []byte) (Segment, error) {
	sum := checksum(content)
	if err := b.put(ctx, f.Bucket(), content); err != nil {
		return Segment{}, err
	}
	s, _ := entry{key: f.Bucket(), size: int64(len(content))}.segment()
	return s, b.seen(ctx, s.Name, s.Size, sum)
}
