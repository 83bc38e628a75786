package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/report"
	"github.com/windlass-db/windlass/internal/replay/retest"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// afterFlags are those of what is asked after a replay, before its verdict.
type afterFlags struct {
	plans                     bool
	targetControl, refControl string
}

func (f *afterFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&f.plans, "plans", true, "explain what was replayed on both servers, if there is a --reference")
	fl.StringVar(&f.targetControl, "target-control", "", "`DSN` of an account that may stop and start the target's replication: what differs is then run again on frozen data")
	fl.StringVar(&f.refControl, "reference-control", "", "`DSN` of an account that may read the reference's position")
}

// control checks the flags of the retest before anything is replayed.
func (f *replayFlags) control(cfg run.Config) (control [2]session.Server, err error) {
	if f.targetControl == "" && f.refControl == "" {
		return control, nil
	}
	if f.targetControl == "" || f.refControl == "" || cfg.Reference == nil || f.state == "" {
		return control, Failf(ExitUsage, "give --reference, --target-control, --reference-control and --state: a retest that is killed leaves word in it of the replication that it stopped", "a retest on frozen data needs all of them")
	}
	if control[0], err = dsnFlag("reference-control", f.refControl); err != nil {
		return control, err
	}
	control[1], err = dsnFlag("target-control", f.targetControl)
	return control, err
}

// after runs what differs again, on data that stands still if it may, and asks both versions for their plans.
func (f *replayFlags) after(cmd *cobra.Command, cfg run.Config, control [2]session.Server, counted *tally.Tally) error {
	if cfg.Reference == nil {
		return nil
	}
	ctx := cmd.Context()
	if control[0].Config != nil {
		if err := f.retest(cmd, cfg, control, counted); err != nil {
			return fmt.Errorf("run what differs again on frozen data: %w", err)
		}
	} else if err := showRows(ctx, cfg, counted); err != nil {
		return err
	}
	if !f.plans {
		return nil
	}
	var p [2]*probe.Session
	for i, server := range []session.Server{*cfg.Reference, cfg.Target} {
		var err error
		if p[i], err = probe.Open(ctx, server); err != nil {
			return err
		}
		defer p[i].Close()
	}
	_, refused, err := plans.Fill(ctx, p[0], p[1], counted, nil, tally.Fingerprints)
	if refused > 0 {
		counted.AddNote("statements whose plans the accounts may not see", int64(refused))
	}
	return err
}

// What is read for the report of what differed: so many rows of each statement, of so many statements, each within that time, and all within that.
const (
	shownRows   = 20
	mostShown   = 50
	shownWithin = 5 * time.Second
	allWithin   = time.Minute
)

// unlikeItself are the traits of statements whose rows say nothing: they differ from themselves.
const unlikeItself = query.Volatile | query.OwnSession | query.OwnServer | query.LimitAlone

// showRows has both versions answer once more what differed, so that a finding shows rows and not counts alone. Where they agree by now, as data has moved, there is nothing to show, and so it
// is where one has no answer: its error is in the finding.
func showRows(ctx context.Context, cfg run.Config, counted *tally.Tally) error {
	within, cancel := context.WithTimeout(ctx, allWithin)
	defer cancel()
	left, unread := mostShown, int64(0)
	for _, s := range counted.Suspects() {
		if left == 0 || s.Traits.Any(unlikeItself) || !isRead(s.Statement) {
			continue
		}
		left--
		var both [2]report.Live
		var err error
		for i, server := range []session.Server{*cfg.Reference, cfg.Target} {
			if err == nil {
				both[i], err = runOn(within, server, s.Statement, shownWithin)
			}
		}
		switch old, fresh := both[0], both[1]; {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			unread++
		case old.Answer.Errno == 0 && fresh.Answer.Errno == 0 && compare.Results(old.Rows, fresh.Rows).Any():
			counted.AddRows(s, old.Rows.First(shownRows), fresh.Rows.First(shownRows))
		}
	}
	counted.AddNote("difference whose rows could not be read afterwards", unread)
	return nil
}

// retestConfig says who is tested, and keeps its status beside the replay's: what it stops is there before it stops.
func (f *replayFlags) retestConfig(cfg run.Config, control [2]session.Server) (retest.Config, run.Checkpoint) {
	kept := run.File(f.state + ".retest")
	return retest.Config{
		Old: retest.Side{Name: cfg.Reference.Name, Control: control[0].Config, Query: cfg.Reference.Config},
		New: retest.Side{Name: cfg.Target.Name, Control: control[1].Config, Query: cfg.Target.Config},
		Save: func(ctx context.Context, status any, _ float64, _ string) error {
			data, err := json.Marshal(status)
			if err != nil {
				return err
			}
			return kept.Save(ctx, data)
		},
	}, kept
}

// release starts the replication that a retest of an earlier run has stopped and left, since it was killed.
func (f *replayFlags) release(ctx context.Context, cfg run.Config, control [2]session.Server) error {
	if control[0].Config == nil {
		return nil
	}
	rc, kept := f.retestConfig(cfg, control)
	status, err := kept.Load(ctx)
	if c, ok := kept.(io.Closer); ok {
		defer c.Close()
	}
	if err != nil {
		return err
	}
	return retest.Release(ctx, rc, status)
}

func (f *replayFlags) retest(cmd *cobra.Command, cfg run.Config, control [2]session.Server, counted *tally.Tally) error {
	ctx := cmd.Context()
	rc, kept := f.retestConfig(cfg, control)
	status, err := kept.Load(ctx)
	if c, ok := kept.(io.Closer); ok {
		defer c.Close()
	}
	suspects := counted.Suspects()
	if err != nil || len(suspects) == 0 {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d statements that differ are run again, on data of one position\n", len(suspects))
	done, err := retest.Run(ctx, rc, suspects, status)
	retest.Tell(counted, done)
	return err
}
