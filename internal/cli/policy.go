package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/policy"
)

// productFlags choose a product: a built-in one by its name, or one from a file.
type productFlags struct{ name, file string }

func (p *productFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.name, "product", "", "`NAME` of a built-in product: "+strings.Join(policy.Names(), ", "))
	cmd.Flags().StringVar(&p.file, "product-file", "", "YAML `FILE` with a product of your own")
}

func (p *productFlags) read(cmd *cobra.Command, o *Options) (*policy.Product, error) {
	switch {
	case p.name != "" && p.file != "":
		return nil, Failf(ExitUsage, "give one of them", "both --product and --product-file are given")
	case p.file != "":
		objects, err := readKinds(cmd, o, []string{p.file}, policy.Kind())
		if err != nil {
			return nil, err
		}
		if len(objects) != 1 {
			return nil, Failf(ExitUsage, "put one product into the file", "%s holds %d products", p.file, len(objects))
		}
		return objects[0].Value.(*policy.Product), nil
	case p.name == "":
		return nil, Failf(ExitUsage, "give a file of your own with --product-file; built in are "+strings.Join(policy.Names(), ", "), "no product is named with --product")
	}
	product, err := policy.Builtin(p.name)
	return product, usage(err)
}

// usage makes an error of the user's words one with the exit code for that, keeping its hint.
func usage(err error) error {
	var h hinter
	if err != nil && errors.As(err, &h) {
		return Failf(ExitUsage, h.ErrorHint(), "%w", err)
	}
	return err
}

// readKinds reads files of these kinds, and shows all that is wrong with them.
func readKinds(cmd *cobra.Command, o *Options, names []string, kinds ...config.Kind) ([]config.Object, error) {
	objects, err := config.ReadFiles(names, kinds...)
	var ps config.Problems
	if errors.As(err, &ps) {
		if o.Output == "json" {
			if err := o.printer(cmd).value(ps, nil); err != nil {
				return nil, err
			}
		}
		return nil, problems(cmd, ps, ExitUsage, "mend the files and try again")
	}
	if err != nil {
		return nil, unreadable(err)
	}
	return objects, nil
}

func checkCommand(o *Options) *cobra.Command {
	cmd := &cobra.Command{Use: "check", Short: "Check a state of versions, a policy, or a schema"}
	group(cmd)
	cmd.AddCommand(checkStateCommand(o), checkPolicyCommand(o), checkSchemaCommand(o))
	return cmd
}

func checkStateCommand(o *Options) *cobra.Command {
	var product productFlags
	var window bool
	cmd := &cobra.Command{
		Use: "state --product NAME COMPONENT[@PLACE]=VERSION…", Short: "Say whether versions may run side by side, and by which rule they may not",
		Long: "Exits 0 if the state is legal, and 3 if it is not. A place, such as zone1 or zone1/node7, counts where a call of the product\n" +
			"stays inside one: who is known to be elsewhere is not met. Who has no place may be anywhere.",
		Example: "  windlass check state --product vitess vtgate=14.0,vttablet=13.0,vttablet=14.0\n" +
			"  windlass check state --product kubernetes kubelet@node1=1.33,kube-proxy@node1=1.30,kube-proxy@node2=1.33",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := product.read(cmd, o)
			if err != nil {
				return err
			}
			s, err := p.ParseState(strings.Join(args, ","))
			var ps config.Problems
			switch {
			case errors.As(err, &ps):
				return wrongState(cmd, o, ps)
			case err != nil:
				return err
			case len(s.Present) == 0:
				return Failf(ExitUsage, "write COMPONENT=VERSION, such as vtgate=14.0, once for each that is there", "no component is given")
			}
			s.Window = window
			pairs, bad, err := p.Check(s)
			if err != nil {
				return usage(err)
			}
			out := struct {
				Product    string             `json:"product"`
				State      policy.State       `json:"state"`
				Legal      bool               `json:"legal"`
				Pairs      []policy.Pair      `json:"pairs"` // that a rule allows
				Violations []policy.Violation `json:"violations"`
			}{p.Name, s, len(bad) == 0, append([]policy.Pair{}, pairs...), append([]policy.Violation{}, bad...)}
			if err := o.printer(cmd).value(out, func(w io.Writer) error {
				for _, v := range bad {
					fmt.Fprintln(w, v)
				}
				if len(bad) == 0 {
					fmt.Fprintln(w, "legal:", met(len(pairs)))
				}
				return nil
			}); err != nil {
				return err
			}
			if len(bad) > 0 {
				return &Error{Code: ExitFinding, Err: errSilent}
			}
			return nil
		},
	}
	product.add(cmd)
	cmd.Flags().BoolVar(&window, "rollback-window", false, "while a rollback must be possible: replication in reverse is allowed where its guards stand")
	return cmd
}

