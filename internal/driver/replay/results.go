package replay

import (
	"context"
	"encoding/json"
	"errors"
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
	namePlans  = "plans.json"
)

// place is where a replay is kept: a bucket, and a name in it that no other replay has.
type place struct {
	*blob.Bucket
	name string
}

// place is the replay's own: a control plane that begins to count its actions anew, or another one with the same bucket, never finds the evidence of an earlier
// replay as its own.
func (at cursor) place(b *blob.Bucket, r bluegreen.ReplayRequest) place {
	return place{b, "replays/" + r.ID + "-" + at.Run}
}

func (p place) path(name string) string { return p.name + "/" + name }

// keep replaces something of a replay at once: who reads it sees the old or the new one. From 16 MB on the library sends it to an S3 API in parts, which are nothing before the last request;
// those that a kill leaves are for the bucket's rules of lifecycle.
func (p place) keep(ctx context.Context, name string, data []byte) error {
	if err := p.WriteAll(ctx, p.path(name), data, &blob.WriterOptions{ContentType: "application/json"}); err != nil {
		return fmt.Errorf("keep %s of what was counted: %w", name, err)
	}
	return nil
}

// kept reads something of a replay; nil if it is not there.
func (p place) kept(ctx context.Context, name string) ([]byte, error) {
	data, err := p.ReadAll(ctx, p.path(name))
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of what was counted: %w", name, err)
	}
	return data, nil
}

// counted is the tally with what the retest has found. It is nil if nothing was counted yet.
func (p place) counted(ctx context.Context) (*tally.Tally, error) {
	data, err := p.kept(ctx, nameTally)
	if err != nil || data == nil {
		return nil, err
	}
	t, err := run.Merge(data)
	if err != nil {
		return nil, err
	}
	tested, err := p.tests(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range tested.Done {
		if decided(one) {
			t.AddRetest(one.Retest)
		}
	}
	said, err := p.kept(ctx, namePlans)
	if err != nil || said == nil {
		return t, err
	}
	var e explained
	if err := json.Unmarshal(said, &e); err != nil {
		return nil, fmt.Errorf("read %s of what was counted: %w", namePlans, err)
	}
	e.tell(t)
	return t, nil
}

// decided tells whether a retest says anything: it was run on both versions, and they differ, or they do not. One that was not run, for whatever reason, clears nothing.
func decided(one retest.Tested) bool {
	return one.Cause == compare.Real && one.Confirmed || one.Cause == compare.Moved && !one.Confirmed
}

func (p place) tests(ctx context.Context) (st retest.Status, err error) {
	data, err := p.kept(ctx, nameRetest)
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
	at    place             // not embedded: who closes a checkpoint would close the bucket
	lost  func() error      // why nothing may be written any more: somebody else has the lease
	saved func(data []byte) // called after each write
}

// Load gives nil if there is nothing.
func (c *checkpoint) Load(ctx context.Context) ([]byte, error) {
	return c.at.kept(ctx, nameTally)
}

// Save replaces it in one write. Who has lost the lease writes nothing, also at its end, which is written though the context is over. One that comes late all the same is whole in
// itself: what it has not counted is counted again, once.
func (c *checkpoint) Save(ctx context.Context, data []byte) error {
	if err := errors.Join(ctx.Err(), c.lost()); err != nil {
		return err
	}
	if err := c.at.keep(ctx, nameTally, data); err != nil {
		return err
	}
	c.saved(data)
	return nil
}
