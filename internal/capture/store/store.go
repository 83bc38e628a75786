// Package store keeps files of captured statements in a bucket, a folder or an S3 API, and brings them there from a gateway's spool.
//
// The model: a segment is one file that has ended. Package name says how it is called, in a spool and in a bucket; Open reads both. A file that
// still grows is no segment yet, so nobody reads half a block: a gateway ends its files after ten seconds, and whoever reads a minute behind
// misses nothing. Segments of one run of a gateway are numbered without holes, and a hole is told.
//
// Invariants
//   - Ship deletes a file from the spool only after the bucket showed it with its size and its checksum.
//   - Shipping is repeatable anywhere: the spool itself is all that is remembered, and the same file has the same key.
//   - A folder or a page of a listing that can't be read is an error, never an empty one.
//   - Nothing lists a bucket of years to find a minute: keys begin with gateway, day and hour.
//   - No secret is in a URL: those of S3 come from the environment or the files of its tools.
//
// Failure: a bucket that is away, slow or fails now and then is tried again, with growing pauses, for as long as the caller waits; the spool fills
// meanwhile, and its owner's quota bounds it. Files that were lost that way are holes in the numbers of their run.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// ErrGone means that a segment is not there any more: its time to be kept was over.
var ErrGone = errors.New("the segment is gone from the bucket")

// Bucket is a place of segments.
type Bucket struct {
	blob  *blob.Bucket
	list  lister
	dir   string // of a folder; else empty
	where string // the URL without its parameters

	stalled time.Duration           // how long an upload may go on without a byte
	pauses  func(int) time.Duration // after so many failures in a row
}

// Segment is one file of captured statements that has ended.
type Segment struct {
	Name    string // its key: what Read takes
	Gateway string
	Run     uint64    // of the gateway's process
	Index   uint64    // in the run, from 1 without holes
	Began   time.Time // by the gateway's clock
	Size    int64     // bytes
}

// lister lists one level of a bucket.
type lister interface {
	// under gives what is directly below a prefix, which is empty or ends in a slash: names of folders without their slash, and files. A prefix
	// that is not there is empty.
	under(ctx context.Context, prefix string) (folders []string, files []entry, err error)
}

// entry is a file in a bucket.
type entry struct {
	key  string
	size int64
	at   time.Time // when it was written, by the bucket's clock
}

// parameters are those of S3 that a URL may have. None is a secret.
var parameters = []string{"region", "endpoint", "profile", "role", "anonymous", "use_path_style", "s3ForcePathStyle", "disable_https", "hostname_immutable", "dualstack", "fips", "accelerate", "ssetype", "kmskeyid",
	"request_checksum_calculation", "response_checksum_validation", "rate_limiter_capacity", "prefix"}

// Open opens a bucket: file:///folder, a folder's path alone, or s3://bucket/folder?region=…&endpoint=…. The credentials of S3 are those of its own tools:
// AWS_ACCESS_KEY_ID and the like, a profile, or the machine's role. A folder must be there, unless create is set.
func Open(ctx context.Context, where string) (*Bucket, error) { return open(ctx, where, false) }

// Create is Open, and makes the folder if it is not there.
func Create(ctx context.Context, where string) (*Bucket, error) { return open(ctx, where, true) }

// URLError is a URL of a bucket that can't be used. It does not show what may be a secret.
type URLError struct{ What, Hint string }

func (e *URLError) Error() string     { return e.What }
func (e *URLError) ErrorHint() string { return e.Hint }

func open(ctx context.Context, where string, create bool) (*Bucket, error) {
	if !strings.Contains(where, "://") {
		if where == "" {
			return nil, &URLError{"the bucket's URL is empty", "give file:///folder or s3://bucket/folder?region=…"}
		}
		return folder(where, create)
	}
	u, err := url.Parse(where)
	if err != nil { // whose text has the whole URL
		return nil, &URLError{"the bucket's URL can't be read", "give file:///folder or s3://bucket/folder?region=…"}
	}
	if u.User != nil {
		return nil, &URLError{"a bucket's URL has no credentials in it", "leave them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile: URLs are shown and logged"}
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" || u.RawQuery != "" {
			return nil, &URLError{"a folder is file:///folder, with three slashes and nothing behind it", "or give its path alone"}
		}
		return folder(u.Path, create)
	case "s3":
		return s3(ctx, u)
	}
	return nil, &URLError{fmt.Sprintf("a bucket can't be of the kind %q", u.Scheme), "give file:///folder or s3://bucket/folder?region=…"}
}

