package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// operation is a verb that changes something: it says what it will do, asks, and does it.
type operation struct {
	campaign string
	scope    api.ScopeRequest
	why      string
	result   string // what is said in the end; empty: "Done."
	// allowed, unless nil, refuses what the campaign as it is now does not allow, before anybody is asked.
	allowed func(s campaign.Snapshot) error
}

func (op *operation) flags(cmd *cobra.Command, o *Options, scoped bool) {
	campaignFlag(cmd, &op.campaign)
	cmd.Flags().StringVar(&op.why, "why", "", "the `REASON`; it is kept with the event")
	cmd.Flags().BoolVarP(&o.Yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and stop")
	if scoped {
		cmd.Flags().StringVar(&op.scope.Env, "env", "", "only this `ENVIRONMENT`")
		cmd.Flags().StringVar(&op.scope.Stage, "stage", "", "only this `STAGE`")
	}
}

// do connects, says what will happen, asks, and acts.
func (op *operation) do(cmd *cobra.Command, o *Options, what func(campaign string) string, act func(ctx context.Context, c *api.Client, campaign string) error) error {
	if strings.TrimSpace(op.why) == "" {
		return Failf(ExitUsage, "say it with --why: it is kept with the event, for those who ask later", "a reason is needed")
	}
	c, err := o.connect()
	if err != nil {
		return err
	}
	name, err := campaignName(cmd, c, op.campaign)
	if err != nil {
		return err
	}
	if err := op.known(cmd, c, name); err != nil {
		return err
	}
	ok, err := confirm(cmd, o, what(name))
	if err != nil || !ok {
		return err
	}
	if err := act(cmd.Context(), c, name); err != nil {
		return err
	}
	return o.printer(cmd).value(map[string]bool{"done": true}, func(w io.Writer) error { _, err := fmt.Fprintln(w, cmp.Or(op.result, "Done.")); return err })
}

// known refuses an environment, a stage or a cluster that the campaign does not have, before anybody is asked. If the campaign can't be read
// just now, the server is to judge: no look may keep an operator from a pause.
func (op *operation) known(cmd *cobra.Command, c *api.Client, name string) error {
	if op.allowed == nil && op.scope == (api.ScopeRequest{Why: op.scope.Why}) {
		return nil
	}
	s, err := c.Campaign(cmd.Context(), name)
	if err != nil {
		return nil
	}
	if envs := s.Snapshot.Campaign.Environments; op.scope.Env != "" && !slices.Contains(envs, op.scope.Env) {
		return Failf(ExitUsage, config.Suggest(op.scope.Env, envs), "campaign %s has no environment %q", name, op.scope.Env)
	}
	if op.scope.Stage != "" && len(s.Stages) > 0 && !slices.Contains(s.Stages, op.scope.Stage) {
		return Failf(ExitUsage, config.Suggest(op.scope.Stage, s.Stages), "campaign %s has no stage %q", name, op.scope.Stage)
	}
	if op.scope.Cluster != "" {
		var refs []string
		for _, p := range s.Snapshot.Clusters {
			refs = append(refs, p.Ref.String())
		}
		if ref := (fleet.ClusterRef{Env: op.scope.Env, Name: op.scope.Cluster}).String(); !slices.Contains(refs, ref) {
			return Failf(ExitUsage, config.Suggest(ref, refs), "campaign %s has no cluster %s", name, ref)
		}
	}
	if op.allowed == nil {
		return nil
	}
	return op.allowed(s.Snapshot)
}

func (op *operation) target(args []string) error {
	if len(args) == 0 {
		return nil
	}
	ref, err := parseRef(args[0])
	if err != nil {
		if !strings.Contains(args[0], "/") {
			return Failf(ExitUsage, fmt.Sprintf("write a cluster as ENV/CLUSTER, such as prod/orders; if %[1]s is a campaign, write --campaign %[1]s; an environment, --env %[1]s", args[0]), "%w", err)
		}
		return err
	}
	if op.scope.Env != "" && op.scope.Env != ref.Env {
		return Failf(ExitUsage, "leave one of them out", "%s is of another environment than --env %s", ref, op.scope.Env)
	}
	op.scope.Env, op.scope.Cluster = ref.Env, ref.Name
	return nil
}

func scopeText(name string, s api.ScopeRequest) string {
	out := "campaign " + name
	switch {
	case s.Cluster != "":
		out = "cluster " + s.Env + "/" + s.Cluster + " of " + out
	case s.Env != "":
		out = "environment " + s.Env + " of " + out
	}
	if s.Stage != "" {
		out = "stage " + s.Stage + " in " + out
	}
	return out
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return Failf(ExitUsage, "usage: "+cmd.UseLine(), "%s takes one cluster at the most, and got %s", cmd.CommandPath(), given(args))
	}
	return nil
}

func pauseCommand(o *Options) *cobra.Command {
	op := &operation{}
	cmd := &cobra.Command{
		Use: "pause [ENV/CLUSTER] --why REASON", Short: "Start nothing new in a campaign, an environment, a stage, or a cluster", Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := op.target(args); err != nil {
				return err
			}
			op.scope.Why = op.why
			return op.do(cmd, o, func(n string) string {
				return "Pause " + scopeText(n, op.scope) + ": nothing new starts there; actions that run go on to their end."
			},
				func(ctx context.Context, c *api.Client, n string) error { return c.Pause(ctx, n, op.scope) })
		},
	}
	op.flags(cmd, o, true)
	return cmd
}

