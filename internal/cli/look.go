package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

func campaignFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "campaign", "", "`NAME` of the campaign; not needed if there is only one")
}

func statusCommand(o *Options) *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "status", Short: "Show where every cluster of a campaign is",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if name, err = campaignName(cmd, c, name); err != nil {
				return err
			}
			s, err := c.Campaign(cmd.Context(), name)
			if err != nil {
				return err
			}
			return o.printer(cmd).value(s, func(w io.Writer) error { return printStatus(w, s) })
		},
	}
	campaignFlag(cmd, &name)
	return cmd
}

func printStatus(w io.Writer, s api.CampaignStatus) error {
	c := s.Snapshot.Campaign
	decisions := map[fleet.ClusterRef]campaign.Decision{}
	arrived := 0
	for _, d := range s.Decisions {
		decisions[d.Ref] = d
		if d.Arrived {
			arrived++
		}
	}
	fmt.Fprintf(w, "%s: %s %s → %s, %s, %d of %d clusters have arrived\n", c.Name, c.Product, c.From, c.To, s.Snapshot.Status, arrived, len(s.Snapshot.Clusters))
	for _, p := range s.Snapshot.Pauses {
		fmt.Fprintf(w, "paused: %s, by %s: %s\n", scopeText(c.Name, api.ScopeRequest{Env: p.Env, Cluster: p.Cluster, Stage: p.Stage}), p.Who, p.Why)
	}
	for _, f := range slices.Concat(c.Freezes, s.Snapshot.Freezes) {
		if f.To.After(s.At) {
			of := "everything"
			if len(f.Environments) > 0 {
				of = strings.Join(f.Environments, " and ")
			}
			fmt.Fprintf(w, "freeze of %s from %s to %s: %s\n", of, f.From.Format(time.RFC3339), f.To.Format(time.RFC3339), f.Reason)
		}
	}
	for _, v := range s.Snapshot.Overrides {
		if v.Expires.After(s.At) {
			what := "override of " + v.Rule
			if v.Rule == campaign.CodeApproval {
				what = "approval"
			}
			fmt.Fprintf(w, "%s for %s until %s, by %s: %s\n", what, scopeText(c.Name, api.ScopeRequest{Env: v.Env, Cluster: v.Cluster, Stage: v.Stage}), v.Expires.Format(time.RFC3339), v.Who, v.Why)
		}
	}
	var rows [][]string
	for _, env := range c.Environments {
		for _, p := range s.Snapshot.Clusters {
			if p.Ref.Env == env {
				rows = append(rows, statusRow(p, decisions[p.Ref], s.At))
			}
		}
	}
	fmt.Fprintln(w)
	return table(w, []string{"CLUSTER", "VERSION", "COMPLETED", "NOW", "DETAIL"}, rows)
}

func statusRow(p campaign.Progress, d campaign.Decision, now time.Time) []string {
	completed := p.Stage
	if completed == "" {
		completed = "-"
	}
	version := fleet.ShortVersion(p.Version)
	switch {
	case version == "":
		version = "unknown"
	case p.Unknown != "" && p.Action == nil: // the last look failed; what it was before is still worth a word
		version = "unknown, was " + version
	}
	state, detail := "", ""
	switch {
	case p.Action != nil:
		state = p.Action.Stage
		if p.Action.Direction == "back" {
			state += " (back)"
		}
		detail = p.Action.Message
	case d.Arrived:
		state = "arrived"
	case p.Failure != nil:
		state, detail = "FAILED", p.Failure.Stage+": "+p.Failure.Message
	case d.Hold != nil && len(d.Hold.Reasons) > 0:
		state, detail = "held: "+d.Hold.Reasons[0].Code, d.Hold.Reasons[0].Message
	case d.Start != "":
		state = "ready for " + d.Start
	}
	if letters := []rune(detail); len(letters) > 100 {
		detail = string(letters[:97]) + "..."
	}
	return []string{p.Ref.String(), version, completed, state, strings.ReplaceAll(detail, "\n", " ")}
}

