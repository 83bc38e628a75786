package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/zeebo/xxh3"

	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/source/importer"
	"github.com/windlass-db/windlass/internal/capture/store"
)

func captureImportCommand(o *Options) *cobra.Command {
	var format, to, gateway, zone, key string
	cmd := &cobra.Command{
		Use: "import --format FORMAT FILE… --to URL", Short: "Make files of captured statements of a server's log",
		Long: `Reads a slow log of MariaDB or MySQL (with long_query_time=0, so that it has every statement), or vtgate's query log, as text or as JSON, and writes
it to a bucket as if a gateway had captured it, so that 'windlass replay' can play it. Several files are one log, in the order in which they are
given; one may be compressed by gzip; - is standard input. The same log twice is the same files.

A log knows less than a gateway: what it lacks is told, and the replay's report names it. What can't be read is counted.`,
		Example: `  windlass capture import --format slowlog slow.log.1.gz slow.log --to file:///mnt/captures --name orders
  windlass capture import --format vtgate-json querylog.txt --to s3://captures/prod?region=eu-central-1 --zone Europe/Berlin`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Failf(ExitUsage, "name the log's file", "%s takes at least one file, and got none", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			f := source.Format(format)
			if !slices.Contains(source.Formats(), f) {
				return Failf(ExitUsage, "give slowlog, vtgate-text or vtgate-json", "--format can't be %q", format)
			}
			if to == "" {
				return Failf(ExitUsage, "give file:///FOLDER, a folder, or s3://BUCKET/FOLDER?region=…", "--to is needed")
			}
			at, err := time.LoadLocation(zone)
			if err != nil {
				return Failf(ExitUsage, "give UTC, or a name such as Europe/Berlin", "--zone can't be %q", zone)
			}
			k, err := keyFlag(key)
			if err != nil {
				return err
			}
			in, run, closeAll, err := logs(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			defer closeAll()
			b, err := store.Create(cmd.Context(), to)
			if err != nil {
				return bucketError("to", err)
			}
			defer b.Close()
			if gateway == "" {
				gateway = strings.TrimSuffix(filepath.Base(args[0]), ".gz")
			}
			r, err := source.Open(f, in, source.Options{Gateway: gateway, Run: run, Zone: at, Every: importer.SegmentTime})
			if err != nil {
				return err
			}
			out, err := importer.Import(cmd.Context(), r, b, k)
			if err != nil {
				return err
			}
			if out.Statements == 0 && len(out.Dropped) == 0 {
				return Failf(ExitUsage, "look whether it is of that format", "no statement was found in it: %d bytes were passed over", out.Lost.Bytes)
			}
			return o.printer(cmd).value(out, func(w io.Writer) error { return importedText(w, gateway, b.String(), out) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "", "`FORMAT` of the log: slowlog, vtgate-text or vtgate-json")
	f.StringVar(&to, "to", "", "`URL` of the bucket")
	f.StringVar(&gateway, "name", "", "`NAME` under which the statements go, as of a gateway; that of the first file unless given")
	f.StringVar(&zone, "zone", "UTC", "time `ZONE` of times that have none in the log: the server's")
	f.StringVar(&key, "key-file", "", "seal the files with the key in this `FILE`")
	return cmd
}

// logs opens a log's files as one, and gives a number that is the same for the same files.
func logs(stdin io.Reader, paths []string) (in io.Reader, run uint64, closeAll func(), err error) {
	var opened []io.Closer
	closeAll = func() {
		for _, c := range opened {
			c.Close()
		}
	}
	h := xxh3.New()
	var parts []io.Reader
	for _, path := range paths {
		part := stdin
		if path != "-" {
			f, err := os.Open(path)
			if err == nil {
				opened = append(opened, f)
				_, err = io.CopyN(h, f, 1<<20)
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if err == nil {
				_, err = f.Seek(0, io.SeekStart)
			}
			if err != nil {
				closeAll()
				return nil, 0, nil, Failf(ExitUsage, "name a file that can be read", "%w", err)
			}
			part = f
		}
		fmt.Fprintln(h, filepath.Base(path))
		plain, err := source.Plain(part)
		if err != nil {
			closeAll()
			return nil, 0, nil, fmt.Errorf("%s: %w", path, err)
		}
		parts = append(parts, plain)
	}
	return io.MultiReader(parts...), h.Sum64(), closeAll, nil
}

func importedText(w io.Writer, gateway, bucket string, out importer.Imported) error {
	fmt.Fprintf(w, "%d statements in %d files, %s, as %s in %s.\n", out.Statements, out.Segments, sizeText(out.Bytes), gateway, bucket)
	if out.Statements > 0 {
		fmt.Fprintf(w, "From %s to %s UTC.\n", out.From.UTC().Format("2006-01-02 15:04:05"), out.To.UTC().Format("2006-01-02 15:04:05"))
	}
	for _, reason := range slices.Sorted(maps.Keys(out.Dropped)) {
		fmt.Fprintf(w, "Dropped, as they can't be run: %d (%s).\n", out.Dropped[reason], reason)
	}
	if out.Lost.Any() {
		fmt.Fprintf(w, "Not read: %s.\n", lossText(out.Lost))
	}
	_, err := fmt.Fprintf(w, "The log lacks: %s.\n", strings.Join(out.Lacks, ", "))
	return err
}
