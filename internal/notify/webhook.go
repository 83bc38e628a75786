package notify

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// Bounds of one request of a webhook. One event alone may be longer.
const (
	webhookEvents = 100
	webhookBytes  = 256 << 10
)

// webhookFormat makes the JSON that docs/notifications.md describes.
type webhookFormat struct {
	sink      string
	dashboard string
}

// Delivery is the body of a webhook's request. Receivers ignore keys that they don't know.
type Delivery struct {
	Version int     `json:"version"` // 1
	Sink    string  `json:"sink"`
	Events  []Event `json:"events"` // in the order in which they happened
}

// Event is one event in a Delivery.
type Event struct {
	ID       string    `json:"id"`   // the same in every repeat
	Seq      int64     `json:"seq"`  // grows from event to event
	At       time.Time `json:"at"`   // UTC
	Kind     string    `json:"kind"` // such as "step-done", "way-back-broken"
	Loud     bool      `json:"loud"` // a person is needed, or has stepped in
	Campaign string    `json:"campaign,omitempty"`
	Env      string    `json:"env,omitempty"`
	Cluster  string    `json:"cluster,omitempty"`
	Stage    string    `json:"stage,omitempty"`
	Step     string    `json:"step,omitempty"`
	Action   int64     `json:"action,omitempty"`
	Term     int64     `json:"term,omitempty"`
	Who      string    `json:"who,omitempty"`
	Message  string    `json:"message"`
	URL      string    `json:"url,omitempty"` // its page on the dashboard
}

func (f webhookFormat) event(e state.Event) Event {
	return Event{ID: eventID(e), Seq: e.Seq, At: e.At.UTC(), Kind: e.Kind, Loud: loud(e), Campaign: e.Campaign, Env: e.Ref.Env, Cluster: e.Ref.Name, Stage: e.Stage, Step: e.Step,
		Action: e.Action, Term: e.Term, Who: e.Who, Message: e.Message, URL: pageOf(f.dashboard, e)}
}

func (f webhookFormat) messages(events []state.Event) ([]message, error) {
	var out []message
	for len(events) > 0 {
		n, size := 0, 0
		for n < len(events) && n < webhookEvents {
			b, err := json.Marshal(f.event(events[n]))
			if err != nil {
				return nil, fmt.Errorf("event %d: %w", events[n].Seq, err)
			}
			if size += len(b); n > 0 && size > webhookBytes {
				break
			}
			n++
		}
		m, err := f.message(events[:n])
		if err != nil {
			return nil, err
		}
		out = append(out, m)
		events = events[n:]
	}
	return out, nil
}

func (f webhookFormat) message(events []state.Event) (message, error) {
	m := message{id: messageID(f.sink, events), events: events, plain: len(events) == 1}
	d := Delivery{Version: 1, Sink: f.sink}
	for _, e := range events {
		d.Events = append(d.Events, f.event(e))
	}
	var err error
	m.body, err = json.Marshal(d)
	return m, err
}

func (f webhookFormat) plain(e state.Event) (message, error) { return f.message([]state.Event{e}) }