// parseRef reads "env/cluster".
func parseRef(s string) (fleet.ClusterRef, error) {
	env, name, ok := strings.Cut(s, "/")
	if !ok || env == "" || name == "" || strings.Contains(name, "/") {
		return fleet.ClusterRef{}, Failf(ExitUsage, "write it as ENV/CLUSTER, such as prod/orders; `windlass status` lists them", "%q names no cluster", s)
	}
	return fleet.ClusterRef{Env: env, Name: name}, nil
}

func whyCommand(o *Options) *cobra.Command {
	return &cobra.Command{
		Use: "why ENV/CLUSTER", Short: "Say why a cluster does not move, what would let it, and when at the earliest",
		Long:    "Exits 0 if the cluster moves or has arrived, and 3 if it is held.",
		Example: "  windlass why prod/orders",
		Args:    exactly(1, "one cluster"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseRef(args[0])
			if err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			s, err := c.Cluster(cmd.Context(), ref)
			if errors.Is(err, state.ErrNotFound) {
				return unknownCluster(cmd, c, ref)
			}
			if err != nil {
				return err
			}
			if err := o.printer(cmd).value(s, func(w io.Writer) error { return printWhy(w, s) }); err != nil {
				return err
			}
			if s.Forgotten.IsZero() && s.Decision != nil && s.Decision.Hold != nil && (s.Progress == nil || s.Progress.Action == nil) {
				return &Error{Code: ExitFinding, Err: errSilent}
			}
			return nil
		},
	}
}

// unknownCluster says which cluster was most likely meant; if the fleet can't be read, where they are listed.
func unknownCluster(cmd *cobra.Command, c *api.Client, ref fleet.ClusterRef) error {
	var names []string
	if all, err := c.Fleets(cmd.Context()); err == nil {
		for _, f := range all {
			for _, env := range f.Environments {
				for _, one := range env.Clusters {
					names = append(names, env.Name+"/"+one.Name)
				}
			}
		}
	}
	return Failf(ExitError, config.Meant(ref.String(), names, "`windlass status` lists the clusters"), "there is no cluster %s", ref)
}

// errSilent ends the command with its exit code and no further word.
var errSilent = fmt.Errorf("")

func printWhy(w io.Writer, s api.ClusterStatus) error {
	ref := s.Cluster.Ref()
	if !s.Forgotten.IsZero() {
		fmt.Fprintf(w, "%s was forgotten at %s: nothing observes it, and no campaign takes it. `windlass events --cluster %s` shows what happened to it.\n", ref, s.Forgotten.Format(time.RFC3339), ref)
		return nil
	}
	switch {
	case s.Progress == nil:
		fmt.Fprintf(w, "%s is in no campaign.\n", ref)
		return nil
	case s.Progress.Action != nil:
		printMoves(w, s)
		return nil
	case s.Decision == nil:
		fmt.Fprintf(w, "%s: nothing is known of its next step.\n", ref)
		return nil
	case s.Decision.Arrived:
		fmt.Fprintf(w, "%s has arrived.\n", ref)
		return nil
	case s.Decision.Start != "":
		fmt.Fprintf(w, "Nothing holds %s: the launcher starts %s at its next run.\n", ref, s.Decision.Start)
		return nil
	}
	h := s.Decision.Hold
	fmt.Fprintf(w, "%s is held before %s.\n", ref, h.Next)
	for _, r := range h.Reasons {
		fmt.Fprintf(w, "  - %s: %s\n      released by: %s\n", r.Code, r.Message, r.Release)
		if !r.Until.IsZero() {
			fmt.Fprintf(w, "      ends by itself at %s\n", r.Until.Format(time.RFC3339))
		}
	}
	if h.Earliest.IsZero() {
		fmt.Fprintln(w, "At the earliest: unknown, something has to happen first.")
	} else {
		fmt.Fprintf(w, "At the earliest: %s\n", h.Earliest.Format(time.RFC3339))
	}
	return nil
}

