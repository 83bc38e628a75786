package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/config"
)

// What is good for a time: approvals, overrides, freezes; and their end before it.

// timedRule is an override, or its end.
type timedRule struct {
	operation
	rule, length string
	end          bool
}

func (t *timedRule) run(cmd *cobra.Command, o *Options) error {
	if t.rule != campaign.CodeApproval {
		rules := campaign.Overridable()
		if _, ok := rules[t.rule]; !ok {
			names := slices.Sorted(maps.Keys(rules))
			hint := "`windlass why` names the rule that holds"
			if s := config.Suggest(t.rule, names); len(s) < 60 {
				hint = s + " " + hint
			}
			return Failf(ExitUsage, hint, "rule %q is not known, or can't be overridden", t.rule)
		}
	}
	if t.end {
		if cmd.Flags().Changed("for") {
			return Failf(ExitUsage, "leave --for out", "what is ended now has no time to be good for")
		}
		what := fmt.Sprintf("the override of the rule %q", t.rule)
		if t.rule == campaign.CodeApproval {
			what = "the approval"
		}
		return t.do(cmd, o, func(n string) string {
			return fmt.Sprintf("End %s for %s: what has started meanwhile goes on, the rest is held again.", what, scopeText(n, t.scope))
		}, func(ctx context.Context, c *api.Client, n string) error {
			return c.EndOverride(ctx, n, api.EndOverrideRequest{Rule: t.rule, Env: t.scope.Env, Cluster: t.scope.Cluster, Stage: t.scope.Stage, Why: t.why})
		})
	}
	d, err := duration(t.length)
	if err != nil {
		return err
	}
	return t.do(cmd, o, func(n string) string {
		return fmt.Sprintf("Let the rule %q pass for %s, for %s.", t.rule, scopeText(n, t.scope), config.FormatDuration(d))
	}, func(ctx context.Context, c *api.Client, n string) error {
		return c.Override(ctx, n, campaign.Override{Rule: t.rule, Env: t.scope.Env, Cluster: t.scope.Cluster, Stage: t.scope.Stage, Why: t.why, Expires: time.Now().Add(d)})
	})
}

func duration(text string) (time.Duration, error) {
	d, err := config.ParseDuration(text)
	if err != nil {
		return 0, Failf(ExitUsage, "write it as 2h or 1d", "--for: %w", err)
	}
	if d == 0 {
		return 0, Failf(ExitUsage, "write it as 2h or 1d; what there is ends by thaw, override --end and approve --revoke", "--for %s: it would be over at once", text)
	}
	return d, nil
}

func approveCommand(o *Options) *cobra.Command {
	t := &timedRule{rule: campaign.CodeApproval}
	cmd := &cobra.Command{
		Use: "approve [ENV/CLUSTER] --stage STAGE --why REASON", Short: "Approve a stage that waits for a person's approval, or take that back", Args: atMostOne,
		Example: "  windlass approve --env prod --stage tear-down --why 'a week without a complaint'\n  windlass approve --env prod --stage tear-down --revoke --why 'a complaint'",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := t.target(args); err != nil {
				return err
			}
			if t.scope.Stage == "" && !t.end {
				return Failf(ExitUsage, "name it with --stage; `windlass why` says for which one a cluster waits", "an approval is of one stage")
			}
			return t.run(cmd, o)
		},
	}
	t.flags(cmd, o, true)
	cmd.Flags().StringVar(&t.length, "for", "1d", "how long the approval is good")
	cmd.Flags().BoolVar(&t.end, "revoke", false, "take back the approval of exactly this scope")
	return cmd
}

func overrideCommand(o *Options) *cobra.Command {
	t := &timedRule{}
	cmd := &cobra.Command{
		Use: "override RULE [--env ENV] [--stage STAGE] --for DURATION --why REASON", Short: "Let one rule pass for a time, or end that; who and why are kept", Args: exactly(1, "one rule"),
		Example: "  windlass override soak --env qa --for 1h --why 'it is only qa'\n  windlass override soak --env qa --end --why 'too early'",
		RunE: func(cmd *cobra.Command, args []string) error {
			t.rule = args[0]
			return t.run(cmd, o)
		},
	}
	t.flags(cmd, o, true)
	cmd.Flags().StringVar(&t.scope.Cluster, "cluster", "", "only this `CLUSTER` of --env")
	cmd.Flags().StringVar(&t.length, "for", "1h", "how long")
	cmd.Flags().BoolVar(&t.end, "end", false, "end the override of exactly this rule and scope")
	return cmd
}

// frozen is the scope of a freeze, which has no stage.
func frozen(op *operation) []string {
	if op.scope.Env == "" {
		return nil
	}
	return []string{op.scope.Env}
}

func freezeCommand(o *Options) *cobra.Command {
	op := &operation{}
	var length string
	cmd := &cobra.Command{
		Use: "freeze [--env ENV] --for DURATION --why REASON", Short: "Start nothing for a time", Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := duration(length)
			if err != nil {
				return err
			}
			f := campaign.Freeze{From: time.Now(), To: time.Now().Add(d), Reason: op.why, Environments: frozen(op)}
			return op.do(cmd, o, func(n string) string {
				return fmt.Sprintf("Freeze %s until %s: nothing new starts.", scopeText(n, op.scope), f.To.Format(time.RFC3339))
			},
				func(ctx context.Context, c *api.Client, n string) error { return c.Freeze(ctx, n, f) })
		},
	}
	op.flags(cmd, o, false)
	cmd.Flags().StringVar(&op.scope.Env, "env", "", "only this `ENVIRONMENT`")
	cmd.Flags().StringVar(&length, "for", "1d", "how long")
	return cmd
}

func thawCommand(o *Options) *cobra.Command {
	op := &operation{}
	cmd := &cobra.Command{
		Use: "thaw [--env ENV] --why REASON", Aliases: []string{"unfreeze"}, Short: "End a freeze before its time", Args: exactly(0, "no argument"),
		Long:    "Ends the freezes of exactly this scope. Those of the campaign's file are ended by applying the file without them.",
		Example: "  windlass thaw --env prod --why 'the audit is done'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return op.do(cmd, o, func(n string) string {
				return fmt.Sprintf("Thaw %s: the launcher may start stages again, within all other rules.", scopeText(n, op.scope))
			},
				func(ctx context.Context, c *api.Client, n string) error {
					return c.Thaw(ctx, n, api.ThawRequest{Environments: frozen(op), Why: op.why})
				})
		},
	}
	op.flags(cmd, o, false)
	cmd.Flags().StringVar(&op.scope.Env, "env", "", "only the freeze of this `ENVIRONMENT`")
	return cmd
}
