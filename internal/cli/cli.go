// Package cli holds the verbs of the windlass command: flags, tables, --output json, hints and exit codes.
//
// A verb that changes something prints what it will do and asks, unless --yes is given; --dry-run stops after the
// printing and is the same code. Errors say what, where and what to do, on stderr; the result alone goes to stdout.
package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// Exit codes of the command.
const (
	ExitOK      = 0
	ExitError   = 1 // it did not work
	ExitUsage   = 2 // the command line or a file is wrong
	ExitFinding = 3 // it worked, and the answer is no: a hold, a finding, an illegal state

	ExitInterrupted = 130 // it was ended by a signal before it was done
)

// Streams are what the command reads and writes.
type Streams struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer
}

// Options are the flags that every verb has.
type Options struct {
	Output    string // "table" or "json"
	Server    string // base URL of the server's API
	TokenFile string // file with the operator's token
	CAFile    string // PEM file with the server's certificate authority
	Yes       bool   // don't ask
	DryRun    bool   // stop before anything changes
}

// Error is an error with an exit code and a hint at what to do.
type Error struct {
	Code int
	Err  error
	Hint string
}

// Error returns the message without the hint.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failf makes an Error with a hint.
func Failf(code int, hint, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...), Hint: hint}
}

// hinter is an error that knows what to do about it, such as the API's.
type hinter interface{ ErrorHint() string }

// Run executes the command and returns its exit code.
func Run(ctx context.Context, root *cobra.Command, s Streams) int {
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	completeVerbs(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	if interrupted(ctx, err) {
		fmt.Fprintln(s.Err, "windlass: interrupted")
		return ExitInterrupted
	}
	if msg := err.Error(); msg != "" {
		fmt.Fprintf(s.Err, "windlass: %s\n", msg)
	}
	var e *Error
	if errors.As(err, &e) {
		if e.Hint != "" {
			fmt.Fprintf(s.Err, "  hint: %s\n", e.Hint)
		}
		return e.Code
	}
	var h hinter
	if errors.As(err, &h) && h.ErrorHint() != "" {
		fmt.Fprintf(s.Err, "  hint: %s\n", h.ErrorHint())
	}
	return ExitError
}

// printer writes results as a table or as JSON.
type printer struct {
	out  io.Writer
	json bool
}

// value writes v as indented JSON, or calls text.
func (p printer) value(v any, text func(w io.Writer) error) error {
	if p.json {
		enc := json.NewEncoder(p.out)
		enc.SetIndent("", "  ")
		return enc.Encode(v)
	}
	return text(p.out)
}

// table writes rows under a header, in aligned columns.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, r := range rows {
		fmt.Fprintln(tw, strings.Join(r, "\t"))
	}
	return tw.Flush()
}

// confirm prints what will happen and asks. It refuses rather than guesses when there is nobody to ask.
func confirm(cmd *cobra.Command, o *Options, what string) (bool, error) {
	fmt.Fprintln(cmd.ErrOrStderr(), what)
	if o.DryRun {
		fmt.Fprintln(cmd.ErrOrStderr(), "Dry run: nothing was changed.")
		return false, nil
	}
	if o.Yes {
		return true, nil
	}
	if f, ok := cmd.InOrStdin().(*os.File); ok {
		if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return false, Failf(ExitUsage, "give --yes to go ahead without being asked, or --dry-run to look only", "nobody can be asked: standard input is no terminal")
		}
	}
	fmt.Fprint(cmd.ErrOrStderr(), "Go ahead? [y/N] ")
	line, err := unless(cmd.Context(), func() (string, error) { return bufio.NewReader(cmd.InOrStdin()).ReadString('\n') })
	if interrupted(cmd.Context(), err) {
		fmt.Fprintln(cmd.ErrOrStderr(), "\nNothing was changed.")
		return false, err
	}
	if err != nil && line == "" {
		return false, Failf(ExitUsage, "give --yes to go ahead without being asked", "no answer was given")
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "Nothing was changed.")
	return false, nil
}
