package notify

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/windlass-db/windlass/internal/state"
)

// message is one request with the events that it delivers.
type message struct {
	id     string
	events []state.Event
	body   []byte
	plain  bool // the plainest form of one event: there is none that could be taken instead
}

// format makes messages of events. It keeps the order of the events of each cluster.
type format interface {
	messages(events []state.Event) ([]message, error)
	plain(e state.Event) (message, error)
}

// eventID stays the same in every repeat, and differs from those of another state whose numbers began anew.
func eventID(e state.Event) string { return fmt.Sprintf("%d-%d", e.Seq, e.At.UnixMicro()) }

// messageID is that of a message of these events.
func messageID(sink string, events []state.Event) string {
	return fmt.Sprintf("%s-%s-%d", sink, eventID(events[0]), len(events))
}

// oneLine makes a text fit for one line: without control characters, and no longer than so many characters.
func oneLine(s string, most int) string {
	var b strings.Builder
	n := 0
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = b.Len() > 0
			continue
		}
		if space {
			b.WriteByte(' ')
			n++
			space = false
		}
		if n >= most {
			return b.String() + "…"
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// subject is what an event is about: a cluster, or a campaign, or all.
func subject(e state.Event) string {
	switch {
	case e.Ref.Name != "":
		return e.Ref.String()
	case e.Ref.Env != "":
		return "environment " + e.Ref.Env
	case e.Campaign != "":
		return "campaign " + e.Campaign
	}
	return "fleet"
}

// words says a kind of event as people do.
func words(e state.Event) string {
	if phase, ok := strings.CutPrefix(e.Kind, "step-"); ok {
		return e.Step + " " + phase
	}
	if e.Kind == "action-needs-human" {
		return "needs a person"
	}
	return strings.ReplaceAll(strings.TrimPrefix(e.Kind, "action-"), "-", " ")
}

// group is a run of events of one subject and stage.
type group struct {
	subject, stage, campaign string
	ref                      state.Event // of whom the subject's link is made
	events                   []state.Event
	loud                     bool
}

// groups puts events of one subject together, and cuts them where the stage changes. Subjects that have something loud come first, then
// all in the order of their first event. The order of the events of one subject stays.
func groups(events []state.Event) (loudOnes, quiet [][]group) {
	var order []string
	by := map[string][]state.Event{}
	for _, e := range events {
		k := subject(e)
		if by[k] == nil {
			order = append(order, k)
		}
		by[k] = append(by[k], e)
	}
	for _, k := range order {
		var gs []group
		isLoud := false
		for _, e := range by[k] {
			if n := len(gs); n == 0 || gs[n-1].stage != e.Stage || gs[n-1].campaign != e.Campaign {
				gs = append(gs, group{subject: k, stage: e.Stage, campaign: e.Campaign, ref: e})
			}
			g := &gs[len(gs)-1]
			g.events = append(g.events, e)
			g.loud = g.loud || loud(e)
			isLoud = isLoud || g.loud
		}
		if isLoud {
			loudOnes = append(loudOnes, gs)
		} else {
			quiet = append(quiet, gs)
		}
	}
	return loudOnes, quiet
}
