package run

import (
	"context"
	"io"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store"
)

// Source gives the segments to replay.
type Source interface {
	// Next gives what has arrived since the call before, in order of time, and within a run in order of its indexes; over says that nothing more will come. It does not wait.
	Next(ctx context.Context) (segments []store.Segment, over bool, err error)
	// Read opens one. An error that wraps store.ErrGone says that it is not there any more.
	Read(ctx context.Context, s store.Segment) (io.ReadCloser, error)
}

// Range is what of a bucket is replayed.
type Range struct {
	From, To time.Time
	Gateways []string
	Follow   bool // what arrives later, too
}

// Bucket makes a bucket a source.
func Bucket(b *store.Bucket, r Range) Source {
	if r.Follow {
		return &following{Bucket: b, feed: b.Feed(store.FeedConfig{From: r.From, To: r.To, Gateways: r.Gateways}), to: r.To}
	}
	return &whole{Bucket: b, in: store.Range{From: r.From, To: r.To, Gateways: r.Gateways}}
}

// whole gives what is there, once.
type whole struct {
	*store.Bucket
	in    store.Range
	holes int64
}

func (w *whole) Next(ctx context.Context) ([]store.Segment, bool, error) {
	segments, err := w.Segments(ctx, w.in)
	w.holes = files(store.Holes(segments))
	return segments, err == nil, err
}

// Holes is how many files are missing between those that are there.
func (w *whole) Holes() int64 { return w.holes }

func files(holes []store.Hole) (n int64) {
	for _, h := range holes {
		n += int64(h.Last - h.First + 1)
	}
	return n
}

// following gives what arrives.
type following struct {
	*store.Bucket
	feed *store.Feed
	to   time.Time
}

// settle is how long after the end of its range a feed may still get segments of it.
const settle = time.Minute

func (f *following) Next(ctx context.Context) ([]store.Segment, bool, error) {
	over := !f.to.IsZero() && time.Since(f.to) > settle
	segments, err := f.feed.Next(ctx)
	return segments, over && err == nil && len(segments) == 0, err
}

// Holes is how many files are missing between those that were given.
func (f *following) Holes() int64 { return files(f.feed.Missing()) }
