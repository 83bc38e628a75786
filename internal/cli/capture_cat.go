package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/query"
)

// catFlags are those of windlass capture cat.
type catFlags struct {
	rangeFlags
	key, like    string
	conn         uint64
	errors, text bool
	limit        int
}

func captureCatCommand(o *Options) *cobra.Command {
	f := &catFlags{}
	cmd := &cobra.Command{
		Use: "cat URL|FILE", Short: "Show captured statements and what came of them",
		Long: `Shows what a bucket, a spool or one file holds, a line for each statement, in the order in which they ended; with --output json a JSON object
for each. Those without an end come last.

Statements are shown in their normal form, in which each value is a question mark: values may be secrets of your users. --texts shows them as
they were sent. What can't be read is told on stderr. slowlog:FILE shows a server's log, as vtgate-text: and vtgate-json: do.`,
		Example: "  windlass capture cat /var/lib/windlass/capture --since 2026-11-21T10:00:00Z --until 2026-11-21T10:01:00Z\n  windlass capture cat s3://captures/prod?region=eu-central-1 --errors -o json",
		Args:    exactly(1, "a bucket's URL or a file"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, o, args[0]) },
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.key, "key-file", "", "`FILE` of the key that the gateway sealed with")
	fl.StringVar(&f.like, "like", "", "statements whose normal form fits this `EXPRESSION` alone")
	fl.Uint64Var(&f.conn, "conn", 0, "of this `CONNECTION` alone")
	fl.BoolVar(&f.errors, "errors", false, "statements that failed alone")
	fl.BoolVar(&f.text, "texts", false, "show the statements as they were sent, with their values")
	fl.IntVar(&f.limit, "limit", 0, "end after this `NUMBER` of statements; 0: none")
	return cmd
}

