// Package importer writes servers' logs to a bucket, as segments of captured statements.
//
// The same log under the same gateway and run has the same segments, so that doing it again, also after a kill, changes nothing.
package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// Imported is what came of a log.
type Imported struct {
	Segments   int               `json:"segments"`
	Bytes      int64             `json:"bytes"`
	Statements int64             `json:"statements"`
	Dropped    map[string]uint64 `json:"dropped"` // statements that can't be run, by reason
	From       time.Time         `json:"from"`    // of the statements
	To         time.Time         `json:"to"`
	Lost       capture.Loss      `json:"lost"`
	Sources    []string          `json:"sources"`
	Lacks      []string          `json:"lacks"`
}

// The bounds of a segment. Time is what source.Options.Every is set to.
const (
	segmentBytes = 32 << 20
	SegmentTime  = time.Minute
)

// Import writes a log to a bucket. A key seals the segments.
func Import(ctx context.Context, from *source.Reader, to *store.Bucket, key *capture.Key) (Imported, error) {
	i := importer{from: from, to: to, key: key}
	var lacks source.Lack
	for {
		b, err := from.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return i.out, fmt.Errorf("read the log: %w", err)
		}
		if len(i.out.Sources) == 0 || i.out.Sources[len(i.out.Sources)-1] != b.Meta.Source {
			i.out.Sources = append(i.out.Sources, b.Meta.Source)
		}
		lacks |= source.Lacks(b.Meta.Source)
		if err := i.block(ctx, b); err != nil {
			return i.out, err
		}
	}
	err := i.end(ctx)
	i.out.Lost, i.out.Lacks = from.Loss(), lacks.Strings()
	return i.out, err
}

type importer struct {
	from *source.Reader
	to   *store.Bucket
	key  *capture.Key
	out  Imported

	w     *capture.Writer
	meta  capture.Meta // of the writer
	buf   bytes.Buffer
	began time.Time // zero: no segment is begun
	index uint64
	told  map[string]uint64
}

func (i *importer) block(ctx context.Context, b capture.Block) error {
	if i.out.Dropped == nil {
		i.out.Dropped = map[string]uint64{}
	}
	if i.from.Anew() || i.index == 0 {
		if err := errors.Join(i.end(ctx), i.begin(b)); err != nil {
			return err
		}
	}
	for reason, n := range b.Dropped {
		i.w.Drop(reason, n-i.told[reason])
		i.out.Dropped[reason] = n
	}
	i.told = b.Dropped
	for _, e := range b.Events {
		if err := i.w.Add(&e); err != nil {
			return err
		}
		if e.Kind == capture.Start {
			i.out.Statements++
			if i.out.From.IsZero() || e.At.Before(i.out.From) {
				i.out.From = e.At
			}
			if e.At.After(i.out.To) {
				i.out.To = e.At
			}
		}
	}
	if i.w.Size() >= segmentBytes {
		i.from.Again()
	}
	return i.w.Flush()
}

func (i *importer) begin(b capture.Block) error {
	if i.w == nil || b.Meta != i.meta {
		w, err := capture.NewWriter(b.Meta, i.key)
		if err != nil {
			return err
		}
		i.w, i.meta, i.told = w, b.Meta, nil
	}
	i.buf.Reset()
	i.began = time.Unix(0, 0) // of what was dropped alone
	if len(b.Events) > 0 {
		i.began = b.Events[0].At
	}
	i.index++
	return i.w.Begin(&i.buf)
}

// end puts the segment into the bucket.
func (i *importer) end(ctx context.Context) error {
	if i.began.IsZero() {
		return nil
	}
	if err := i.w.Flush(); err != nil {
		return err
	}
	f := name.File{Gateway: i.meta.Gateway, Run: i.meta.Run, Index: i.index, Began: i.began}
	s, err := i.to.Put(ctx, f, i.buf.Bytes())
	if err != nil {
		return err
	}
	i.out.Segments++
	i.out.Bytes += s.Size
	i.began = time.Time{}
	return nil
}
