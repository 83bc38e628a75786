package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/patterns"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/report"
	"github.com/windlass-db/windlass/internal/replay/writes"
)

// capturedFlags say which part of which captures.
type capturedFlags struct {
	from, since, until, key string
	gateways                []string
}

func (f *capturedFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "`URL` of the captures: file:///FOLDER, s3://BUCKET?region=…, or a folder")
	fl.StringVar(&f.since, "since", "", "`TIME` from which on captures are read, such as 2026-11-21T10:00:00Z")
	fl.StringVar(&f.until, "until", "", "`TIME` before which they are")
	fl.StringSliceVar(&f.gateways, "gateway", nil, "`NAMES` of gateways; all unless given")
	fl.StringVar(&f.key, "key-file", "", "`FILE` with the key of sealed captures, mode 0600")
}

// open gives the captures' blocks.
func (f *capturedFlags) open(ctx context.Context) (blocks func(context.Context) iter.Seq2[capture.Block, error], closeAll func() error, err error) {
	if f.from == "" {
		return nil, nil, Failf(ExitUsage, "give the URL of the captures", "--from is needed")
	}
	in := store.Range{Gateways: f.gateways}
	if in.From, err = timeFlag("since", f.since); err != nil {
		return nil, nil, err
	}
	if in.To, err = timeFlag("until", f.until); err != nil {
		return nil, nil, err
	}
	key, err := keyFlag(f.key)
	if err != nil {
		return nil, nil, err
	}
	b, err := store.Open(ctx, f.from)
	if err != nil {
		return nil, nil, Failf(ExitUsage, hintOf(err, "--from takes file:///FOLDER, s3://BUCKET?region=… or a folder"), "the captures can't be opened: %w", err)
	}
	return func(ctx context.Context) iter.Seq2[capture.Block, error] { return writes.Blocks(ctx, b, in, key) }, b.Close, nil
}

func replayWritesCommand(o *Options) *cobra.Command {
	var f capturedFlags
	var old, new, out, rules, after string
	var confirmed bool
	var measure int
	cmd := &cobra.Command{
		Use: "writes --from URL --old DSN --new DSN --report FILE", Short: "Replay captured writes on two clones of one snapshot, of both versions, and compare what they leave",
		Long: `Replays the transactions of a capture on two servers that were made for it: clones of one snapshot, one of the old version and one of the
new. Each kind of INSERT, UPDATE, DELETE and REPLACE is tried before, in transactions that are rolled back, for its time, the rows that it
reads, and its plan. Then all transactions after the snapshot's position run on both in one order, interleaved as they were. In the end every
row of every table is compared.

Both servers are written to. So each has to be no replica, to have no replicas, no other clients and read_only=0; and you say that they are
clones with --yes-these-are-clones, or mark each:
  ` + strings.ReplaceAll(writes.MarkSQL, "; ", ";\n  ") + `

The accounts need SELECT, INSERT, UPDATE, DELETE and what else the writes need, PROCESS, BINLOG MONITOR, REPLICATION MASTER ADMIN, and
SUPER or BINLOG ADMIN; on MySQL PROCESS, REPLICATION CLIENT, REPLICATION SLAVE and SESSION_VARIABLES_ADMIN. A capture of writes is one that was begun with all statements. docs/replay-writes.md tells how to make clones.

Exits 0 if the verdict is pass, 3 if it is fail, 4 if too little was seen for one, 2 if what was given is wrong, 1 if it did not work.`,
		Example: `  windlass replay writes --from 's3://captures?region=eu-1' --old env:OLD_CLONE --new env:NEW_CLONE --yes-these-are-clones --report writes.json`,
		Args:    exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if old == "" || new == "" {
				return Failf(ExitUsage, "give the clone of the old version with --old, and that of the new one with --new", "--old and --new are needed")
			}
			cfg := writes.Config{Confirmed: confirmed, After: after, Measure: measure, Progress: func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) }}
			if measure == 0 {
				cfg.Measure = -1
			}
			var err error
			if cfg.Old, err = dsnFlag("old", old); err != nil {
				return err
			}
			if cfg.New, err = dsnFlag("new", new); err != nil {
				return err
			}
			judged := &replayFlags{from: "writes of " + f.from, report: out, rules: rules}
			by, err := judged.judgedBy()
			if err != nil {
				return err
			}
			if !judged.writable() {
				return Failf(ExitUsage, "name a file in a folder that is there and may be written to", "the report can't be written to %s", out)
			}
			blocks, closeAll, err := f.open(ctx)
			if err != nil {
				return err
			}
			defer closeAll()
			cfg.Events = blocks
			if cfg.Since, err = timeFlag("since", f.since); err != nil {
				return err
			}
			res, err := writes.Run(ctx, cfg)
			if err != nil {
				return writesError(err)
			}
			rep := writes.Report(res, by, time.Now())
			rep.Title, _, _ = strings.Cut(judged.from, "?")
			return finish(cmd, o, rep, out)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&old, "old", "", "`DSN` of the clone of the old version: USER:PASSWORD@tcp(HOST:PORT)/, env:NAME or file:PATH")
	fl.StringVar(&new, "new", "", "`DSN` of the clone of the new version")
	fl.BoolVar(&confirmed, "yes-these-are-clones", false, "both servers were made to be written to by this")
	fl.StringVar(&after, "after", "", "GTID `POSITION` of the snapshot, if the clones do not say it themselves")
	fl.IntVar(&measure, "measure", writes.DefaultMeasure, "`TIMES` that each kind of write is tried before; 0: none")
	fl.StringVar(&out, "report", "", "`FILE` for the report as JSON, or as a page if it ends in .html")
	fl.StringVar(&rules, "rules", "", "`FILE` with the rules of the verdict (kind: ReplayRules)")
	return cmd
}