// printMoves says what an action is at. A check of a step that still goes on has not failed: what it looks for is what the step is to bring about.
func printMoves(w io.Writer, s api.ClusterStatus) {
	a := s.Progress.Action
	info := state.ActionInfo{}
	for _, one := range s.Actions {
		if one.ID == a.ID {
			info = one
		}
	}
	way := a.Direction
	if info.Turned {
		way = "going back"
	}
	fmt.Fprintf(w, "%s moves: it is in %s (%s) since %s.\n", s.Cluster.Ref(), a.Stage, way, a.StartedAt.Format(time.RFC3339))
	if info.Turned && info.Reason != "" {
		fmt.Fprintf(w, "It goes back because %s\n", info.Reason)
	}
	if a.Message != "" {
		fmt.Fprintf(w, "It waits: %s\n", a.Message)
	}
	for _, step := range info.Steps {
		if a.Message == "" && (step.Phase == engine.Intent || step.Phase == engine.Undoing) && step.Message != "" {
			fmt.Fprintf(w, "It is at %s: %s\n", step.Kind, step.Message)
		}
		begun := step.Phase == engine.Intent || step.Phase == engine.Waiting && !step.Unbegun && !step.Held
		for _, ck := range step.Checks.Bad() {
			verdict, todo := string(ck.Verdict), "to do"
			if begun && ck.Verdict == check.Fail {
				verdict, todo = "not yet", "it needs"
			}
			fmt.Fprintf(w, "  - %s (%s): %s\n", ck.Name, verdict, ck.Detail)
			if ck.Remedy != "" {
				fmt.Fprintf(w, "      %s: %s\n", todo, ck.Remedy)
			}
		}
	}
}

func forecastCommand(o *Options) *cobra.Command {
	var name string
	var costs bool
	var limit time.Duration
	cmd := &cobra.Command{
		Use: "forecast", Short: "Say when a campaign ends if nothing fails, and with --costs what each rule costs",
		Long: "Runs the campaign's own rules ahead on a virtual clock, with the durations that stages took so far.\nExits 3 if a cluster waits for something that can't be foreseen, such as a person.",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if name, err = campaignName(cmd, c, name); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			f, err := c.Forecast(ctx, name, costs)
			if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
				return Failf(ExitError, "of thousands of clusters it takes a while, and with --costs many times as long: leave that out, or wait longer with --timeout", "the server at %s did not work it out within %s", o.Server, limit)
			}
			if err != nil {
				return err
			}
			if err := o.printer(cmd).value(f, func(w io.Writer) error { return printForecast(w, name, f, costs) }); err != nil {
				return err
			}
			if len(f.Stuck) > 0 {
				return &Error{Code: ExitFinding, Err: errSilent}
			}
			return nil
		},
	}
	campaignFlag(cmd, &name)
	cmd.Flags().DurationVar(&limit, "timeout", 10*time.Minute, "how long to wait for it")
	cmd.Flags().BoolVar(&costs, "costs", false, "say how much earlier it would end without each limit and soak")
	return cmd
}

func printForecast(w io.Writer, name string, f api.Forecast, costs bool) error {
	switch {
	case !f.End.IsZero():
		fmt.Fprintf(w, "%s ends at %s if nothing fails: %d starts in %d launches.\n", name, f.End.Format(time.RFC3339), f.Starts, f.Launches)
	case len(f.Stuck) > 0:
		fmt.Fprintf(w, "%s does not end by itself: %d clusters wait for what can't be foreseen.\n", name, len(f.Stuck))
	default:
		fmt.Fprintf(w, "%s does not end by itself: its schedule never launches again.\n", name)
	}
	var rows [][]string
	for _, s := range f.Environments {
		took, ok := f.Durations[s.Stage]
		measured := took.Round(time.Second).String()
		if !ok {
			measured = f.Durations[""].String() + " (not measured yet)"
		}
		rows = append(rows, []string{s.Env, s.Stage, strconv.Itoa(s.Count), s.First.Format(time.RFC3339), s.Last.Format(time.RFC3339), measured})
	}
	fmt.Fprintln(w)
	if err := table(w, []string{"ENVIRONMENT", "STAGE", "CLUSTERS", "FIRST START", "LAST END", "ONE TAKES"}, rows); err != nil {
		return err
	}
	for _, d := range f.Stuck {
		if d.Hold != nil && len(d.Hold.Reasons) > 0 {
			fmt.Fprintf(w, "%s waits before %s: %s\n", d.Ref, d.Hold.Next, d.Hold.Reasons[0].Message)
		}
	}
	if costs && f.End.IsZero() {
		fmt.Fprintln(w, "What a limit or a soak costs can't be told as long as there is no end.")
	} else if costs && len(f.Costs) == 0 {
		fmt.Fprintln(w, "No limit and no soak makes it later.")
	}
	for _, c := range f.Costs {
		fmt.Fprintf(w, "without %s it would end %s earlier\n", c.What, c.Saves.Round(time.Second))
	}
	return nil
}