func (f *catFlags) run(cmd *cobra.Command, o *Options, from string) error {
	want, err := f.get()
	if err != nil {
		return err
	}
	key, err := keyFlag(f.key)
	if err != nil {
		return err
	}
	c := &catting{catFlags: f, want: want, out: cmd.OutOrStdout(), json: o.Output == "json"}
	if c.expr, err = regexp.Compile(f.like); err != nil {
		return Failf(ExitUsage, "give a regular expression, such as '^select .* from orders'", "--like: %w", err)
	}
	if info, err := os.Stat(from); err == nil && info.Mode().IsRegular() {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		if err := c.file(cmd, in, key, from); err != nil {
			return err
		}
		return c.rest()
	}
	b, _, done, err := openCaptures(cmd.Context(), from, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer done()
	all, err := b.Segments(cmd.Context(), want)
	if err != nil {
		return err
	}
	for _, s := range all {
		in, err := b.Read(cmd.Context(), s)
		if errors.Is(err, store.ErrGone) {
			fmt.Fprintln(cmd.ErrOrStderr(), "windlass:", err)
			continue
		}
		if err != nil {
			return err
		}
		err = c.file(cmd, in, key, s.Name)
		in.Close()
		if err != nil || c.over() {
			return err
		}
	}
	return c.rest()
}

// statement is a Start that waits for its End.
type statement struct {
	event capture.Event
	form  string
	print uint64
	user  string
	of    *shownRun
}

// catting shows one file after the other.
type catting struct {
	*catFlags
	want  store.Range
	expr  *regexp.Regexp
	out   io.Writer
	json  bool
	shown int
	runs  []*shownRun
}

// shownRun is a run of a gateway. Files of several go side by side.
type shownRun struct {
	gateway string
	number  uint64
	waiting map[uint64]statement // by the Seq of their Start
	users   map[uint64]string    // by connection
}

// Bounds of what is remembered of runs and of statements that have no end.
const (
	maxShownRuns = 256
	maxWaiting   = 100_000
)

func (c *catting) of(m capture.Meta) *shownRun {
	for _, r := range c.runs {
		if r.gateway == m.Gateway && r.number == m.Run {
			return r
		}
	}
	if len(c.runs) == maxShownRuns {
		c.runs = c.runs[1:]
	}
	r := &shownRun{m.Gateway, m.Run, map[uint64]statement{}, map[uint64]string{}}
	c.runs = append(c.runs, r)
	return r
}

// rest shows what has no end.
func (c *catting) rest() error {
	for _, r := range c.runs {
		for _, seq := range slices.Sorted(maps.Keys(r.waiting)) {
			if c.over() || c.errors {
				return nil
			}
			if err := c.show(r.waiting[seq], nil); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *catting) over() bool { return c.limit > 0 && c.shown >= c.limit }

func (c *catting) file(cmd *cobra.Command, in io.Reader, key *capture.Key, name string) error {
	r, err := capture.NewReader(in, key)
	if err != nil {
		return captureError(name, err)
	}
	defer r.Close()
	for !c.over() {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return captureError(name, err)
		}
		if err := c.block(b); err != nil {
			return err
		}
	}
	if l := r.Loss(); l.Any() {
		fmt.Fprintf(cmd.ErrOrStderr(), "windlass: %s: %s\n", name, lossText(l))
	}
	return nil
}

func captureError(name string, err error) error {
	if errors.Is(err, capture.ErrKey) {
		return Failf(ExitUsage, "give --key-file with the key that the gateway sealed with", "%s: %w", name, err)
	}
	return fmt.Errorf("%s: %w", name, err)
}

func lossText(l capture.Loss) string {
	var parts []string
	if l.Damaged > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes in %d places are damaged", l.Bytes, l.Damaged))
	}
	if l.Cut {
		parts = append(parts, "it ends in the middle")
	}
	if l.Events > 0 {
		parts = append(parts, fmt.Sprintf("%d events are missing", l.Events))
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%d blocks are missing", l.Blocks))
	}
	return strings.Join(parts, ", ")
}

func (c *catting) block(b capture.Block) error {
	r := c.of(b.Meta)
	var buf []byte
	for _, e := range b.Events {
		switch e.Kind {
		case capture.Session:
			r.users[e.Conn] = e.User
			if e.Schema != "" {
				r.users[e.Conn] += "@" + e.Schema
			}
		case capture.Start:
			if c.skips(e) {
				continue
			}
			s := statement{event: e, user: r.users[e.Conn], of: r}
			if hasText(e) {
				s.print, buf = query.Fingerprint(buf, e.Payload, query.Mode{})
				s.form = string(buf)
			}
			if !c.expr.MatchString(s.form) {
				continue
			}
			if !hasAnswer(e) {
				if err := c.show(s, nil); err != nil {
					return err
				}
				continue
			}
			if len(r.waiting) < maxWaiting {
				r.waiting[e.Seq] = s
			}
		case capture.End:
			s, ok := r.waiting[e.Of]
			delete(r.waiting, e.Of)
			if !ok || c.errors && e.Errno == 0 {
				continue
			}
			if err := c.show(s, &e); err != nil {
				return err
			}
		}
		if c.over() {
			return nil
		}
	}
	return nil
}

func (c *catting) skips(e capture.Event) bool {
	return c.conn != 0 && e.Conn != c.conn || !c.want.From.IsZero() && e.At.Before(c.want.From) || !c.want.To.IsZero() && !e.At.Before(c.want.To)
}

// Commands of the protocol that a capture has.
var commandNames = map[byte]string{0x02: "init-db", 0x03: "query", 0x04: "field-list", 0x16: "prepare", 0x17: "execute", 0x18: "long-data", 0x19: "close", 0x1a: "reset", 0x1b: "set-option", 0x1c: "fetch", 0x1f: "reset-connection", 0x11: "change-user", 0xfa: "bulk-execute"}

func hasText(e capture.Event) bool   { return e.Command == 0x03 || e.Command == 0x16 }
func hasAnswer(e capture.Event) bool { return e.Command != 0x18 && e.Command != 0x19 }

// shownJSON is a statement in the output of cat.
type shownJSON struct {
	At          time.Time `json:"at"`
	Gateway     string    `json:"gateway"`
	Run         string    `json:"run"`
	Seq         uint64    `json:"seq"`
	Conn        uint64    `json:"conn"`
	User        string    `json:"user"`
	Command     string    `json:"command"`
	Fingerprint string    `json:"fingerprint,omitempty"`
	Form        string    `json:"form,omitempty"`
	Text        string    `json:"text,omitempty"`
	Statement   uint32    `json:"statement,omitempty"`
	Withheld    string    `json:"withheld,omitempty"`
	Took        float64   `json:"took_us"`
	Rows        uint64    `json:"rows"`
	Affected    uint64    `json:"affected"`
	Errno       uint16    `json:"errno,omitempty"`
	Warnings    uint16    `json:"warnings,omitempty"`
	Cut         bool      `json:"unfinished,omitempty"`
}

func (c *catting) show(s statement, end *capture.Event) error {
	c.shown++
	e := s.event
	j := shownJSON{At: e.At.UTC(), Gateway: s.of.gateway, Run: fmt.Sprintf("%016x", s.of.number), Seq: e.Seq, Conn: e.Conn, User: s.user, Command: commandNames[e.Command], Form: s.form, Statement: e.Statement, Withheld: e.Withheld}
	if s.form != "" {
		j.Fingerprint = fmt.Sprintf("%016x", s.print)
	}
	if c.text {
		j.Text = string(e.Payload)
	}
	if end != nil {
		j.Took, j.Rows, j.Affected, j.Errno, j.Warnings, j.Cut = float64(end.Took.Nanoseconds())/1e3, end.Rows, end.Affected, end.Errno, end.Warnings, end.Unfinished
	}
	if c.json {
		return json.NewEncoder(c.out).Encode(j)
	}
	what := j.Form
	switch {
	case c.text && hasText(e):
		what = strings.ReplaceAll(j.Text, "\n", " ")
	case !hasText(e):
		what = strings.TrimSpace(fmt.Sprintf("(%s %d)", j.Command, e.Statement))
	}
	if e.Withheld != "" {
		what = fmt.Sprintf("(%s, withheld: %s)", j.Command, e.Withheld)
	}
	came := ""
	switch {
	case end == nil:
	case end.Unfinished:
		came = "unfinished"
	case end.Errno != 0:
		came = fmt.Sprintf("error %d", end.Errno)
	case end.Affected > 0:
		came = fmt.Sprintf("%d affected", end.Affected)
	default:
		came = fmt.Sprintf("%d rows", end.Rows)
	}
	_, err := fmt.Fprintf(c.out, "%s  %d %s  %s  %s  %s\n", j.At.Format("2006-01-02 15:04:05.000000"), e.Conn, s.user, tookText(end), came, what)
	return err
}

func tookText(end *capture.Event) string {
	if end == nil {
		return "-"
	}
	return end.Took.Round(time.Microsecond).String()
}
