package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/config"
)

func captureCommand(o *Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "capture", Short: "Capture statements in gateways, ship them to a bucket, look at them",
		Long: `A gateway writes what its clients ask, and what came of it, to files in a folder, its spool. Ship brings them to a bucket, from which
'windlass replay' plays them on another server. A bucket is a folder (file:///FOLDER, or its path) or one of an S3 API
(s3://BUCKET/FOLDER?region=…&endpoint=…), whose credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from its tools' files.`,
	}
	cmd.AddCommand(captureControlCommands(o)...)
	cmd.AddCommand(captureShipCommand(), captureLsCommand(o), captureCatCommand(o), captureImportCommand(o))
	group(cmd)
	return cmd
}

func captureShipCommand() *cobra.Command {
	var c store.ShipConfig
	var to, retain, most, listen string
	cmd := &cobra.Command{
		Use: "ship --spool FOLDER --to URL", Short: "Bring the files of a gateway's spool to a bucket, and keep them there for a time",
		Long: `Brings each file that has ended to the bucket, and deletes it from the spool when the bucket has shown it with its size and checksum. What fails
is tried again, with growing pauses, for as long as it takes; a shipper that was killed goes on where it was. Files that a killed gateway
left are shipped, too. It runs until it is ended; with --once until nothing is left, and exits 1 if the bucket takes nothing for two minutes.`,
		Example: `  windlass capture ship --spool /var/lib/windlass/capture --to 's3://captures/prod?region=eu-central-1' --retain 14d
  windlass capture ship --spool /var/lib/windlass/capture --to file:///mnt/captures --once`,
		Args: exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if c.Spool == "" || to == "" {
				return Failf(ExitUsage, "give the folder that the gateway's file names at capture.folder, and the bucket", "--spool and --to are needed")
			}
			var err error
			if c.Retain, err = ageFlag("retain", retain); err != nil {
				return err
			}
			if c.RetainBytes, err = sizeFlag("retain-bytes", most); err != nil {
				return err
			}
			if c.To, err = store.Create(cmd.Context(), to); err != nil {
				return bucketError("to", err)
			}
			defer c.To.Close()
			c.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			stop, err := showMetrics(&c, listen)
			if err != nil {
				return err
			}
			defer stop()
			return shipAll(cmd, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Spool, "spool", "", "`FOLDER` that the gateway writes to")
	f.StringVar(&to, "to", "", "`URL` of the bucket")
	f.StringVar(&retain, "retain", "", "delete what is older than this `TIME` from the bucket, such as 14d")
	f.StringVar(&most, "retain-bytes", "", "delete the oldest there until no more than this `SIZE` is left, such as 200GB")
	f.BoolVar(&c.Once, "once", false, "end when nothing is left")
	f.IntVar(&c.Uploads, "uploads", 2, "how many files at a time")
	f.StringVar(&listen, "listen", "", "`ADDRESS` at which /metrics is served; empty: none")
	return cmd
}

func shipAll(cmd *cobra.Command, c store.ShipConfig) error {
	var last store.Progress
	c.Progress = func(p store.Progress) { last = p }
	err := store.Ship(cmd.Context(), c)
	if c.Once && cmd.Context().Err() == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%d files shipped to %s, %s.\n", last.Files, c.To, sizeText(last.Bytes))
		if last.Deleted > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%d segments were kept long enough and deleted, %s.\n", last.Deleted, sizeText(last.DeletedSize))
		}
		if last.Growing > 0 {
			fmt.Fprintf(cmd.OutOrStdout(), "%d files still grow and were left.\n", last.Growing)
		}
	}
	if errors.Is(err, store.ErrGaveUp) {
		return Failf(ExitError, "what is left stays in the spool; look at the bucket, then do it again", "%w", err)
	}
	return err
}

// showMetrics serves the shipper's metrics, if an address is given.
func showMetrics(c *store.ShipConfig, listen string) (stop func(), err error) {
	if listen == "" {
		return func() {}, nil
	}
	reg := prometheus.NewRegistry()
	if c.Metrics, err = store.NewMetrics(reg); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, Failf(ExitUsage, "give an address that is free, such as 127.0.0.1:9481", "--listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			c.Log.Error("metrics are not served any more", "err", err)
		}
	}()
	c.Log.Info("metrics are served", "address", "http://"+l.Addr().String()+"/metrics")
	return func() {
		srv.Close()
		<-done
	}, nil
}

// rangeFlags say which segments a verb is for.
type rangeFlags struct {
	since, until string
	gateways     []string
}

func (r *rangeFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.since, "since", "", "from this `TIME` on, such as 2026-11-21T10:00:00Z")
	f.StringVar(&r.until, "until", "", "before this `TIME`")
	f.StringSliceVar(&r.gateways, "gateway", nil, "of these `GATEWAYS` alone")
}

