package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// results opens the bucket of what was counted.
func (d *Driver) results(ctx context.Context) (*blob.Bucket, error) {
	u, err := url.Parse(d.cfg.Results)
	if err != nil {
		return nil, fmt.Errorf("the URL of replay.results can't be read")
	}
	if u.Scheme == "file" {
		if err := os.MkdirAll(u.Path, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of what is counted: %w", err)
		}
		b, err := fileblob.OpenBucket(u.Path, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
		if err != nil {
			return nil, fmt.Errorf("open the folder of what is counted: %w", err)
		}
		return b, nil
	}
	prefix := strings.Trim(u.Path, "/")
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: u.RawQuery}
	b, err := new(s3blob.URLOpener).OpenBucketURL(ctx, &bare)
	if err != nil {
		return nil, fmt.Errorf("open the bucket of what is counted, %s: %w", u.Host, err)
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix+"/")
	}
	return b, nil
}

// The names of what is kept of a replay.
const (
	nameTally  = "tally.json"
	nameRetest = "retest.json"
	nameReport = "report.json"
)

func path(r bluegreen.ReplayRequest, name string) string { return "replays/" + r.ID + "/" + name }

// kept reads something of a replay; nil if it is not there.
func kept(ctx context.Context, b *blob.Bucket, r bluegreen.ReplayRequest, name string) ([]byte, error) {
	data, err := b.ReadAll(ctx, path(r, name))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of what was counted: %w", name, err)
	}
	return data, nil
}

// counted is the tally with what the retest has found. It is nil if nothing was counted yet.
func counted(ctx context.Context, b *blob.Bucket, r bluegreen.ReplayRequest) (*tally.Tally, error) {
	data, err := kept(ctx, b, r, nameTally)
	if err != nil || data == nil {
		return nil, err
	}
	t, err := run.Merge(data)
	if err != nil {
		return nil, err
	}
	tested, err := tests(ctx, b, r)
	if err != nil {
		return nil, err
	}
	for _, one := range tested.Done {
		if one.Cause != compare.Unknown { // what could not be decided stays a suspect
			t.AddRetest(one.Retest)
		}
	}
	return t, nil
}

func tests(ctx context.Context, b *blob.Bucket, r bluegreen.ReplayRequest) (st retest.Status, err error) {
	data, err := kept(ctx, b, r, nameRetest)
	if err != nil || data == nil {
		return st, err
	}
	if err := json.Unmarshal(data, &st); err != nil {
		return st, fmt.Errorf("read %s of what was counted: %w", nameRetest, err)
	}
	return st, nil
}

// checkpoint is a run.Checkpoint in the bucket.
type checkpoint struct {
	bucket *blob.Bucket
	of     bluegreen.ReplayRequest
	saved  func(data []byte) // called after each write
}

// Load gives nil if there is nothing.
func (c *checkpoint) Load(ctx context.Context) ([]byte, error) {
	return kept(ctx, c.bucket, c.of, nameTally)
}

// Save replaces it in one write. One that comes late, of a holder that lost its lease, is whole in itself: what it has not counted is counted again, once.
func (c *checkpoint) Save(ctx context.Context, data []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.bucket.WriteAll(ctx, path(c.of, nameTally), data, nil); err != nil {
		return fmt.Errorf("keep what was counted: %w", err)
	}
	c.saved(data)
	return nil
}
