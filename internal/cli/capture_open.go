package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/source/importer"
	"github.com/windlass-db/windlass/internal/capture/store"
)

// openCaptures opens a bucket; or servers' logs, as slowlog:FILE,FILE, which become segments in a folder that is deleted at the end. What such a log lacks, and what of it
// can't be read, is told. The name is the same for the same captures, and has no secret.
func openCaptures(ctx context.Context, from string, tell io.Writer) (b *store.Bucket, name string, done func(), err error) {
	format, files, isLog := strings.Cut(from, ":")
	if !isLog || !slices.Contains(source.Formats(), source.Format(format)) {
		b, err := store.Open(ctx, from)
		if err != nil {
			return nil, "", nil, bucketError("", err)
		}
		return b, b.String(), func() { b.Close() }, nil
	}
	paths := strings.Split(files, ",")
	in, run, closeAll, err := logs(strings.NewReader(""), paths)
	if err != nil {
		return nil, "", nil, err
	}
	defer closeAll()
	dir, err := os.MkdirTemp("", "windlass-log-") // mode 0700
	if err != nil {
		return nil, "", nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	gateway := strings.TrimSuffix(filepath.Base(paths[0]), ".gz")
	if b, err = importLog(ctx, source.Format(format), in, dir, source.Options{Gateway: gateway, Run: run, Every: importer.SegmentTime}, tell); err != nil {
		remove()
		return nil, "", nil, err
	}
	return b, fmt.Sprintf("%s %016x", format, run), func() {
		b.Close()
		remove()
	}, nil
}

func importLog(ctx context.Context, f source.Format, in io.Reader, dir string, o source.Options, tell io.Writer) (*store.Bucket, error) {
	r, err := source.Open(f, in, o)
	if err != nil {
		return nil, err
	}
	b, err := store.Open(ctx, dir)
	if err != nil {
		return nil, err
	}
	out, err := importer.Import(ctx, r, b, nil)
	if err == nil && out.Statements == 0 {
		err = Failf(ExitUsage, "look whether it is of that format", "no statement was found in %s: %d bytes were passed over", o.Gateway, out.Lost.Bytes)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	fmt.Fprintf(tell, "windlass: ")
	return b, importedText(tell, o.Gateway, "a folder that is deleted at the end", out)
}