func resumeCommand(o *Options) *cobra.Command {
	op := &operation{}
	cmd := &cobra.Command{
		Use: "resume [ENV/CLUSTER] --why REASON", Short: "End a pause; for one cluster also clear its failure", Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := op.target(args); err != nil {
				return err
			}
			op.scope.Why = op.why
			return op.do(cmd, o, func(n string) string {
				return "Resume " + scopeText(n, op.scope) + ": the launcher may start its next stage again."
			},
				func(ctx context.Context, c *api.Client, n string) error {
					if before, err := c.Campaign(ctx, n); err == nil {
						op.result = nothingToResume(before.Snapshot, op.scope)
					}
					return c.Resume(ctx, n, op.scope)
				})
		},
	}
	op.flags(cmd, o, true)
	return cmd
}

// nothingToResume says so if no pause has exactly this scope, and no cluster in it waits for a person's word.
func nothingToResume(s campaign.Snapshot, scope api.ScopeRequest) string {
	if slices.ContainsFunc(s.Pauses, func(p campaign.Pause) bool {
		return p.Env == scope.Env && p.Cluster == scope.Cluster && p.Stage == scope.Stage
	}) {
		return ""
	}
	const list = " `windlass status` lists the pauses, and each is ended in its own scope."
	if scope.Cluster == "" || scope.Stage != "" {
		return "Nothing was paused there." + list
	}
	ref := fleet.ClusterRef{Env: scope.Env, Name: scope.Cluster}
	if slices.ContainsFunc(s.Clusters, func(p campaign.Progress) bool { return p.Ref == ref && (p.Failure != nil || p.Attention != "") }) {
		return ""
	}
	return fmt.Sprintf("%s was neither paused nor failed: nothing has changed.%s", ref, list)
}

func abortCommand(o *Options) *cobra.Command {
	op := &operation{}
	cmd := &cobra.Command{
		Use: "abort [ENV/CLUSTER] --why REASON", Short: "Turn round what runs: of one cluster, or of a campaign, which then ends", Args: atMostOne,
		Long: `With a cluster: the action that it is in turns round and is undone; the cluster then stays until you resume it, and the campaign goes on
without it. Without one: every action turns round, and nothing starts again in the campaign.

Past the point of no return nothing can be undone, and what runs there goes on to its end.`,
		Example: "  windlass abort prod/orders --why 'its disk is too small'\n  windlass abort --why 'wrong version'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := op.target(args); err != nil {
				return err
			}
			if ref := (fleet.ClusterRef{Env: op.scope.Env, Name: op.scope.Cluster}); ref.Name != "" {
				return op.do(cmd, o, func(n string) string {
					return fmt.Sprintf("Abort what runs on %s: it turns round and is undone, and the cluster stays until you resume it. Campaign %s goes on without it.", ref, n)
				},
					func(ctx context.Context, c *api.Client, n string) error { return c.AbortCluster(ctx, n, ref, op.why) })
			}
			return op.do(cmd, o, func(n string) string {
				return "Abort campaign " + n + ": actions that run turn round and are undone, except past the point of no return; nothing starts again."
			},
				func(ctx context.Context, c *api.Client, n string) error { return c.Abort(ctx, n, op.why) })
		},
	}
	op.flags(cmd, o, false)
	return cmd
}

func rollbackCommand(o *Options) *cobra.Command {
	op := &operation{}
	var to string
	cmd := &cobra.Command{
		Use: "rollback ENV/CLUSTER [--to STAGE] --why REASON", Short: "Take one cluster back, stage by stage, without losing a write",
		Example: "  windlass rollback prod/orders --to verify --why 'slow queries on 11.8'", Args: exactly(1, "one cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0])
			if err != nil {
				return err
			}
			op.scope.Env, op.scope.Cluster = ref.Env, ref.Name
			op.allowed = func(s campaign.Snapshot) error {
				i := slices.IndexFunc(s.Clusters, func(p campaign.Progress) bool { return p.Ref == ref })
				return state.RollbackAllowed(s.Campaign, s.Clusters[i], to)
			}
			end := "the end of " + to
			if to == "" {
				end = "the beginning"
			}
			return op.do(cmd, o, func(string) string {
				return fmt.Sprintf("Roll %s back to %s: each completed stage after it is undone in reverse order. Writes made on the new version are kept. The cluster then stays until you resume it.", ref, end)
			}, func(ctx context.Context, c *api.Client, n string) error {
				return c.Rollback(ctx, n, api.RollbackRequest{Ref: ref, To: to, Why: op.why})
			})
		},
	}
	op.flags(cmd, o, false)
	cmd.Flags().StringVar(&to, "to", "", "`STAGE` at whose end it is to be; empty: the beginning")
	return cmd
}

func launchCommand(o *Options) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "launch", Short: "Run the launcher now, within every rule", Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if name, err = campaignName(cmd, c, name); err != nil {
				return err
			}
			out, err := c.Launch(cmd.Context(), name)
			if err != nil {
				return err
			}
			return o.printer(cmd).value(out, func(w io.Writer) error {
				for _, d := range out.Started {
					fmt.Fprintf(w, "%s: %s\n", d.Ref, d.Start)
				}
				if _, err := fmt.Fprintf(w, "%d started, %d held, %d arrived\n", len(out.Started), out.Held, out.Arrived); err != nil || out.Held == 0 {
					return err
				}
				_, err := fmt.Fprintf(w, "Held by %s. What holds a cluster: windlass why ENV/CLUSTER; of all of them: windlass status\n", counted(out.Holds))
				return err
			})
		},
	}
	campaignFlag(cmd, &name)
	return cmd
}

// counted lists codes with how often each holds, the most frequent first.
func counted(holds map[string]int) string {
	codes := slices.SortedFunc(maps.Keys(holds), func(a, b string) int { return cmp.Or(cmp.Compare(holds[b], holds[a]), cmp.Compare(a, b)) })
	for i, code := range codes {
		codes[i] = fmt.Sprintf("%s (%d)", code, holds[code])
	}
	return strings.Join(codes, ", ")
}
