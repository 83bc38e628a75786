package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
)

// documents are what the files of -f hold.
type documents struct {
	fleet    *fleet.Fleet
	campaign *campaign.Campaign
	object   config.Object // of the campaign, which knows its lines
	fleetDoc config.Object // of the fleet
}

// readFiles reads fleet and campaign files. All that is wrong with all of them is in one error.
func readFiles(cmd *cobra.Command, o *Options, names []string) (documents, error) {
	var d documents
	if len(names) == 0 {
		return d, Failf(ExitUsage, "give -f FILE, once for each file", "no file is named")
	}
	objects, err := unless(cmd.Context(), func() ([]config.Object, error) { return config.ReadFiles(names, fleet.Kind(), campaign.Kind()) })
	if interrupted(cmd.Context(), err) {
		return d, err
	}
	var ps config.Problems
	if errors.As(err, &ps) {
		if o.Output == "json" {
			if err := o.printer(cmd).value(ps, nil); err != nil {
				return d, err
			}
		}
		return d, problems(cmd, ps, ExitUsage, "mend the files and try again; nothing was applied")
	}
	if err != nil {
		return d, unreadable(err)
	}
	for _, obj := range objects {
		switch v := obj.Value.(type) {
		case fleet.Fleet:
			if d.fleet != nil {
				return d, Failf(ExitUsage, "put all environments into one fleet", "there are two fleets in the files")
			}
			d.fleet, d.fleetDoc = &v, obj
		case campaign.Campaign:
			if d.campaign != nil {
				return d, Failf(ExitUsage, "apply one campaign at a time", "there are two campaigns in the files")
			}
			d.campaign, d.object = &v, obj
		}
	}
	return d, nil
}

// unreadable says of a file that can't be read which one, from where it was looked for, and what to do.
func unreadable(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return Failf(ExitUsage, "", "%w", err)
	}
	name := path.Path
	switch {
	case errors.Is(err, fs.ErrNotExist):
		here, err := os.Getwd()
		if err != nil || filepath.IsAbs(name) {
			here = "this machine"
		}
		return Failf(ExitUsage, missing(name), "there is no file %s in %s", name, here)
	case errors.Is(err, fs.ErrPermission):
		return Failf(ExitUsage, "let this user read it, or run as one who may", "the file %s may not be read: %w", name, path.Err)
	case errors.Is(err, syscall.EISDIR):
		return Failf(ExitUsage, "name the files in it, each with -f", "%s is a folder", name)
	}
	return Failf(ExitUsage, "", "the file %s can't be read: %w", name, path.Err)
}

// missing is a hint for a file that is not there: the one of its folder that was most likely meant.
func missing(name string) string {
	const hint = "look at the path and the name"
	entries, err := os.ReadDir(filepath.Dir(name))
	if err != nil {
		return hint
	}
	var names []string
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			names = append(names, e.Name())
		}
	}
	if s := config.Suggest(filepath.Base(name), names); s != "" && len(s) < 200 {
		return s
	}
	return hint
}

// problems shows all that is wrong with the files, each with its line, and makes the error that ends the command.
func problems(cmd *cobra.Command, ps config.Problems, code int, hint string) error {
	return problemsIn(cmd, ps, "the files", code, hint)
}

// problemsIn is problems of something else than files.
func problemsIn(cmd *cobra.Command, ps config.Problems, where string, code int, hint string) error {
	for _, p := range ps {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	what := "1 problem in " + where
	if len(ps) != 1 {
		what = fmt.Sprintf("%d problems in %s", len(ps), where)
	}
	return Failf(code, hint, "%s", what)
}

// unfit says, line by line, what keeps the campaign from being applied to the fleet beside it.
func (d documents) unfit() config.Problems {
	if d.campaign == nil || d.fleet == nil {
		return nil
	}
	return d.object.Locate(d.campaign.Check(*d.fleet, time.Now()))
}

func planCommand(o *Options) *cobra.Command {
	var files []string
	var way pathFlags
	cmd := &cobra.Command{
		Use: "plan -f FILE… | --product NAME --from VERSION --to VERSION", Short: "Show what a campaign would do, or a product's path with its proof, before anything runs",
		Long:    "Shows the stages, the steps with what they do, prove and undo, the limits and soaks, and the point of no return. It asks no server and changes nothing.\nExits 3 if the campaign does not fit the fleet, and shows nothing but why.\n\nWith --product it plans by the product's policy alone: the hops, the order within each, every mixed state with its\nproof, and the ways back. Exits 3 if there is no path, and names the rules that forbid it.",
		Example: "  windlass plan -f fleet.yaml -f campaign.yaml\n  windlass plan --product vitess --from 4.0 --to 6.0",
		Args:    exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if way.given() {
				return way.plan(cmd, o)
			}
			d, err := readFiles(cmd, o, files)
			if err != nil {
				return err
			}
			if d.campaign == nil {
				return Failf(ExitUsage, "give the campaign's file with -f", "the files hold no campaign")
			}
			f := fleet.Fleet{Name: campaign.NoFleet}
			if d.fleet != nil {
				f = *d.fleet
			} else {
				fmt.Fprintln(cmd.ErrOrStderr(), "No fleet is given, so the plan names no cluster and is held against none: give its file too, with another -f.")
			}
			p := campaign.PlanOf(*d.campaign, f, time.Now())
			if d.fleet == nil {
				p.Findings = nil
			}
			if err := o.printer(cmd).value(p, p.WriteText); err != nil {
				return err
			}
			if ps := d.unfit(); len(ps) > 0 {
				return problems(cmd, ps, ExitFinding, "mend the campaign or the fleet before you apply them") // in JSON the plan has them
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVarP(&files, "file", "f", nil, "YAML `FILE` with a fleet or a campaign; may be given again")
	way.add(cmd)
	return cmd
}
