package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/report"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/secret"
	"github.com/windlass-db/windlass/internal/wire"
)

// ExitInsufficient says that a replay has seen too little for a verdict.
const ExitInsufficient = 4

// replayFlags are those of windlass replay.
type replayFlags struct {
	from, target, reference   string
	speed                     string
	follow                    bool
	delay                     time.Duration
	since, until              string
	gateways                  []string
	share                     string
	state, report, rules, key string
	connections               int
	times                     bool

	afterFlags
}

func replayCommand(o *Options) *cobra.Command {
	f := &replayFlags{}
	cmd := &cobra.Command{
		Use: "replay --from URL --target DSN [--reference DSN] --report FILE", Short: "Replay captured queries on a server of the new version, and judge whether it answers as the old one",
		Long: `Replays what gateways captured on a server of the new version, statement by statement, on one connection for each captured one, and
compares error, rows and times with what production got. Where they differ it asks the old version's server, --reference, and both again.

Nothing but reads is sent, in read-only sessions; give both servers an account that may read alone. A data source name holds a password:
write it as env:NAME of a variable, or file:PATH of a file with mode 0600, that holds it.

--speed 1 sends each statement at the distance from the first that it had, 2 at half of it, max one after the other. --follow replays what
arrives, --delay behind. With --state a replay that was killed goes on where it was, and counts nothing twice. Of several workers
on one capture each takes its --share; 'windlass replay merge' adds them up.

Exits 0 if the verdict is pass, 3 if it is fail, 4 if too little was seen for one, 2 if what was given is wrong, 1 if it did not work.`,
		Example: `  windlass replay --from file:///var/spool/windlass --target env:NEW_DSN --reference env:OLD_DSN --speed max --report report.json
  windlass replay --from 's3://captures?region=eu-1' --target file:new.dsn --reference file:old.dsn --follow --delay 1m --state replay.state --report report.json`,
		Args: exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd, o) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", "`URL` of the captures: file:///FOLDER, s3://BUCKET?region=…, or a folder; or a server's log, as slowlog:FILE, vtgate-text:FILE or vtgate-json:FILE")
	fl.StringVar(&f.target, "target", "", "`DSN` of a server of the new version: USER:PASSWORD@tcp(HOST:PORT)/, env:NAME or file:PATH")
	fl.StringVar(&f.reference, "reference", "", "`DSN` of a server of the old version, asked where answers differ")
	fl.StringVar(&f.speed, "speed", "1", "`N` captured seconds in a second, or max")
	fl.BoolVar(&f.follow, "follow", false, "replay what arrives, until it is interrupted or --until")
	fl.DurationVar(&f.delay, "delay", time.Minute, "how much behind --follow is")
	fl.StringVar(&f.since, "since", "", "`TIME` from which on statements are replayed, such as 2026-11-21T10:00:00Z")
	fl.StringVar(&f.until, "until", "", "`TIME` before which they are")
	fl.StringSliceVar(&f.gateways, "gateway", nil, "`NAMES` of gateways; all unless given")
	fl.StringVar(&f.share, "share", "", "`I/N`: this is the I-th of N workers")
	fl.StringVar(&f.state, "state", "", "`FILE` that keeps what was counted, so that a replay that was killed goes on")
	fl.StringVar(&f.report, "report", "", "`FILE` for the report as JSON")
	fl.StringVar(&f.rules, "rules", "", "`FILE` with the rules of the verdict (kind: ReplayRules)")
	fl.StringVar(&f.key, "key-file", "", "`FILE` with the key of sealed captures, mode 0600")
	fl.IntVar(&f.connections, "connections", 1000, "connections to the target at the most")
	fl.BoolVar(&f.times, "times", true, "time a sample of the statements on both servers, if there is a --reference")
	f.afterFlags.add(cmd)
	cmd.AddCommand(replayMergeCommand(o), replayExplainCommand(o), replayWritesCommand(o), replayPlansCommand(o), replayPatternsCommand(o))
	return cmd
}