func folder(dir string, create bool) (*Bucket, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if create {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the bucket's folder: %w", err)
		}
	}
	b, err := fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, fmt.Errorf("open the bucket's folder: %w", err)
	}
	return &Bucket{blob: b, list: disk(dir), dir: dir, where: "file://" + dir, stalled: stalled, pauses: backoff}, nil
}

func s3(ctx context.Context, u *url.URL) (*Bucket, error) {
	q := u.Query()
	for key := range q {
		if !slices.Contains(parameters, key) {
			return nil, &URLError{fmt.Sprintf("a bucket of S3 has no parameter %q", key), "there are " + strings.Join(parameters, ", ") + "; credentials come from AWS_ACCESS_KEY_ID and the like"}
		}
	}
	if e, err := url.Parse(q.Get("endpoint")); err != nil || e.User != nil {
		return nil, &URLError{"the endpoint of a bucket of S3 is no URL, or has credentials in it", "write endpoint=https://host:port, and leave the credentials in AWS_ACCESS_KEY_ID and the like"}
	}
	prefix := strings.Trim(u.Path, "/")
	if p := strings.Trim(q.Get("prefix"), "/"); p != "" {
		prefix = path.Join(prefix, p)
	}
	q.Del("prefix")
	bare := url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()}
	opener := &s3blob.URLOpener{}
	b, err := opener.OpenBucketURL(ctx, &bare)
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", u.Host, err)
	}
	// The client's own tries, each after seconds, would be multiplied with ours.
	var client *awss3.Client
	if !b.As(&client) {
		return nil, fmt.Errorf("open the bucket %s: the library has another client", u.Host)
	}
	o := client.Options()
	o.Retryer = aws.NopRetryer{}
	o.DisableLogOutputChecksumValidationSkipped = true // stores of other makers have none
	if b, err = s3blob.OpenBucket(ctx, awss3.New(o), u.Host, &opener.Options); err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", u.Host, err)
	}
	where := "s3://" + u.Host
	if prefix != "" {
		b, where = blob.PrefixedBucket(b, prefix+"/"), where+"/"+prefix
	}
	return &Bucket{blob: b, list: remote{b}, where: where, stalled: stalled, pauses: backoff}, nil
}

// Close gives back what the bucket holds.
func (b *Bucket) Close() error { return b.blob.Close() }

// String is the bucket's URL without parameters.
func (b *Bucket) String() string { return b.where }

// under lists one level, a few times if that fails, each within its time.
func (b *Bucket) under(ctx context.Context, prefix string) (folders []string, files []entry, err error) {
	for n := 1; ; n++ {
		within, cancel := context.WithTimeoutCause(ctx, b.stalled, errStalled)
		folders, files, err = b.list.under(within, prefix)
		cancel()
		if err == nil || b.dir != "" || ctx.Err() != nil || n >= again {
			return folders, files, err
		}
		if waited := pause(ctx, b.pauses(n)); waited != nil {
			return nil, nil, errors.Join(waited, err)
		}
	}
}

// remote lists a bucket over its API.
type remote struct{ b *blob.Bucket }

func (r remote) under(ctx context.Context, prefix string) (folders []string, files []entry, err error) {
	i := r.b.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	for {
		o, err := i.Next(ctx)
		if errors.Is(err, io.EOF) {
			return folders, files, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list %s: %w", prefix, err)
		}
		if o.IsDir {
			folders = append(folders, strings.TrimSuffix(strings.TrimPrefix(o.Key, prefix), "/"))
		} else {
			files = append(files, entry{o.Key, o.Size, o.ModTime})
		}
	}
}

// disk lists a folder. The library's own way walks the whole tree for one level of it, and passes over what it can't read.
type disk string

func (d disk) under(_ context.Context, prefix string) (folders []string, files []entry, err error) {
	all, err := os.ReadDir(filepath.Join(string(d), filepath.FromSlash(prefix)))
	if errors.Is(err, os.ErrNotExist) && prefix != "" {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list: %w", err)
	}
	for _, e := range all {
		if e.IsDir() {
			folders = append(folders, e.Name())
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list: %w", err)
		}
		files = append(files, entry{prefix + e.Name(), info.Size(), info.ModTime()})
	}
	return folders, files, nil
}

// gone reports whether an error says that a key is not there.
func gone(err error) bool { return gcerrors.Code(err) == gcerrors.NotFound }

func (e entry) segment() (Segment, bool) {
	f, ok := name.Parse(e.key)
	return Segment{Name: e.key, Gateway: f.Gateway, Run: f.Run, Index: f.Index, Began: f.Began, Size: e.size}, ok
}
