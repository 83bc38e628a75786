package notify

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// Slack's bounds, and ours below them: a section's text has at most 3,000 characters, a message 50 blocks; a text over 40,000
// characters is cut off. Bytes are counted, of which there are never fewer than characters.
const (
	sectionBytes  = 2900
	messageBytes  = 12000
	messageParts  = 12 // sections
	messageEvents = 150
	lineBytes     = 1000 // of one event's text
	headBytes     = 150  // of each name in it and above it
	loudAtOnce    = 5    // more subjects than that with something loud share messages
	fallbackBytes = 500
	linkBytes     = 500
)

// slackFormat makes messages as an incoming webhook takes them.
type slackFormat struct {
	sink      string
	dashboard string
}

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// escape makes a text fit for one line of Slack's markup: with these three escaped, nothing in it can be a link, a mention or a command. It
// is cut so that it has no more than so many bytes, and none of the escapes is cut in two.
func escape(s string, most int) string {
	var b strings.Builder
	for _, r := range oneLine(s, most) {
		e := slackEscapes.Replace(string(r))
		if b.Len()+len(e) > most-len("…") {
			return b.String() + "…"
		}
		b.WriteString(e)
	}
	return b.String()
}

type slackText struct {
	Type     string `json:"type"`
	Text     string `json:"text"`
	Verbatim bool   `json:"verbatim,omitempty"` // what looks like a link or a channel stays text
}

type slackBlock struct {
	Type     string      `json:"type"`
	Text     *slackText  `json:"text,omitempty"`
	Elements []slackText `json:"elements,omitempty"`
}

type slackBody struct {
	Text        string       `json:"text"` // shown where blocks are not: in notifications of the desktop
	Blocks      []slackBlock `json:"blocks,omitempty"`
	UnfurlLinks bool         `json:"unfurl_links"`
	UnfurlMedia bool         `json:"unfurl_media"`
}

// part is a section with its events.
type part struct {
	text   string
	events []state.Event
}

func (f slackFormat) messages(events []state.Event) ([]message, error) {
	loudOnes, quiet := groups(events)
	var out []message
	add := func(parts []part) error {
		m, err := f.message(parts)
		out = append(out, m)
		return err
	}
	pack := func(subjects [][]group) error {
		var parts []part
		bytes, n := 0, 0
		for _, gs := range subjects {
			for _, p := range f.parts(gs) {
				if len(parts) > 0 && (len(parts) == messageParts || bytes+len(p.text) > messageBytes || n+len(p.events) > messageEvents) {
					if err := add(parts); err != nil {
						return err
					}
					parts, bytes, n = nil, 0, 0
				}
				parts, bytes, n = append(parts, p), bytes+len(p.text), n+len(p.events)
			}
		}
		if len(parts) == 0 {
			return nil
		}
		return add(parts)
	}
	if len(loudOnes) <= loudAtOnce {
		for _, gs := range loudOnes {
			if err := pack([][]group{gs}); err != nil {
				return nil, err
			}
		}
	} else if err := pack(loudOnes); err != nil {
		return nil, err
	}
	if err := pack(quiet); err != nil {
		return nil, err
	}
	return out, nil
}

// parts makes one section of each group, or several if it is long.
func (f slackFormat) parts(gs []group) []part {
	var out []part
	for _, g := range gs {
		head := f.head(g)
		p := part{text: head}
		for _, e := range g.events {
			line := "\n" + f.line(e)
			if len(p.events) > 0 && (len(p.text)+len(line) > sectionBytes || len(p.events) == messageEvents) {
				out = append(out, p)
				p = part{text: head}
			}
			p.text += line
			p.events = append(p.events, e)
		}
		out = append(out, p)
	}
	return out
}

func (f slackFormat) head(g group) string {
	name := "*" + escape(g.subject, headBytes) + "*"
	if l := f.link(g.ref); l != "" {
		name = "*<" + l + "|" + escape(strings.ReplaceAll(g.subject, "|", "/"), headBytes) + ">*"
	}
	if g.stage != "" {
		name += " · " + escape(g.stage, headBytes)
	}
	if g.campaign != "" && !strings.HasPrefix(g.subject, "campaign ") {
		name += " · campaign " + escape(g.campaign, headBytes)
	}
	return name
}