func replayMergeCommand(o *Options) *cobra.Command {
	f := &replayFlags{}
	cmd := &cobra.Command{
		Use: "merge STATE... --report FILE", Short: "Judge what several workers have counted, each its share of one capture",
		Example: "  windlass replay merge one.state two.state --report report.json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return Failf(ExitUsage, "usage: "+cmd.UseLine(), "no file of a worker's --state is named")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := f.judgedBy()
			if err != nil {
				return err
			}
			states := make([][]byte, len(args))
			for i, name := range args {
				if states[i], err = os.ReadFile(name); err != nil {
					return unreadable(err)
				}
			}
			counted, err := run.Merge(states...)
			if err != nil {
				return Failf(ExitUsage, "name the --state files of all workers, each once", "%w", err)
			}
			f.from = strings.Join(args, " ")
			return f.judge(cmd, o, counted, rules, [2]string{}, false)
		},
	}
	cmd.Flags().StringVar(&f.report, "report", "", "`FILE` for the report as JSON")
	cmd.Flags().StringVar(&f.rules, "rules", "", "`FILE` with the rules of the verdict (kind: ReplayRules)")
	return cmd
}

func (f *replayFlags) run(cmd *cobra.Command, o *Options) error {
	ctx := cmd.Context()
	cfg, closeAll, err := f.config(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeAll()
	control, err := f.control(cfg)
	if err == nil {
		err = f.release(ctx, cfg, control)
	}
	if err != nil {
		return err
	}
	rules, err := f.judgedBy()
	if err != nil {
		return err
	}
	rules.Retests = f.targetControl != "" // then what seems to differ counts when it did so on frozen data
	if !f.writable() {
		return Failf(ExitUsage, "name a file in a folder that is there and may be written to", "the report can't be written to %s", f.report)
	}
	if cfg.Speed > 0 || cfg.Delay > 0 {
		run.Threads()
	}
	line := &progressLine{to: cmd.ErrOrStderr()}
	if t, ok := line.to.(*os.File); ok {
		line.live = term.IsTerminal(int(t.Fd()))
	}
	cfg.Progress = line.show
	var versions [2]string
	if versions[0], err = session.Version(ctx, cfg.Target); err == nil && cfg.Reference != nil {
		versions[1], err = session.Version(ctx, *cfg.Reference)
	}
	if err != nil {
		return f.failed(err)
	}
	counted, err := run.Run(ctx, cfg)
	line.end()
	cut := interrupted(ctx, err)
	if counted == nil || err != nil && !cut {
		return f.failed(err)
	}
	if cut {
		counted.AddNote("interrupted: this is the report up to there", 1)
	} else if err := f.after(cmd, cfg, control, counted); err != nil {
		return f.failed(err)
	}
	return f.judge(cmd, o, counted, rules, versions, cut)
}

// judge writes the report, and ends with the verdict's code.
func (f *replayFlags) judge(cmd *cobra.Command, o *Options, counted *tally.Tally, rules judge.Rules, versions [2]string, cut bool) error {
	rep := judge.Judge(counted, rules, time.Now())
	rep.New, rep.Old = versions[0], versions[1]
	rep.Title, _, _ = strings.Cut(f.from, "?") // how a bucket is reached is no part of its name
	if f.report != "" {
		if err := report.Save(f.report, rep); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	if err := o.printer(cmd).value(rep, func(w io.Writer) error { return report.Text(w, rep) }); err != nil {
		return err
	}
	if cut {
		return &Error{Code: ExitInterrupted, Err: errSilent}
	}
	if code := rep.Verdict.ExitCode(); code != ExitOK {
		return &Error{Code: code, Err: errSilent}
	}
	return nil
}

// config makes of the flags what the replay needs.
func (f *replayFlags) config(ctx context.Context, tell io.Writer) (cfg run.Config, closeAll func(), err error) {
	closeAll = func() {}
	if f.from == "" || f.target == "" {
		return cfg, closeAll, Failf(ExitUsage, "give --from with the URL of the captures, and --target with the server of the new version", "--from and --target are needed")
	}
	if cfg.Target, err = dsnFlag("target", f.target); err != nil {
		return cfg, closeAll, err
	}
	if f.reference != "" {
		r, err := dsnFlag("reference", f.reference)
		if err != nil {
			return cfg, closeAll, err
		}
		cfg.Reference = &r
	}
	if cfg.Speed, cfg.Delay, err = f.pace(); err != nil {
		return cfg, closeAll, err
	}
	in := run.Range{Gateways: f.gateways, Follow: f.follow}
	if in.From, err = timeFlag("since", f.since); err != nil {
		return cfg, closeAll, err
	}
	if in.To, err = timeFlag("until", f.until); err != nil {
		return cfg, closeAll, err
	}
	if f.follow && in.From.IsZero() && f.state == "" {
		in.From = time.Now().Add(-f.delay) // what is older would all be late
	}
	cfg.From, cfg.To = in.From, in.To
	if cfg.Share, err = shareFlag(f.share); err != nil {
		return cfg, closeAll, err
	}
	if cfg.Key, err = keyFlag(f.key); err != nil {
		return cfg, closeAll, err
	}
	b, name, done, err := openCaptures(ctx, f.from, tell)
	if err != nil {
		return cfg, closeAll, fmt.Errorf("the captures can't be opened: %w", err)
	}
	closeAll = done
	cfg.Source, cfg.Connections, cfg.Pairs = run.Bucket(b, in), f.connections, f.times
	if f.state != "" {
		cfg.Checkpoint = run.File(f.state)
		cfg.Identity = strings.Join([]string{name, cfg.Target.Name, f.since, f.until, strings.Join(f.gateways, ",")}, " ")
	}
	return cfg, closeAll, nil
}

func (f *replayFlags) pace() (speed float64, delay time.Duration, err error) {
	switch {
	case f.follow && f.speed != "1":
		return 0, 0, Failf(ExitUsage, "leave --speed out, or --follow", "what arrives can be replayed at its own speed alone")
	case f.follow && f.delay <= 0:
		return 0, 0, Failf(ExitUsage, "write it as 1m", "--delay has to be more than nothing: gateways end a file after ten seconds, and then it has to be shipped")
	case f.follow:
		return 1, f.delay, nil
	case f.speed == "max":
		return 0, 0, nil
	}
	speed, err = strconv.ParseFloat(f.speed, 64)
	if err != nil || speed < 0.01 || speed > 1000 {
		return 0, 0, Failf(ExitUsage, "give 1, a number from 0.01 to 1000, or max", "--speed can't be %q", f.speed)
	}
	return speed, 0, nil
}

func (f *replayFlags) judgedBy() (judge.Rules, error) {
	if f.rules == "" {
		return judge.Once(), nil
	}
	objects, err := config.ReadFiles([]string{f.rules}, judge.Kind())
	if err != nil {
		return judge.Rules{}, Failf(ExitUsage, "mend the file and try again", "--rules: %w", err)
	}
	if len(objects) != 1 {
		return judge.Rules{}, Failf(ExitUsage, "write one document of kind ReplayRules", "%s has %d documents", f.rules, len(objects))
	}
	rules, ok := objects[0].Value.(judge.Rules)
	if !ok {
		return judge.Rules{}, Failf(ExitUsage, "write one document of kind ReplayRules", "%s has no rules", f.rules)
	}
	return rules, nil
}

// writable tells before a replay of days whether its report can be written.
func (f *replayFlags) writable() bool {
	if f.report == "" {
		return true
	}
	probe, err := os.CreateTemp(filepath.Dir(f.report), ".windlass-")
	if err != nil {
		return false
	}
	probe.Close()
	return os.Remove(probe.Name()) == nil
}

// failed gives an error of the replay its hint.
func (f *replayFlags) failed(err error) error {
	var refused *wire.ServerError
	switch {
	case errors.Is(err, run.ErrIdentity):
		return Failf(ExitUsage, "name another --state, or remove that one to begin anew", "%w", err)
	case errors.Is(err, capture.ErrKey):
		return Failf(ExitUsage, "give --key-file with the key that the gateway sealed with", "%w", err)
	case errors.As(err, &refused) && refused.Code == wire.ErrAccessDenied:
		return Failf(ExitUsage, "look at user and password of the data source name, and from where the account may log in", "%w", err)
	}
	return err
}

// dsnFlag reads a data source name, or where it is. Nothing of it is in an error.
func dsnFlag(flag, text string) (session.Server, error) {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if text = os.Getenv(name); text == "" {
			return session.Server{}, Failf(ExitUsage, "put the data source name into it", "--%s: the environment variable %s is empty", flag, name)
		}
	} else if path, ok := strings.CutPrefix(text, "file:"); ok {
		var err error
		if text, err = secret.ReadFile(path); err != nil {
			return session.Server{}, Failf(ExitUsage, hintOf(err, "name a file of mode 0600 that holds the data source name"), "--%s: %w", flag, err)
		}
	}
	s, err := session.ParseDSN(text)
	if err != nil {
		return s, Failf(ExitUsage, "write USER:PASSWORD@tcp(HOST:PORT)/, or env:NAME of a variable, or file:PATH of a file, that holds it", "--%s: %w", flag, err)
	}
	return s, nil
}

func keyFlag(path string) (*capture.Key, error) {
	if path == "" {
		return nil, nil
	}
	text, err := secret.ReadFile(path)
	var k *capture.Key
	if err == nil {
		k, err = capture.ParseKey(text)
	}
	if err != nil {
		return nil, Failf(ExitUsage, hintOf(err, "name the key file of the gateway"), "--key-file: %w", err)
	}
	return k, nil
}

func shareFlag(text string) (run.Share, error) {
	if text == "" {
		return run.Share{}, nil
	}
	first, second, ok := strings.Cut(text, "/")
	i, err := strconv.Atoi(first)
	n, err2 := strconv.Atoi(second)
	if !ok || err != nil || err2 != nil || i < 1 || i > n {
		return run.Share{}, Failf(ExitUsage, "write 1/3, 2/3 and 3/3 for three workers", "--share can't be %q", text)
	}
	return run.Share{I: i - 1, N: n}, nil
}

func timeFlag(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, Failf(ExitUsage, "write it as 2026-11-21T10:00:00Z", "--%s can't be %q", flag, text)
	}
	return t, nil
}

