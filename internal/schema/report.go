package schema

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteText writes the report for a person: what counts, the notes, and what each statement locks.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s → %s\n", r.Dialect, r.From.Name, r.To.Name)
	if r.Applied != "" {
		fmt.Fprintf(&b, "%s is where %s stands; what comes after it is checked\n", r.From.Name, r.Applied)
	}
	switch {
	case r.Started != "":
		fmt.Fprintf(&b, "tried on %s, started from the build %s for this check\n", r.Server, r.Started)
	case r.Server != "":
		fmt.Fprintf(&b, "tried on %s\n", r.Server)
	}
	notes := false
	for _, f := range r.Findings {
		if !f.Counts() && !notes {
			notes = true
			b.WriteString("\nnotes, which are no findings:\n")
		}
		f.write(&b)
	}
	if len(r.Steps) > 0 {
		b.WriteString("\nwhat each statement locks of the old schema's tables:\n")
		for _, s := range r.Steps {
			s.write(&b)
		}
	}
	if r.Tried > 0 || len(r.Unfit) > 0 {
		fmt.Fprintf(&b, "\n%d statements of the old version were tried after each step, of which %d could be prepared only\n", r.Tried, r.Prepared)
		if r.Skipped > 0 {
			fmt.Fprintf(&b, "%d statements of the log can't be rolled back, such as SET and COMMIT, and were not tried\n", r.Skipped)
		}
		for _, s := range r.Unfit {
			fmt.Fprintf(&b, "  %s fails on the old schema too, and proves nothing: %s\n", s.Where(), s.Short())
		}
	}
	if len(r.Contract) > 0 {
		b.WriteString("\nmarked for the contract step, which a later campaign runs when nothing old is left and the rollback window has closed:\n")
		for _, s := range r.Contract {
			fmt.Fprintf(&b, "  %s: %s\n", s.Where(), s.Short())
		}
	}
	n := 0
	for _, f := range r.Findings {
		if f.Counts() {
			n++
		}
	}
	if r.Clean {
		fmt.Fprintf(&b, "\nclean: old nodes can work on it after each of %d statements\n", len(r.Steps)-len(r.Contract))
	} else {
		fmt.Fprintf(&b, "\n%d findings\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (f Finding) write(b *strings.Builder) {
	where := ""
	if f.File != "" {
		where = fmt.Sprintf("%s:%d: ", f.File, f.Line)
	}
	fmt.Fprintf(b, "\n%s%s: %s", where, f.Rule, f.Object)
	if f.Detail != "" {
		fmt.Fprintf(b, " (%s)", f.Detail)
	}
	b.WriteString("\n")
	if f.Statement != "" {
		fmt.Fprintf(b, "  statement: %s\n", short(f.Statement))
	}
	fmt.Fprintf(b, "  why:       %s\n", f.Why)
	fmt.Fprintf(b, "  instead:   %s\n", f.Safe)
	if f.Estimate != nil {
		fmt.Fprintf(b, "  takes:     %s\n", f.Estimate)
	}
	if f.Allowed != "" {
		fmt.Fprintf(b, "  allowed:   %s\n", f.Allowed)
	}
}

func (s Step) write(b *strings.Builder) {
	where := s.Statement.Where()
	if where == "" {
		where = "planned"
	}
	fmt.Fprintf(b, "  %s: %s\n", where, s.Statement.Short())
	switch {
	case s.Unmeasured != "":
		fmt.Fprintf(b, "    not measured: %s\n", s.Unmeasured)
	case len(s.Locks) == 0:
		b.WriteString("    nothing that reads or writes would wait for\n")
	}
	for _, l := range s.Locks {
		var does []string
		switch {
		case l.BlocksReads:
			does = append(does, "blocks reads and writes")
		case l.BlocksWrites:
			does = append(does, "blocks writes")
		default:
			does = append(does, "blocks neither reads nor writes")
		}
		switch {
		case l.Rewrites:
			does = append(does, "writes the table anew")
		case l.Scans:
			does = append(does, "reads the whole table")
		default:
			does = append(does, "changes metadata only")
		}
		fmt.Fprintf(b, "    %s: %s: %s\n", l.Table, l.Mode, strings.Join(does, ", "))
	}
}

// String is the estimate for a person.
func (e *Estimate) String() string {
	size := fmt.Sprintf("%d rows, %s", e.Rows, bytesText(e.Bytes))
	if e.Seconds == 0 {
		return size + "; " + e.Basis
	}
	if e.AtLeast {
		return fmt.Sprintf("at least %s for %s; %s", secondsText(e.Seconds), size, e.Basis)
	}
	return fmt.Sprintf("%s (%s to %s) for %s; %s", secondsText(e.Seconds), secondsText(e.Low), secondsText(e.High), size, e.Basis)
}

func secondsText(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func bytesText(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
