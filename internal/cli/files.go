package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// documents are what the files of -f hold.
type documents struct {
	fleet    *fleet.Fleet
	campaign *campaign.Campaign
}

// readFiles reads fleet and campaign files. All that is wrong with all of them is in one error.
func readFiles(cmd *cobra.Command, o *Options, names []string) (documents, error) {
	var d documents
	if len(names) == 0 {
		return d, Failf(ExitUsage, "give -f FILE, once for each file", "no file is named")
	}
	objects, err := config.ReadFiles(names, fleet.Kind(), campaign.Kind())
	var ps config.Problems
	if errors.As(err, &ps) {
		if o.Output == "json" {
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			if err := enc.Encode(ps); err != nil {
				return d, err
			}
		}
		for _, p := range ps {
			fmt.Fprintln(cmd.ErrOrStderr(), p)
		}
		return d, Failf(ExitUsage, "nothing was applied; mend the files and try again", "%d problems in the files", len(ps))
	}
	if err != nil {
		return d, Failf(ExitUsage, "", "%w", err)
	}
	for _, obj := range objects {
		switch v := obj.Value.(type) {
		case fleet.Fleet:
			if d.fleet != nil {
				return d, Failf(ExitUsage, "put all environments into one fleet", "there are two fleets in the files")
			}
			d.fleet = &v
		case campaign.Campaign:
			if d.campaign != nil {
				return d, Failf(ExitUsage, "apply one campaign at a time", "there are two campaigns in the files")
			}
			d.campaign = &v
		}
	}
	return d, nil
}

func applyCommand(o *Options) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "apply -f FILE…", Short: "Tell the server of a fleet, a campaign, or both",
		Example: "  windlass apply -f fleet.yaml -f campaign.yaml",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := readFiles(cmd, o, files)
			if err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			if o.DryRun {
				fmt.Fprintln(cmd.ErrOrStderr(), "Dry run: the files are right; nothing was applied.")
				return nil
			}
			if err := c.Apply(cmd.Context(), api.ApplyRequest{Fleet: d.fleet, Campaign: d.campaign, Who: whoAmI()}); err != nil {
				return err
			}
			return o.printer(cmd).value(map[string]bool{"applied": true}, func(w io.Writer) error {
				if d.fleet != nil {
					n := 0
					for _, e := range d.fleet.Environments {
						n += len(e.Clusters)
					}
					fmt.Fprintf(w, "fleet %s applied: %d clusters in %d environments\n", d.fleet.Name, n, len(d.fleet.Environments))
				}
				if d.campaign != nil {
					fmt.Fprintf(w, "campaign %s applied: %s %s → %s\n", d.campaign.Name, d.campaign.Product, d.campaign.From, d.campaign.To)
				}
				return nil
			})
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "YAML `FILE` with a fleet or a campaign; may be given again")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "check the files and stop")
	return cmd
}

func planCommand(o *Options) *cobra.Command {
	var files []string
	cmd := &cobra.Command{
		Use: "plan -f FILE…", Short: "Show what a campaign would do, before anything runs",
		Long:    "Shows the stages, the steps with what they do, prove and undo, the limits and soaks, and the point of no return. It asks no server and changes nothing.",
		Example: "  windlass plan -f fleet.yaml -f campaign.yaml",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := readFiles(cmd, o, files)
			if err != nil {
				return err
			}
			if d.campaign == nil {
				return Failf(ExitUsage, "give the campaign's file with -f", "the files hold no campaign")
			}
			st, ok := strategy.ByName(d.campaign.Strategy)
			if !ok {
				return Failf(ExitUsage, "", "strategy %q is not known", d.campaign.Strategy)
			}
			var clusters []fleet.Cluster
			if d.fleet != nil {
				clusters = d.campaign.Select(*d.fleet)
			}
			return o.printer(cmd).value(map[string]any{"campaign": d.campaign, "strategy": st, "clusters": clusters}, func(w io.Writer) error {
				return printPlan(w, *d.campaign, st, clusters)
			})
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "YAML `FILE` with a fleet or a campaign; may be given again")
	return cmd
}

func printPlan(w io.Writer, c campaign.Campaign, st strategy.Strategy, clusters []fleet.Cluster) error {
	fmt.Fprintf(w, "Campaign %s: %s %s → %s by %s, cell %s → %s\n", c.Name, c.Product, c.From, c.To, c.Strategy, c.FromCell, c.ToCell)
	count := map[string]int{}
	for _, cl := range clusters {
		count[cl.Env]++
	}
	for i, e := range c.Environments {
		after := ""
		if i > 0 {
			after = fmt.Sprintf(", %s after %s", config.FormatDuration(c.Soak.Environments), c.Environments[i-1])
		}
		fmt.Fprintf(w, "  %d. %s: %d clusters%s\n", i+1, e, count[e], after)
	}
	for i, stage := range st.Stages {
		mark := ""
		if stage.PointOfNoReturn {
			mark = "  ⚑ POINT OF NO RETURN: no way back from its beginning on"
		}
		fmt.Fprintf(w, "\nStage %d: %s%s\n  %s\n", i+1, stage.Name, mark, stage.Summary)
		for _, e := range c.Environments {
			fmt.Fprintf(w, "  at most %d at a time in %s\n", c.Limits.Of(e, stage.Name), e)
		}
		if d := c.Soak.Stages[stage.Name]; d > 0 {
			fmt.Fprintf(w, "  then a soak of %s\n", config.FormatDuration(d))
		}
		for _, step := range stage.Steps {
			fmt.Fprintf(w, "  - %s\n      does:   %s\n      proves: %s\n", step.Kind, step.Does, step.Proves)
			if !stage.PointOfNoReturn && step.Undoes != "" {
				fmt.Fprintf(w, "      undo:   %s\n", step.Undoes)
			}
			fmt.Fprintf(w, "      at the latest after %s\n", config.FormatDuration(step.Deadline))
		}
	}
	return nil
}
