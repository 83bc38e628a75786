package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	cmd := &cobra.Command{Use: "demo", Short: "Raise a local fleet of real servers under load"}
	bg := &cobra.Command{
		Use: "bluegreen", Short: "MariaDB 10.11 → 11.8 by blue/green, six clusters in two environments",
		Long: `Fetches MariaDB 10.11 and 11.8 and BIND into a cache folder, starts a fleet on loopback, puts load on every
cluster, raises the fleet, and reports what the clients noticed. Ctrl-C stops everything that it started,
and only that. Exits 1 if a cluster did not arrive, a write was lost or doubled, or a client saw an error.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Out = cmd.OutOrStdout()
			if _, err := demo.BlueGreen(cmd.Context(), o); err != nil {
				return cli.Failf(cli.ExitError, "", "the demo failed: %w", err)
			}
			return nil
		},
	}
	f := bg.Flags()
	f.BoolVar(&o.Once, "once", false, "a line for each change, then exit; without it a terminal shows a table, and the fleet stays up until Ctrl-C")
	f.StringVar(&o.Report, "report", "", "write the report as JSON to this `FILE`")
	f.BoolVar(&o.RollbackOne, "rollback-one", false, "take one prod cluster back after its storage switch, and forward again")
	f.StringVar(&o.Dir, "dir", "", "keep everything in this `FOLDER` instead of a temporary one")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:8480", "`ADDRESS` of the dashboard")
	f.DurationVar(&o.Limit, "limit", 20*time.Minute, "give up after this long")
	f.IntVar(&o.Writers, "writers", 2, "connections that write, for each cluster")
	f.IntVar(&o.Readers, "readers", 2, "connections that read, for each cluster")
	cmd.AddCommand(bg)
	return cmd
}