// finish writes a report, and ends with the verdict's code.
func finish(cmd *cobra.Command, o *Options, rep judge.Report, name string) error {
	if name != "" {
		if err := report.Save(name, rep); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if err := o.printer(cmd).value(rep, func(w io.Writer) error { return report.Text(w, rep) }); err != nil {
		return err
	}
	if code := rep.Verdict.ExitCode(); code != ExitOK {
		return &Error{Code: code, Err: errSilent}
	}
	return nil
}

// writesError gives an error of a replay of writes its hint.
func writesError(err error) error {
	switch {
	case errors.Is(err, writes.ErrNoClone):
		return Failf(ExitUsage, "nothing was written; docs/replay-writes.md tells how clones are made", "%w", err)
	case errors.Is(err, writes.ErrUnequal):
		return Failf(ExitUsage, "nothing was written; make both clones from one snapshot", "%w", err)
	case errors.Is(err, writes.ErrKept):
		return Failf(ExitError, "the clones are not equal any more: make them anew, and leave trying out with --measure 0", "%w", err)
	}
	return (&replayFlags{}).failed(err)
}

func replayPlansCommand(o *Options) *cobra.Command {
	var f capturedFlags
	var old, new string
	var most int
	cmd := &cobra.Command{
		Use: "plans --from URL --old DSN --new DSN", Short: "Explain the kinds of statements in a capture on both versions, writes too, and list whose plans differ",
		Long: `Asks a server of each version for its plan of every kind of statement in a capture: SELECT, INSERT, UPDATE, DELETE and REPLACE. Nothing else is
run. What differs is shown: access, keys, order, sorts, temporary tables, subqueries, and estimates by powers of ten; costs are not compared.

Plans depend on the data: take two replicas of one cluster. A read-only MariaDB explains writes for an account with READ_ONLY ADMIN
alone, a MySQL with super_read_only for none. Give it one of its own, which may not EXECUTE:
  GRANT SELECT, INSERT, UPDATE, DELETE, READ_ONLY ADMIN ON *.* TO explain

Exits 0 if no plan is worse, 3 if one is or a statement is refused, 2 if what was given is wrong, 1 if it did not work.`,
		Example: `  windlass replay plans --from file:///var/spool/windlass --old env:OLD_EXPLAIN --new env:NEW_EXPLAIN`,
		Args:    exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if old == "" || new == "" {
				return Failf(ExitUsage, "give a server of the old version with --old, and one of the new version with --new", "--old and --new are needed")
			}
			var p [2]*probe.Session
			for i, dsn := range [2]struct{ flag, text string }{{"old", old}, {"new", new}} {
				server, err := dsnFlag(dsn.flag, dsn.text)
				if err != nil {
					return err
				}
				if p[i], err = probe.Open(ctx, server); err != nil {
					return (&replayFlags{}).failed(err)
				}
				defer p[i].Close()
			}
			blocks, closeAll, err := f.open(ctx)
			if err != nil {
				return err
			}
			defer closeAll()
			kinds, err := plans.Collect(ctx, blocks, most)
			if err != nil {
				return (&replayFlags{}).failed(err)
			}
			found, refused, err := plans.All(ctx, p[0], p[1], kinds)
			if err != nil {
				return err
			}
			result := struct {
				Asked    int             `json:"asked"`
				Refused  int             `json:"refused"`
				Findings []plans.Finding `json:"findings"`
			}{len(kinds), refused, append([]plans.Finding{}, found...)}
			if err := o.printer(cmd).value(result, func(w io.Writer) error { return plans.Write(w, found, len(kinds), refused) }); err != nil {
				return err
			}
			for _, one := range found {
				if one.Worse {
					return &Error{Code: ExitFinding, Err: errSilent}
				}
			}
			return nil
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&old, "old", "", "`DSN` of a server of the old version: USER:PASSWORD@tcp(HOST:PORT)/, env:NAME or file:PATH")
	fl.StringVar(&new, "new", "", "`DSN` of a server of the new version")
	fl.IntVar(&most, "most", 1000, "kinds of statements at the most, the most frequent ones")
	return cmd
}

func replayPatternsCommand(o *Options) *cobra.Command {
	var f capturedFlags
	var r patterns.Rules
	cmd := &cobra.Command{
		Use: "patterns --from URL", Short: "List what captured clients do that a new version or a switch bears badly",
		Long: `Looks through captures for what has hurt others at an upgrade: results that are read slowly inside a transaction, which a new version may
freeze; transactions that stay open idle; locks, temporary tables and local files; several statements in one text; clients of an age. Each is
listed with how often, who, why it matters and what to do. No server is asked.

Exits 0 if nothing is found, 3 if something is, 2 if what was given is wrong, 1 if it did not work.`,
		Example: `  windlass replay patterns --from file:///var/spool/windlass --streaming 500ms`,
		Args:    exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			blocks, closeAll, err := f.open(cmd.Context())
			if err != nil {
				return err
			}
			defer closeAll()
			found, err := patterns.Find(cmd.Context(), blocks, r)
			if err != nil {
				return (&replayFlags{}).failed(err)
			}
			if err := o.printer(cmd).value(found, func(w io.Writer) error { return patterns.Text(w, found) }); err != nil {
				return err
			}
			if len(found) > 0 {
				return &Error{Code: ExitFinding, Err: errSilent}
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().DurationVar(&r.Streaming, "streaming", time.Second, "from the first to the last byte of an answer, inside a transaction")
	cmd.Flags().DurationVar(&r.Idle, "idle", 10*time.Second, "between two statements of an open transaction")
	return cmd
}
