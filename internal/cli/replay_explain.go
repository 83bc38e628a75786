package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/report"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// explainWithin bounds how long an example may run when it is run now.
const explainWithin = time.Minute

// lateAnswer is how long a server has to open a session, and to say that it has ended a statement.
const lateAnswer = 5 * time.Second

func replayExplainCommand(o *Options) *cobra.Command {
	var file, target, reference, page string
	cmd := &cobra.Command{
		Use: "explain [FINDING] --report FILE", Short: "Show one finding of a report: the example, what both versions answered, their plans, and how to reproduce it",
		Long: `Shows one finding of a report of windlass replay: an example, what was captured and what both versions answered, the rows that differ and the
plans as far as they are known, and the commands that run it on both versions as its session did.

FINDING is the id in the report, or the beginning of it, or a fingerprint. With --reference and --target the example is run there now, if it is a
read. --page writes the whole report as a page, and needs no FINDING.`,
		Example: `  windlass replay explain f-3fa9c1d2e5b6 --report report.json
  windlass replay explain f-3fa9c1d2e5b6 --report report.json --reference env:OLD_DSN --target env:NEW_DSN
  windlass replay explain --report report.json --page report.html`,
		Args: func(cmd *cobra.Command, args []string) error {
			if page != "" && len(args) == 0 {
				return nil
			}
			return exactly(1, "one finding")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return Failf(ExitUsage, "give --report with the file that windlass replay wrote", "--report is needed")
			}
			r, err := report.Open(file)
			if err != nil {
				hint := "name a report that windlass replay wrote"
				if errors.Is(err, fs.ErrNotExist) {
					hint = "look at the path; windlass replay --report FILE writes one"
				}
				return Failf(ExitUsage, hint, "%w", err)
			}
			if page != "" {
				if err := savePage(page, r); err != nil || len(args) == 0 {
					return err
				}
			}
			f, err := oneFinding(r, args[0])
			if err != nil {
				return err
			}
			live, err := runNow(cmd.Context(), f, reference, target)
			if err != nil {
				return err
			}
			return o.printer(cmd).value(struct {
				judge.Finding
				Live []report.Live `json:"live,omitempty"`
			}{f, live}, func(w io.Writer) error { return report.Explain(w, f, live) })
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&file, "report", "", "`FILE` with the report as JSON")
	fl.StringVar(&target, "target", "", "`DSN` of a server of the new version, to run it there now")
	fl.StringVar(&reference, "reference", "", "`DSN` of a server of the old version, to run it there now")
	fl.StringVar(&page, "page", "", "`FILE.html` for the whole report as a page")
	return cmd
}

func savePage(name string, r report.Report) error {
	if !strings.HasSuffix(name, ".html") {
		return Failf(ExitUsage, "end the name in .html", "a page can't be written to %s", name)
	}
	return report.Save(name, r)
}

// oneFinding finds the finding, or says which there are.
func oneFinding(r report.Report, name string) (judge.Finding, error) {
	found := report.Find(r, name)
	if len(found) == 1 {
		return found[0], nil
	}
	list := found
	if len(found) == 0 {
		list = r.Findings
	}
	var ids []string
	for _, f := range list[:min(len(list), 10)] {
		ids = append(ids, fmt.Sprintf("%s (%s)", f.ID, f.Kind))
	}
	hint := "the report has no findings"
	if len(ids) > 0 {
		hint = "there are " + strings.Join(ids, ", ")
	}
	if len(list) > 10 {
		hint += fmt.Sprintf(" and %d more", len(list)-10)
	}
	if len(found) > 1 {
		return judge.Finding{}, Failf(ExitUsage, hint, "%q is the beginning of %d findings", name, len(found))
	}
	return judge.Finding{}, Failf(ExitUsage, hint, "the report has no finding %q", name)
}

// runNow runs the finding's example on the servers that were given, the old version's first.
func runNow(ctx context.Context, f judge.Finding, reference, target string) ([]report.Live, error) {
	if reference == "" && target == "" {
		return nil, nil
	}
	var s tally.Statement
	for _, e := range f.Examples {
		if len(e.Statement.Text) > 0 && !e.Statement.Short {
			s = e.Statement
			break
		}
	}
	switch {
	case len(s.Text) == 0:
		return nil, Failf(ExitUsage, "leave --reference and --target out", "no whole statement of %s was kept, so it can't be run", f.ID)
	case !isRead(s):
		return nil, Failf(ExitUsage, "leave --reference and --target out, and use the commands that are shown on servers that may be changed", "the example of %s is no read, and is not run", f.ID)
	}
	var out []report.Live
	for _, at := range []struct{ flag, dsn string }{{"reference", reference}, {"target", target}} {
		if at.dsn == "" {
			continue
		}
		server, err := dsnFlag(at.flag, at.dsn)
		if err != nil {
			return nil, err
		}
		live, err := runOn(ctx, server, s, explainWithin)
		if err != nil {
			return nil, Failf(ExitError, "look at --"+at.flag+", and whether the server answers", "run it on %s: %w", server.Name, err)
		}
		out = append(out, live)
	}
	return out, nil
}

// isRead reports whether a statement is surely one (trap 38).
func isRead(s tally.Statement) bool {
	_, normal := query.Fingerprint(nil, s.Text, query.Mode{})
	return session.Classify(s.Text, normal, query.Look(s.Text, query.Mode{})).Kind == session.Read
}

// runOn runs a read in a session of its own, which ends it on the server, too, when its time is over.
func runOn(ctx context.Context, server session.Server, s tally.Statement, within time.Duration) (report.Live, error) {
	ctx, cancel := context.WithTimeout(ctx, within+lateAnswer)
	defer cancel()
	p, err := probe.Open(ctx, server)
	if err != nil {
		return report.Live{}, err
	}
	defer p.Close()
	if err := p.Exec(ctx, "SET SESSION TRANSACTION READ ONLY"); err != nil {
		return report.Live{}, err
	}
	if err := p.Limit(ctx, within, within); err != nil {
		return report.Live{}, err
	}
	if err := p.Enter(ctx, s); err != nil {
		return report.Live{}, err
	}
	r, err := p.Run(ctx, s)
	if err != nil {
		return report.Live{}, err
	}
	const most = 1000
	return report.Live{Server: server.Name, Version: p.Version, Answer: r.Answer, Rows: r.Data.First(most)}, nil
}
