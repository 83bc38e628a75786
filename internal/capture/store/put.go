package store

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"gocloud.dev/blob"
)

// checksum is what an S3 API checks an upload by, and shows of what it has.
func checksum(content []byte) []byte {
	sum := md5.Sum(content)
	return sum[:]
}

// stalled is how long an upload may go on without a byte before it is given up.
const stalled = time.Minute

var errStalled = errors.New("the bucket did not take another byte for too long")

// put uploads in one request.
func (b *Bucket) put(ctx context.Context, key string, content []byte) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(b.stalled, func() { cancel(errStalled) })
	defer watch.Stop()
	in := &moving{Reader: bytes.NewReader(content), moved: func() { watch.Reset(b.stalled) }}
	err := b.blob.Upload(ctx, key, in, &blob.WriterOptions{ContentType: "application/x-windlass-capture", BufferSize: max(len(content)+1, 5<<20)})
	if err != nil {
		return fmt.Errorf("upload %s: %w", key, errors.Join(context.Cause(ctx), err))
	}
	if b.dir == "" {
		return nil
	}
	return b.sync(key)
}

// moving tells each time that it is read.
type moving struct {
	*bytes.Reader
	moved func()
}

func (m *moving) Read(to []byte) (int, error) {
	m.moved()
	return m.Reader.Read(to)
}

// sync makes a file of a folder outlive a loss of power: it is deleted from the spool then.
func (b *Bucket) sync(key string) error {
	at := filepath.Join(b.dir, filepath.FromSlash(key))
	for _, p := range []string{at, filepath.Dir(at)} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync %s: %w", p, err)
		}
	}
	return nil
}

// errDiffers means that what the bucket has is not what was sent.
var errDiffers = errors.New("the bucket has other bytes than were sent")

// seen looks whether the bucket has a file whole: its size, and its checksum, for which it is read again if the bucket does not tell one.
func (b *Bucket) seen(ctx context.Context, key string, size int64, sum []byte) error {
	within, cancel := context.WithTimeoutCause(ctx, b.stalled, errStalled)
	a, err := b.blob.Attributes(within, key)
	cancel()
	if err != nil {
		return fmt.Errorf("look at %s: %w", key, err)
	}
	if a.Size != size {
		return fmt.Errorf("%s: %w: %d bytes, not %d", key, errDiffers, a.Size, size)
	}
	if bytes.Equal(a.MD5, sum) {
		return nil
	}
	// What looks like a checksum is none of the bytes where the other side encrypts.
	r, err := b.Read(ctx, Segment{Name: key, Size: size})
	if err != nil {
		return err
	}
	h := md5.New()
	_, err = io.Copy(h, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("read %s again: %w", key, err)
	}
	if got := h.Sum(nil); !bytes.Equal(got, sum) {
		return fmt.Errorf("%s: %w", key, errDiffers)
	}
	return nil
}
