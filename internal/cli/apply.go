package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

func applyCommand(o *Options) *cobra.Command {
	var files []string
	var prune bool
	cmd := &cobra.Command{
		Use: "apply -f FILE…", Short: "Tell the server of a fleet, a campaign, or both",
		Long: "Stores all of the files, or nothing of them. The same files can be applied again at any time: what a campaign has made of the\n" +
			"cells since is newer than the fleet's file, and stays. What the file changes is taken, but not of a cluster that a campaign is in\n" +
			"the middle of. Clusters that the file names no more stay too, until you say --prune.\n\n" +
			"`windlass fleet export` prints the fleet as it is now, to go on from.",
		Example: "  windlass apply -f fleet.yaml -f campaign.yaml",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := readFiles(cmd, o, files)
			if err != nil {
				return err
			}
			if prune && d.fleet == nil {
				return Failf(ExitUsage, "give the fleet's file with -f", "--prune compares with a fleet, and the files hold none")
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			req := api.ApplyRequest{Fleet: d.fleet, Campaign: d.campaign, Prune: prune, DryRun: o.DryRun, Who: whoAmI()}
			if prune && !o.DryRun {
				if done, err := askPrune(cmd, o, c, req); err != nil || done {
					return d.located(cmd, o, err)
				}
			}
			out, err := c.Apply(cmd.Context(), req)
			if err != nil {
				located := d.located(cmd, o, err)
				if all, listErr := c.Fleets(cmd.Context()); d.fleet == nil && listErr == nil && len(all) == 0 {
					return Failf(ExitUsage, "apply the fleet first, or both together: windlass apply -f fleet.yaml -f campaign.yaml", "the server knows no fleet yet: %w", located)
				}
				return located
			}
			if err := o.printer(cmd).value(out, func(w io.Writer) error { return printApplied(w, out) }); err != nil {
				return err
			}
			if o.DryRun {
				fmt.Fprintln(cmd.ErrOrStderr(), "Dry run: the files are right; nothing was applied.")
			}
			if f := out.Fleet; f != nil && len(f.Absent) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s, though the file names %s no more: %s\n  hint: --prune forgets them, `windlass forget` one of them\n", stay(len(f.Absent)), themOrIt(len(f.Absent)), some(f.Absent))
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "YAML `FILE` with a fleet or a campaign; may be given again")
	cmd.Flags().BoolVar(&prune, "prune", false, "forget the clusters that this fleet's file named before, and names no more")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and stop")
	cmd.Flags().BoolVarP(&o.Yes, "yes", "y", false, "don't ask before clusters are pruned")
	return cmd
}

// askPrune names the clusters that would be forgotten, and asks. done means that nothing is left to do.
func askPrune(cmd *cobra.Command, o *Options, c *api.Client, req api.ApplyRequest) (done bool, err error) {
	req.DryRun = true
	would, err := c.Apply(cmd.Context(), req)
	if err != nil || would.Fleet == nil || len(would.Fleet.Pruned) == 0 {
		return false, err
	}
	ok, err := confirm(cmd, o, fmt.Sprintf("Forget %s that fleet %s names no more: %s", clusterCount(len(would.Fleet.Pruned)), would.Fleet.Name, some(would.Fleet.Pruned)))
	return !ok, err
}

// located shows a refusal of the files with their lines; any other error stays as it is.
func (d documents) located(cmd *cobra.Command, o *Options, err error) error {
	var refused *api.Error
	if !errors.As(err, &refused) || len(refused.Problem.Fleet)+len(refused.Problem.Campaign) == 0 {
		return err
	}
	ps := append(d.fleetDoc.Locate(refused.Problem.Fleet), d.object.Locate(refused.Problem.Campaign)...)
	if o.Output == "json" {
		if err := o.printer(cmd).value(ps, nil); err != nil {
			return err
		}
	}
	return problems(cmd, ps, ExitUsage, "mend the files and try again; nothing was applied")
}

func printApplied(w io.Writer, a state.Applied) error {
	verb := "applied"
	if a.DryRun {
		verb = "would be applied"
	}
	if f := a.Fleet; f != nil {
		var parts []string
		for _, x := range []struct {
			what string
			refs []fleet.ClusterRef
		}{{"new", f.Added}, {"changed", f.Changed}, {"forgotten", f.Pruned}} {
			if len(x.refs) > 0 {
				parts = append(parts, fmt.Sprintf("%d %s (%s)", len(x.refs), x.what, some(x.refs)))
			}
		}
		if len(parts) == 0 {
			parts = []string{"nothing has changed"}
		}
		fmt.Fprintf(w, "fleet %s %s: %s; %s\n", f.Name, verb, clusterCount(f.Clusters), strings.Join(parts, ", "))
		if len(f.Ahead) > 0 {
			fmt.Fprintf(w, "  campaigns have made other cells than the file says, which stay: %s\n  `windlass fleet export` prints what there is now\n", some(f.Ahead))
		}
	}
	if c := a.Campaign; c != nil {
		fmt.Fprintf(w, "campaign %s %s: %s, %s, %s\n", c.Name, verb, c.What, c.Status, clusterCount(c.Clusters))
	}
	return nil
}

func clusterCount(n int) string {
	if n == 1 {
		return "1 cluster"
	}
	return fmt.Sprintf("%d clusters", n)
}

func stay(n int) string {
	if n == 1 {
		return "1 cluster stays"
	}
	return fmt.Sprintf("%d clusters stay", n)
}

func themOrIt(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// some names the first few clusters, and how many there are beside them.
func some(refs []fleet.ClusterRef) string {
	const most = 5
	var names []string
	for _, ref := range refs[:min(len(refs), most)] {
		names = append(names, ref.String())
	}
	if len(refs) > most {
		names = append(names, fmt.Sprintf("and %d more", len(refs)-most))
	}
	return strings.Join(names, ", ")
}
