package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/fleet"
)

func fleetCommand(o *Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "fleet", Short: "Look at the inventory",
	}
	group(cmd)
	cmd.AddCommand(fleetExportCommand(o))
	return cmd
}

func fleetExportCommand(o *Options) *cobra.Command {
	return &cobra.Command{
		Use: "export [FLEET]", Short: "Print the fleet as it is now, as a file to apply",
		Long:    "Prints the clusters of a fleet with the cells that there are now: those of its file, and what campaigns have made and torn\ndown since. Applied, it changes nothing. Engines whose\nnodes were seen on another version stand above it, as comments. FLEET is not needed if there is only one.",
		Example: "  windlass fleet export > fleet.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return Failf(ExitUsage, "usage: "+cmd.UseLine(), "one fleet is wanted, %d arguments were given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			all, err := c.Fleets(cmd.Context())
			if err != nil {
				return err
			}
			f, err := oneFleet(all, args)
			if err != nil {
				return err
			}
			return o.printer(cmd).value(f, func(w io.Writer) error { return f.Write(w) })
		},
	}
}

// oneFleet takes the fleet that was named, or the only one that there is.
func oneFleet(all []fleet.Fleet, named []string) (fleet.Fleet, error) {
	if len(all) == 1 && all[0].Name == "" { // of a release that did not keep the name
		all[0].Name = strings.Join(append(named, "fleet")[:1], "")
		return all[0], nil
	}
	var names []string
	for _, f := range all {
		if len(named) == 0 && len(all) == 1 || len(named) == 1 && f.Name == named[0] {
			return f, nil
		}
		if f.Name != "" {
			names = append(names, f.Name)
		}
	}
	switch {
	case len(all) == 0:
		return fleet.Fleet{}, Failf(ExitError, "apply one: windlass apply -f fleet.yaml", "there is no fleet yet")
	case len(named) == 1:
		return fleet.Fleet{}, Failf(ExitUsage, "there are: "+strings.Join(names, ", "), "there is no fleet %q", named[0])
	}
	return fleet.Fleet{}, Failf(ExitUsage, "name one: "+strings.Join(names, ", "), "there are %d fleets", len(all))
}

func forgetCommand(o *Options) *cobra.Command {
	var why string
	cmd := &cobra.Command{
		Use: "forget ENV/CLUSTER --why REASON", Short: "Take a cluster out of the inventory; what happened to it stays readable",
		Long:    "Nothing is done to the cluster itself: it is not observed any more, and no campaign takes it. It is refused while an action or a\ncampaign has the cluster. Take it out of the fleet's file too, or the next apply brings it back.",
		Example: "  windlass forget qa/orders --why 'it has moved to the other fleet'",
		Args:    exactly(1, "one cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0])
			if err != nil {
				return err
			}
			if why == "" {
				return Failf(ExitUsage, "give it with --why; it is kept with the event", "a reason is needed")
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			ok, err := confirm(cmd, o, fmt.Sprintf("Forget %s: it is observed no more, and no campaign takes it; the servers are left as they are.", ref))
			if err != nil || !ok {
				return err
			}
			if err := c.Forget(cmd.Context(), ref, api.ForgetRequest{Why: why}); err != nil {
				return err
			}
			return o.printer(cmd).value(map[string]string{"forgotten": ref.String()}, func(w io.Writer) error {
				fmt.Fprintf(w, "%s is forgotten; `windlass events --cluster %s` still shows what happened to it\n", ref, ref)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&why, "why", "", "the `REASON`; it is kept with the event")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and stop")
	cmd.Flags().BoolVarP(&o.Yes, "yes", "y", false, "don't ask")
	return cmd
}
