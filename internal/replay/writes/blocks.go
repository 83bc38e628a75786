package writes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
)

// ErrDamaged means that a part of a capture can't be read. Of writes nothing may be missing: what follows would be replayed on other data.
var ErrDamaged = errors.New("the capture is damaged")

// Blocks gives all blocks of a bucket's segments, those of one gateway's run in their order. A file that is cut, as by a crash, ends with its last whole block.
func Blocks(ctx context.Context, b *store.Bucket, in store.Range, key *capture.Key) iter.Seq2[capture.Block, error] {
	return func(yield func(capture.Block, error) bool) {
		segments, err := b.Segments(ctx, in)
		if err != nil {
			yield(capture.Block{}, err)
			return
		}
		for _, s := range segments {
			if err := blocks(ctx, b, s, key, yield); err != nil {
				if !errors.Is(err, errStop) {
					yield(capture.Block{}, fmt.Errorf("%s: %w", s.Name, err))
				}
				return
			}
		}
	}
}

var errStop = errors.New("no more is wanted")

func blocks(ctx context.Context, b *store.Bucket, s store.Segment, key *capture.Key, yield func(capture.Block, error) bool) error {
	from, err := b.Read(ctx, s)
	if err != nil {
		return err
	}
	defer from.Close()
	r, err := capture.NewReader(from, key)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		block, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if !yield(block, nil) {
			return errStop
		}
	}
	if l := r.Loss(); l.Damaged > 0 || l.Blocks > 0 {
		return fmt.Errorf("%w: %d places, %d blocks missing", ErrDamaged, l.Damaged, l.Blocks)
	}
	return nil
}