// hintOf is what an error knows to do about itself, or else that.
func hintOf(err error, other string) string {
	var h hinter
	if errors.As(err, &h) && h.ErrorHint() != "" {
		return h.ErrorHint()
	}
	return other
}

// progressLine tells how a replay goes: on a terminal in one line, else in a line now and then.
type progressLine struct {
	to   io.Writer
	live bool
	last time.Time
	any  bool
}

const lineEvery = 30 * time.Second

func (l *progressLine) show(p run.Progress) {
	if !l.live && time.Since(l.last) < lineEvery {
		if l.last.IsZero() {
			l.last = time.Now()
		}
		return
	}
	l.last, l.any = time.Now(), true
	text := fmt.Sprintf("%d replayed, %d skipped, %d unreplayable, %d differ; %d connections, %d wait", p.Replayed, p.Skipped, p.Unreplayable, p.Differences, p.Open, p.Waiting)
	if !p.At.IsZero() {
		text = p.At.Format("01-02 15:04:05") + "  " + text
	}
	if p.Away {
		text += "; the target does not answer"
	}
	if l.live {
		fmt.Fprintf(l.to, "\r\x1b[K%s", text)
		return
	}
	fmt.Fprintln(l.to, text)
}

func (l *progressLine) end() {
	if l.live && l.any {
		fmt.Fprint(l.to, "\r\x1b[K")
	}
}