func (r *rangeFlags) get() (out store.Range, err error) {
	out.Gateways = r.gateways
	if out.From, err = timeFlag("since", r.since); err != nil {
		return out, err
	}
	out.To, err = timeFlag("until", r.until)
	return out, err
}

// segmentJSON is a segment in the output of ls.
type segmentJSON struct {
	Name    string    `json:"name"`
	Gateway string    `json:"gateway"`
	Run     string    `json:"run"`
	Index   uint64    `json:"index"`
	Began   time.Time `json:"began"`
	Size    int64     `json:"size"`
}

// holeJSON is what is missing between segments of a run.
type holeJSON struct {
	Gateway string `json:"gateway"`
	Run     string `json:"run"`
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
}

func captureLsCommand(o *Options) *cobra.Command {
	var r rangeFlags
	cmd := &cobra.Command{
		Use: "ls URL", Short: "List the files of captured statements in a bucket or a spool, and what is missing between them",
		Example: "  windlass capture ls 's3://captures/prod?region=eu-central-1' --since 2026-11-21T10:00:00Z\n  windlass capture ls /var/lib/windlass/capture -o json",
		Args:    exactly(1, "a bucket's URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := r.get()
			if err != nil {
				return err
			}
			b, _, done, err := openCaptures(cmd.Context(), args[0], cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer done()
			all, err := b.Segments(cmd.Context(), want)
			if err != nil {
				return err
			}
			return printSegments(o.printer(cmd), all)
		},
	}
	r.add(cmd)
	return cmd
}

func printSegments(p printer, all []store.Segment) error {
	out := struct {
		Segments []segmentJSON `json:"segments"`
		Missing  []holeJSON    `json:"missing"`
		Size     int64         `json:"size"`
	}{[]segmentJSON{}, []holeJSON{}, 0}
	var rows [][]string
	for _, s := range all {
		j := segmentJSON{s.Name, s.Gateway, fmt.Sprintf("%016x", s.Run), s.Index, s.Began.UTC(), s.Size}
		out.Segments, out.Size = append(out.Segments, j), out.Size+s.Size
		rows = append(rows, []string{s.Gateway, s.Began.UTC().Format("2006-01-02 15:04:05"), j.Run, strconv.FormatUint(s.Index, 10), sizeText(s.Size), s.Name})
	}
	for _, h := range store.Holes(all) {
		out.Missing = append(out.Missing, holeJSON{h.Gateway, fmt.Sprintf("%016x", h.Run), h.First, h.Last})
	}
	return p.value(out, func(w io.Writer) error {
		if len(rows) == 0 {
			fmt.Fprintln(w, "There are no captured statements of that time.")
			return nil
		}
		if err := table(w, []string{"GATEWAY", "BEGAN (UTC)", "RUN", "FILE", "SIZE", "NAME"}, rows); err != nil {
			return err
		}
		fmt.Fprintf(w, "%d files, %s.\n", len(all), sizeText(out.Size))
		for _, h := range out.Missing {
			if h.First == h.Last {
				fmt.Fprintf(w, "Missing: file %d of run %s of %s.\n", h.First, h.Run, h.Gateway)
			} else {
				fmt.Fprintf(w, "Missing: files %d to %d of run %s of %s.\n", h.First, h.Last, h.Run, h.Gateway)
			}
		}
		return nil
	})
}

// bucketError gives an error of opening a bucket its exit code.
func bucketError(flag string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if flag != "" {
		flag = "--" + flag + ": "
	}
	return Failf(ExitUsage, hintOf(err, "give file:///FOLDER, a folder, or s3://BUCKET/FOLDER?region=…"), "%s%w", flag, err)
}

func ageFlag(flag, text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := config.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, Failf(ExitUsage, "write it as 14d, or 36h", "--%s can't be %q", flag, text)
	}
	return d, nil
}

var sizePattern = regexp.MustCompile(`^(\d{1,15}) ?([kKMGT]?)(i?)B?$`)

// sizeFlag reads a size in bytes, such as 200GB or 512MiB.
func sizeFlag(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	m := sizePattern.FindStringSubmatch(text)
	if m == nil || m[2] == "" && m[3] != "" {
		return 0, Failf(ExitUsage, "write it as 200GB, or 512MiB", "--%s can't be %q", flag, text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit, step := int64(1), int64(1000)
	if m[3] != "" {
		step = 1024
	}
	for range map[string]int{"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}[m[2]] {
		unit *= step
	}
	if err != nil || n <= 0 || n > 1<<62/unit {
		return 0, Failf(ExitUsage, "write it as 200GB, or 512MiB", "--%s can't be %q", flag, text)
	}
	return n * unit, nil
}

// sizeText shows a size in bytes.
func sizeText(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if n >= u.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(u.size), u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}