// link is the page of whom an event is about; "" if no dashboard is known.
func (f slackFormat) link(e state.Event) string {
	l := pageOf(f.dashboard, e)
	if len(l) > linkBytes || strings.ContainsAny(l, "<>|") {
		return ""
	}
	return slackEscapes.Replace(l)
}

func pageOf(dashboard string, e state.Event) string {
	base := strings.TrimSuffix(dashboard, "/")
	switch {
	case base == "":
		return ""
	case e.Ref.Env != "" && e.Ref.Name != "":
		return base + "/clusters/" + url.PathEscape(e.Ref.Env) + "/" + url.PathEscape(e.Ref.Name)
	case e.Campaign != "":
		return base + "/campaigns/" + url.PathEscape(e.Campaign)
	}
	return base + "/events"
}

// line says one event. Slack shows the time in its reader's zone.
func (f slackFormat) line(e state.Event) string {
	mark := ""
	if loud(e) {
		mark = ":rotating_light: "
	}
	said := escape(words(e), headBytes)
	if said != "" && loud(e) {
		said = "*" + said + "*"
	}
	if m := escape(e.Message, lineBytes); m != "" {
		said += ": " + m
	}
	if e.Who != "" {
		said += " (by " + escape(e.Who, headBytes) + ")"
	}
	return fmt.Sprintf("%s<!date^%d^{time_secs}|%s> %s", mark, e.At.Unix(), e.At.UTC().Format(time.TimeOnly)+" UTC", said)
}

func (f slackFormat) message(parts []part) (message, error) {
	var m message
	for _, p := range parts {
		m.events = append(m.events, p.events...)
	}
	m.id = messageID(f.sink, m.events)
	body := slackBody{Text: f.fallback(m.events)}
	for _, p := range parts {
		body.Blocks = append(body.Blocks, slackBlock{Type: "section", Text: &slackText{Type: "mrkdwn", Text: p.text, Verbatim: true}})
	}
	body.Blocks = append(body.Blocks, slackBlock{Type: "context", Elements: []slackText{{Type: "mrkdwn", Text: numbers(m.events) + " · " + escape(m.id, headBytes), Verbatim: true}}})
	var err error
	m.body, err = json.Marshal(body)
	return m, err
}

// plain is one event as text alone.
func (f slackFormat) plain(e state.Event) (message, error) {
	m := message{events: []state.Event{e}, plain: true}
	m.id = messageID(f.sink, m.events)
	var err error
	m.body, err = json.Marshal(map[string]string{"text": f.fallback(m.events) + " (event " + eventID(e) + ")"})
	return m, err
}

// fallback is the first line that people see: the first loud event if there is one.
func (f slackFormat) fallback(events []state.Event) string {
	e, also := events[0], len(events)-1
	if i := slices.IndexFunc(events, loud); i >= 0 {
		e = events[i]
	}
	text := subject(e)
	if e.Stage != "" {
		text += " " + e.Stage
	}
	text += ": " + words(e)
	if e.Message != "" {
		text += ": " + e.Message
	}
	text = escape(text, fallbackBytes)
	if also > 0 {
		text += fmt.Sprintf(" (and %d more)", also)
	}
	if loud(e) {
		text = ":rotating_light: " + text
	}
	return text
}

// numbers lists the events of a message: "events 4, 7–9".
func numbers(events []state.Event) string {
	seqs := make([]int64, len(events))
	for i, e := range events {
		seqs[i] = e.Seq
	}
	slices.Sort(seqs)
	var b strings.Builder
	b.WriteString("events ")
	for i := 0; i < len(seqs); {
		j := i
		for j+1 < len(seqs) && seqs[j+1] == seqs[j]+1 {
			j++
		}
		if i > 0 {
			b.WriteString(", ")
		}
		if fmt.Fprint(&b, seqs[i]); j > i {
			fmt.Fprintf(&b, "–%d", seqs[j])
		}
		i = j + 1
	}
	return b.String()
}
