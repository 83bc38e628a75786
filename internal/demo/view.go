package demo

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// view shows progress: on a terminal a table that is drawn over itself, else one line for each change.
type view struct {
	out   io.Writer
	live  bool
	lines int
	last  map[string]string

	more func() string // a line below the clusters', which is a change, too, if it is another; nil: none
	said string        // of it, last
}

func newView(out io.Writer, live bool) *view {
	return &view{out: out, live: live}
}

func (v *view) show(s api.CampaignStatus) {
	if v.last == nil {
		v.last = map[string]string{}
		fmt.Fprintf(v.out, "  %-14s %s  ■ done, ▸ in it, · to come: %s\n", "cluster", strings.Repeat(" ", len(s.Stages)), strings.Join(s.Stages, ", "))
	}
	var lines []string
	for _, env := range s.Snapshot.Campaign.Environments {
		for _, p := range s.Snapshot.Clusters {
			if p.Ref.Env == env {
				lines = append(lines, fmt.Sprintf("  %-14s %s  %s", p.Ref, bar(p, s.Stages), now(p, s)))
			}
		}
	}
	if v.more != nil && v.live {
		lines = append(lines, "  "+v.more())
	}
	if !v.live {
		if v.more != nil {
			if more := v.more(); more != v.said {
				v.said = more
				defer fmt.Fprintln(v.out, "  "+more)
			}
		}
		for i, p := range s.Snapshot.Clusters {
			short := p.Stage + "|" + stageOf(p)
			if v.last[p.Ref.String()] != short {
				v.last[p.Ref.String()] = short
				fmt.Fprintln(v.out, lines[indexOf(lines, p.Ref.String(), i)])
			}
		}
		return
	}
	if v.lines > 0 {
		fmt.Fprintf(v.out, "\x1b[%dA", v.lines)
	}
	for _, l := range lines {
		fmt.Fprintf(v.out, "\x1b[2K%s\n", cut(l, v.width()))
	}
	v.lines = len(lines)
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is the terminal's, read anew each time because windows are resized.
func (v *view) width() int {
	if f, ok := v.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			return w - 1 // a line as wide as the terminal would wrap in some of them
		}
	}
	return 100
}

// cut shortens a line to so many characters.
func cut(line string, width int) string {
	r := []rune(line)
	if len(r) <= width {
		return line
	}
	return string(r[:width-1]) + "…"
}

func indexOf(lines []string, ref string, or int) int {
	for i, l := range lines {
		if strings.HasPrefix(strings.TrimSpace(l), ref+" ") {
			return i
		}
	}
	return or
}

func stageOf(p campaign.Progress) string {
	if p.Action == nil {
		return ""
	}
	return p.Action.Stage + p.Action.Direction
}

// bar is a mark for each stage: done, in it, to come.
func bar(p campaign.Progress, stages []string) string {
	var b strings.Builder
	done := p.Stage != ""
	for _, stage := range stages {
		switch {
		case p.Action != nil && p.Action.Stage == stage:
			b.WriteString("▸")
		case done:
			b.WriteString("■")
		default:
			b.WriteString("·")
		}
		if stage == p.Stage {
			done = false
		}
	}
	return b.String()
}

func now(p campaign.Progress, s api.CampaignStatus) string {
	if p.Action != nil {
		text := p.Action.Stage
		if p.Action.Direction == "back" {
			text += " (back)"
		}
		if p.Action.Message != "" {
			text += ": " + strings.ReplaceAll(p.Action.Message, "\n", " ")
		}
		return text
	}
	for _, d := range s.Decisions {
		if d.Ref != p.Ref {
			continue
		}
		switch {
		case d.Arrived:
			if p.Version == "" {
				return "arrived, runs " + s.Snapshot.Campaign.To
			}
			return "arrived, runs " + fleet.ShortVersion(p.Version)
		case d.Hold != nil && len(d.Hold.Reasons) > 0:
			return "held: " + d.Hold.Reasons[0].Message
		case d.Start != "":
			return "next: " + d.Start
		}
	}
	return ""
}