func eventsCommand(o *Options) *cobra.Command {
	var f state.EventFilter
	var follow bool
	var ref string
	cmd := &cobra.Command{
		Use: "events", Short: "Show what has happened, the audit trail",
		Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ref != "" {
				r, err := parseRef(ref)
				if err != nil {
					return err
				}
				f.Ref = r
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			f.Newest = true // what is old is not what is asked for, also of who follows
			for {
				all, err := c.Events(cmd.Context(), f)
				if follow && cmd.Context().Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				if f.After == 0 && len(all) == 0 {
					if err := there(cmd, c, f); err != nil {
						return err
					}
				}
				first := f.Newest
				if first {
					slices.Reverse(all)
				}
				if !follow || len(all) > 0 {
					if err := o.printer(cmd).value(all, func(w io.Writer) error { return printEvents(w, all) }); err != nil || !follow {
						return err
					}
					f.After = all[len(all)-1].Seq
				}
				f.Newest = false
				if !first && len(all) > 0 && len(all) == f.Limit { // there may be more already
					continue
				}
				select {
				case <-cmd.Context().Done():
					return nil
				case <-time.After(time.Second):
				}
			}
		},
	}
	cmd.Flags().StringVar(&f.Campaign, "campaign", "", "only of this campaign")
	cmd.Flags().StringVar(&ref, "cluster", "", "only of this `ENV/CLUSTER`")
	cmd.Flags().IntVar(&f.Limit, "limit", 100, "most events")
	cmd.Flags().BoolVar(&follow, "follow", false, "go on with what happens next")
	return cmd
}

// there refuses a cluster or a campaign that there is not: that nothing is told of it would be taken for peace.
func there(cmd *cobra.Command, c *api.Client, f state.EventFilter) error {
	if f.Campaign != "" {
		all, err := c.Campaigns(cmd.Context())
		if err != nil {
			return err
		}
		var names []string
		for _, one := range all {
			names = append(names, one.Campaign.Name)
		}
		if !slices.Contains(names, f.Campaign) {
			return Failf(ExitError, config.Suggest(f.Campaign, names), "there is no campaign %s", f.Campaign)
		}
	}
	if f.Ref == (fleet.ClusterRef{}) {
		return nil
	}
	_, err := c.Cluster(cmd.Context(), f.Ref)
	if errors.Is(err, state.ErrNotFound) {
		return unknownCluster(cmd, c, f.Ref)
	}
	return err
}

func printEvents(w io.Writer, all []state.Event) error {
	for _, e := range all {
		where := e.Campaign
		if e.Ref.Name != "" {
			where = e.Ref.String()
		}
		if e.Stage != "" {
			where += " " + e.Stage
		}
		if e.Step != "" {
			where += "/" + e.Step
		}
		who := ""
		if e.Who != "" {
			who = " (" + e.Who + ")"
		}
		mark := " "
		if e.Loud {
			mark = "!"
		}
		if _, err := fmt.Fprintf(w, "%6d %s %s %-20s %s: %s%s\n", e.Seq, e.At.Format("2006-01-02 15:04:05"), mark, e.Kind, where, e.Message, who); err != nil {
			return err
		}
	}
	return nil
}
