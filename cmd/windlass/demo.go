package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/demo"
	"github.com/windlass-db/windlass/internal/demo/jobs"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "demo", Short: "Raise a local fleet of real servers under load"}
	cmd.AddCommand(bluegreenDemo(), rollingDemo())
	return cmd
}

func bluegreenDemo() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{
		Use: "bluegreen", Short: "MariaDB 10.11 → 11.8 by blue/green, six clusters in two environments",
		Long: `Fetches MariaDB 10.11 and 11.8 and BIND into a cache folder, starts a fleet on loopback, puts load on every
cluster, raises the fleet, and reports what the clients noticed. Ctrl-C stops everything that it started,
and only that. Exits 1 if a cluster did not arrive, a write was lost or doubled, or a client saw an error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Writers < 1 || o.Readers < 1 {
				return cli.Failf(cli.ExitUsage, "give one of each at least: the demo tells what they notice", "--writers %d, --readers %d: that is no load", o.Writers, o.Readers)
			}
			if err := someTime(o.Limit); err != nil {
				return err
			}
			o.Out = cmd.OutOrStdout()
			return conduct(cmd, o.Dir, func(ctx context.Context) error { _, err := demo.BlueGreen(ctx, o); return err })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Once, "once", false, "a line for each change, then exit; without it a terminal shows a table, and the fleet stays up until Ctrl-C")
	f.StringVar(&o.Report, "report", "", "write the report as JSON to this `FILE`")
	f.BoolVar(&o.RollbackOne, "rollback-one", false, "take one prod cluster back after its storage switch, and forward again")
	f.StringVar(&o.Dir, "dir", "", "keep everything in this `FOLDER` instead of a temporary one")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8480", "`ADDRESS` of the dashboard")
	f.DurationVar(&o.Limit, "limit", 20*time.Minute, "give up after this long")
	f.IntVar(&o.Writers, "writers", 2, "connections that write, for each cluster")
	f.IntVar(&o.Readers, "readers", 2, "connections that read, for each cluster")
	return cmd
}

func rollingDemo() *cobra.Command {
	var o demo.RollingOptions
	var db string
	cmd := &cobra.Command{
		Use: "rolling", Short: "Six nodes of a workflow engine to its next version, behind HAProxy over one database",
		Long: `Fetches PostgreSQL or MariaDB and HAProxy into a cache folder, starts six nodes of examples/jobs on loopback, puts load on
them, raises them (schema first, one node, the others in groups, features), and reports what the clients noticed. Ctrl-C stops
everything that it started, and only that. Exits 1 if a request failed, a job was lost or done twice, too few nodes
served, or a feature of the new version was open before the last node was there.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch o.Database = jobs.Kind(db); o.Database {
			case jobs.Postgres, jobs.MariaDB:
			default:
				return cli.Failf(cli.ExitUsage, "write --db postgres or --db mariadb", "--db %q is no database that the demo has", db)
			}
			if err := someTime(o.Limit); err != nil {
				return err
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Out, o.Programs = cmd.OutOrStdout(), filepath.Dir(self)
			return conduct(cmd, o.Dir, func(ctx context.Context) error { _, err := demo.Rolling(ctx, o); return err })
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Once, "once", false, "a line for each change, then exit; without it a terminal shows a table, and the engine stays up until Ctrl-C")
	f.StringVar(&o.Report, "report", "", "write the report as JSON to this `FILE`")
	f.StringVar(&db, "db", string(jobs.Postgres), "`DATABASE` of the engine: postgres or mariadb")
	f.StringVar(&o.Dir, "dir", "", "keep everything in this `FOLDER` instead of a temporary one")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8480", "`ADDRESS` of the dashboard")
	f.DurationVar(&o.Limit, "limit", 15*time.Minute, "give up after this long")
	return cmd
}

// someTime refuses a limit that is over before the demo begins.
func someTime(limit time.Duration) error {
	if limit > 0 {
		return nil
	}
	return cli.Failf(cli.ExitUsage, "give it minutes, such as 20m", "--limit %s: the demo would give up before it begins", limit)
}

// conduct runs a demo in a folder that no other has, and says of one that a person ended no more than that, and what of the ending failed.
func conduct(cmd *cobra.Command, dir string, run func(ctx context.Context) error) error {
	release, err := demo.Hold(dir)
	if err != nil {
		return err
	}
	defer release()
	// A second Ctrl-C ends other verbs at once, and so does a reader of what they say that is gone, such as tee after the same Ctrl-C. A demo
	// that ended so would leave its servers behind.
	more := make(chan os.Signal, 1)
	signal.Notify(more, os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer signal.Stop(more)
	ctx, stop := untilHangup(cmd.Context())
	defer stop()
	defer context.AfterFunc(ctx, func() {
		fmt.Fprintln(cmd.ErrOrStderr(), "Interrupted. What the demo started is stopped first, within a minute or so.")
	})()
	err = run(ctx)
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil:
		return cli.Failf(cli.ExitError, "", "the demo failed: %w", err)
	}
	if err = beside(beside(err, context.Canceled), syscall.EPIPE); err != nil { // nobody reads the report: no fault of the ending
		return cli.Failf(cli.ExitInterrupted, "", "interrupted; what is not as it should be: %w", err)
	}
	return cli.Failf(cli.ExitInterrupted, "", "interrupted")
}

// untilHangup ends with ctx, or when the terminal is closed, unless the program was told to outlive that (nohup).
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// beside is what an error joins that is not the other one.
func beside(err, other error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		var left []error
		for _, one := range all.Unwrap() {
			left = append(left, beside(one, other))
		}
		return errors.Join(left...)
	}
	if errors.Is(err, other) {
		return nil
	}
	return err
}