// met words how many pairs a rule allows.
func met(pairs int) string {
	switch pairs {
	case 0:
		return "no two of them meet"
	case 1:
		return "1 pair meets, and a rule allows it"
	}
	return fmt.Sprintf("%d pairs meet, and a rule allows each", pairs)
}

func checkPolicyCommand(o *Options) *cobra.Command {
	return &cobra.Command{
		Use: "policy FILE", Short: "Check a product's file: unreachable components, contradicting rules, upgrades that are impossible",
		Long: "Exits 0 if nothing is found, 3 if something is, and 2 if the file can't be read.",
		Args: exactly(1, "one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			objects, err := readKinds(cmd, o, args, policy.Kind())
			if err != nil {
				return err
			}
			var ps config.Problems
			n := 0
			for _, obj := range objects {
				p := obj.Value.(*policy.Product)
				n += len(p.Releases)
				found, err := p.LintContext(cmd.Context())
				if err != nil {
					return err
				}
				ps = append(ps, obj.Locate(found)...)
			}
			if len(ps) > 0 {
				if o.Output == "json" {
					if err := o.printer(cmd).value(ps, nil); err != nil {
						return err
					}
				}
				return problems(cmd, ps, ExitFinding, "a policy with these can't be relied on")
			}
			return o.printer(cmd).value([]string{}, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "nothing was found: of %d releases each but the last can be left\n", n)
				return err
			})
		},
	}
}

// pathFlags ask for a path by a product's policy.
type pathFlags struct {
	product  productFlags
	request  policy.Request
	bridges  []string
	everyone bool
}

func (f *pathFlags) add(cmd *cobra.Command) {
	f.product.add(cmd)
	cmd.Flags().StringVar(&f.request.From, "from", "", "`VERSION` that runs")
	cmd.Flags().StringVar(&f.request.To, "to", "", "`VERSION` to go to")
	cmd.Flags().StringVar(&f.request.Strategy, "strategy", policy.InPlace, "inplace or bluegreen")
	cmd.Flags().StringVar(&f.request.Canary, "canary", "", "`COMPONENT` of which one node goes before everything else")
	cmd.Flags().StringArrayVar(&f.bridges, "bridge", nil, "YAML `FILE` with bridges between versions that are no neighbours")
	cmd.Flags().BoolVar(&f.everyone, "proof", false, "show every state with the rule that allows each of its pairs")
}

func (f *pathFlags) given() bool { return f.product.name != "" || f.product.file != "" }

func (f *pathFlags) plan(cmd *cobra.Command, o *Options) error {
	if f.request.From == "" || f.request.To == "" {
		return Failf(ExitUsage, "windlass plan --product vitess --from 4.0 --to 6.0", "--from and --to are needed with --product")
	}
	p, err := f.product.read(cmd, o)
	if err != nil {
		return err
	}
	if len(f.bridges) > 0 {
		objects, err := readKinds(cmd, o, f.bridges, policy.BridgeKind())
		if err != nil {
			return err
		}
		for _, obj := range objects {
			b := obj.Value.(policy.Bridge)
			why := p.Misfit(b)
			if why == "" {
				why = b.Refuse(time.Now())
			}
			if why != "" {
				return Failf(ExitFinding, "plan without it: then the path goes through every version", "%s", why)
			}
			f.request.Bridges = append(f.request.Bridges, b)
		}
	}
	path, err := p.Plan(f.request)
	if err != nil {
		return noPath(cmd, o, err)
	}
	for _, b := range f.request.Bridges {
		if !path.Over(b.Name) {
			return Failf(ExitFinding, "leave it out, or plan from "+b.From+" to "+b.To, "the path from %s to %s does not need the bridge %s from %s to %s", path.From, path.To, b.Name, b.From, b.To)
		}
	}
	return o.printer(cmd).value(path, func(w io.Writer) error { return path.WriteText(w, f.everyone) })
}

// noPath shows why there is no path, or why none could be looked for.
func noPath(cmd *cobra.Command, o *Options, err error) error {
	why, forbidden := err.Error(), []policy.Violation{}
	var no *policy.NoPath
	found := errors.As(err, &no)
	if found {
		why, forbidden = no.Why, append(forbidden, no.Forbidden...)
	}
	if o.Output == "json" {
		if err := o.printer(cmd).value(map[string]any{"path": nil, "why": why, "forbidden": forbidden}, nil); err != nil {
			return err
		}
	}
	if found {
		return Failf(ExitFinding, no.Hint, "%w", err)
	}
	return usage(err)
}

// wrongState shows what is wrong with a state on the command line.
func wrongState(cmd *cobra.Command, o *Options, ps config.Problems) error {
	if o.Output == "json" {
		if err := o.printer(cmd).value(ps, nil); err != nil {
			return err
		}
	}
	return problemsIn(cmd, ps, "the state", ExitUsage, "correct the state; nothing was judged")
}
