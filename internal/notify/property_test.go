package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// act is one thing that happens in a run of the property test.
type act struct {
	What    string // event, wait, kill, stop, start
	Cluster int
	Kind    string
	Loud    bool
	Wait    time.Duration
	Server  int
}

// plan is a whole run.
type plan struct {
	Acts    []act
	Answers []string // of the receiver, one for each request; then it is well
	Store   []bool   // which calls of the state fail, in their order; then it is well
	Level   Level
	Type    string
	Group   time.Duration
	Env     bool // only prod
}

// notifyWorld is a state in memory with its receiver, on a virtual clock.
type notifyWorld struct {
	mu        sync.Mutex
	cfg       SinkConfig
	events    []state.Event
	positions map[string]int64
	leader    string
	until     time.Time
	changed   chan struct{}
	fails     []bool
	answers   []string
	taken     []int64 // numbers of the events in the messages that were taken, in their order
	lossy     bool    // an answer or a write was lost, or a server was killed: repeats are allowed
	broken    []string
}

var errDown = errors.New("the state does not answer")

// memory is the world as one server sees it: a server that was killed reaches nothing any more.
type memory struct {
	*notifyWorld
	mu   sync.Mutex
	dead bool
}

func (m *memory) kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
}

// ask begins every call of the state.
func (m *memory) ask(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.dead {
		return errDown
	}
	if len(w.fails) > 0 {
		fail := w.fails[0]
		if w.fails = w.fails[1:]; fail {
			w.lossy = true // a position that can't be kept
			return errDown
		}
	}
	return nil
}

func (m *memory) Events(ctx context.Context, f state.EventFilter) ([]state.Event, error) {
	if err := m.ask(ctx); err != nil {
		return nil, err
	}
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	after := slices.Clone(w.events[f.After:])
	return after[:min(len(after), f.Limit)], nil
}

func (m *memory) Changed(ctx context.Context, seq int64) (int64, error) {
	for {
		if err := m.ask(ctx); err != nil {
			return seq, err
		}
		w := m.notifyWorld
		w.mu.Lock()
		last, ch := int64(len(w.events)), w.changed
		w.mu.Unlock()
		if last != seq {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return seq, ctx.Err()
		case <-ch:
		}
	}
}

func (m *memory) StartSink(ctx context.Context, name string) (int64, error) {
	if err := m.ask(ctx); err != nil {
		return 0, err
	}
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.positions[name]; !ok {
		w.positions[name] = int64(len(w.events))
	}
	return w.positions[name], nil
}

func (m *memory) SinkPosition(ctx context.Context, name string) (int64, error) {
	if err := m.ask(ctx); err != nil {
		return 0, err
	}
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.positions[name], nil
}

// SetSinkPosition holds every write against the invariant: nothing up to the position is missing at the receiver.
func (m *memory) SetSinkPosition(ctx context.Context, name string, seq int64) error {
	if err := m.ask(ctx); err != nil {
		return err
	}
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events[:seq] {
		if w.cfg.passes(e) && !slices.Contains(w.taken, e.Seq) {
			w.broken = append(w.broken, fmt.Sprintf("the position %d passes event %d, which was not taken", seq, e.Seq))
		}
	}
	w.positions[name] = max(w.positions[name], seq)
	return nil
}

func (m *memory) Lead(ctx context.Context, _, holder string, until time.Time) (bool, error) {
	if err := m.ask(ctx); err != nil {
		return false, err
	}
	w := m.notifyWorld
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader != holder && !w.until.Before(time.Now()) {
		return false, nil
	}
	w.leader, w.until = holder, until
	return true, nil
}

// RoundTrip is the receiver.
func (m *memory) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	dead := m.dead
	m.mu.Unlock()
	w := m.notifyWorld
	w.mu.Lock()
	how := "ok"
	if len(w.answers) > 0 {
		how, w.answers = w.answers[0], w.answers[1:]
	}
	w.mu.Unlock()
	if dead {
		return nil, errors.New("no route")
	}
	answer := func(code int) (*http.Response, error) {
		h := http.Header{}
		if code == 429 {
			h.Set("Retry-After", "7")
		}
		return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(bytes.NewReader([]byte("ok")))}, nil
	}
	switch how {
	case "ok", "lost":
		w.take(body)
		if how == "lost" {
			w.mu.Lock()
			w.lossy = true
			w.mu.Unlock()
			return nil, errors.New("connection reset")
		}
		return answer(200)
	case "slow":
		select {
		case <-r.Context().Done():
			return nil, r.Context().Err()
		case <-time.After(3 * time.Second):
		}
		w.take(body)
		return answer(204)
	case "hang":
		<-r.Context().Done()
		return nil, r.Context().Err()
	case "down":
		return nil, errors.New("connection refused")
	case "malformed":
		return answer(400)
	case "busy":
		return answer(429)
	case "gone":
		return answer(404)
	}
	return answer(500)
}

var plainNumber = []byte(`(event `)

func (w *notifyWorld) take(body []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var d Delivery
	if w.cfg.Type == TypeWebhook {
		if err := json.Unmarshal(body, &d); err != nil {
			w.broken = append(w.broken, err.Error())
		}
	} else { // the numbers of the lines, in their order
		d.Events = slackEvents(body, w.events)
	}
	if len(d.Events) == 0 {
		w.broken = append(w.broken, "a message without events: "+string(body))
	}
	for _, e := range d.Events {
		w.taken = append(w.taken, e.Seq)
	}
}

// slackEvents finds the events whose messages stand in a Slack message: each event of a plan says its number.
func slackEvents(body []byte, all []state.Event) (found []Event) {
	type at struct{ seq, where int }
	var hits []at
	for _, e := range all {
		mark := fmt.Appendf(nil, "[%d]", e.Seq)
		i := bytes.LastIndex(body, mark) // the first may be the fallback's
		if i >= 0 && (bytes.Contains(body, plainNumber) || i > bytes.Index(body, []byte(`"blocks"`))) {
			hits = append(hits, at{int(e.Seq), i})
		}
	}
	slices.SortFunc(hits, func(a, b at) int { return a.where - b.where })
	for _, h := range hits {
		found = append(found, Event{Seq: int64(h.seq)})
	}
	return found
}

// play runs a plan on a virtual clock, and answers what was wrong.
func play(t *testing.T, p plan) (wrong []string) {
	synctest.Test(t, func(*testing.T) {
		w := &notifyWorld{positions: map[string]int64{}, changed: make(chan struct{}), fails: p.Store, answers: p.Answers,
			cfg: SinkConfig{Name: "s", Type: p.Type, URLEnv: "NOTIFY_PROPERTY_URL", Events: p.Level, Group: p.Group, Timeout: 5 * time.Second}}
		if p.Env {
			w.cfg.Environments = []string{"prod"}
		}
		w.positions["s"] = 0 // the sink was started when the state began
		type server struct {
			m      *memory
			cancel context.CancelFunc
			done   chan struct{}
		}
		servers := map[int]*server{}
		started := 0
		start := func(i int) {
			if servers[i] != nil {
				return
			}
			started++
			running, cancel := context.WithCancel(context.Background())
			s := &server{&memory{notifyWorld: w}, cancel, make(chan struct{})}
			n := New(Options{Config: Config{Sinks: []SinkConfig{w.cfg}}, Store: s.m, Holder: fmt.Sprint(i, "/", started), Log: discard, Now: time.Now})
			n.sinks[0].client = &http.Client{Transport: s.m, CheckRedirect: sameHost}
			go func() {
				defer close(s.done)
				_ = n.Run(running) // never an error
			}()
			servers[i] = s
		}
		end := func(i int, kill bool) {
			s := servers[i]
			if s == nil {
				return
			}
			if kill {
				s.m.kill()
				w.mu.Lock()
				w.lossy = true
				w.mu.Unlock()
			}
			s.cancel()
			<-s.done
			delete(servers, i)
		}
		for _, a := range p.Acts {
			switch a.What {
			case "event":
				w.mu.Lock()
				seq := int64(len(w.events) + 1)
				e := state.Event{Seq: seq, At: time.Now(), Kind: a.Kind, Loud: a.Loud, Campaign: "c", Stage: "create", Step: "s", Message: fmt.Sprintf("[%d]", seq)}
				if a.Cluster > 0 {
					e.Ref = fleet.ClusterRef{Env: []string{"qa", "prod"}[a.Cluster%2], Name: fmt.Sprint("c", a.Cluster)}
				}
				w.events = append(w.events, e)
				close(w.changed)
				w.changed = make(chan struct{})
				w.mu.Unlock()
			case "wait":
				time.Sleep(a.Wait)
			case "start":
				start(a.Server)
			default:
				end(a.Server, a.What == "kill")
			}
		}
		w.mu.Lock()
		w.answers, w.fails = nil, nil
		w.mu.Unlock()
		start(9)
		time.Sleep(20 * time.Minute) // the longest pause is five, and another server may have to notice first
		for i := range 10 {
			end(i, false)
		}
		synctest.Wait()
		wrong = w.judge()
	})
	return wrong
}

// judge holds what was taken against the promise.
func (w *notifyWorld) judge() []string {
	wrong := w.broken
	seen := map[int64]bool{}
	last := map[string]int64{}
	for _, seq := range w.taken {
		e := w.events[seq-1]
		if seen[seq] {
			if !w.lossy {
				wrong = append(wrong, fmt.Sprintf("event %d came twice, and nothing was lost", seq))
			}
			continue
		}
		seen[seq] = true
		if !w.cfg.passes(e) {
			wrong = append(wrong, fmt.Sprintf("event %d was not wanted", seq))
		}
		if k := subject(e); seq < last[k] {
			wrong = append(wrong, fmt.Sprintf("%s: event %d came after %d", k, seq, last[k]))
		} else {
			last[k] = seq
		}
	}
	for _, e := range w.events {
		if w.cfg.passes(e) && !seen[e.Seq] {
			wrong = append(wrong, fmt.Sprintf("event %d is lost: %+v", e.Seq, e))
		}
	}
	return wrong
}

// Whatever receivers answer, whatever the state fails, whoever is stopped or killed: every event that passes the filter arrives at least
// once, those of a cluster in order, none that was not wanted, and none twice unless something was lost on the way.
func TestEveryEventArrives(t *testing.T) {
	t.Setenv("NOTIFY_PROPERTY_URL", "https://hooks.example/x")
	one := rapid.Custom(func(t *rapid.T) act {
		a := act{What: rapid.SampledFrom([]string{"event", "event", "event", "event", "event", "event", "event", "event", "wait", "wait", "wait", "start", "stop", "kill"}).Draw(t, "what"), Server: rapid.IntRange(0, 2).Draw(t, "server")}
		switch a.What {
		case "event":
			a.Cluster = rapid.IntRange(0, 5).Draw(t, "cluster")
			a.Kind = rapid.SampledFrom([]string{"step-done", "step-waiting", "action-queued", "way-back-open"}).Draw(t, "kind")
			a.Loud = rapid.IntRange(0, 5).Draw(t, "loud") == 0
		case "wait":
			a.Wait = rapid.SampledFrom([]time.Duration{time.Millisecond, 2 * time.Second, 16 * time.Second, time.Minute, 7 * time.Minute}).Draw(t, "wait")
		}
		return a
	})
	rapid.Check(t, func(rt *rapid.T) {
		p := plan{
			Acts:    append([]act{{What: "start"}}, rapid.SliceOfN(one, 1, 200).Draw(rt, "acts")...),
			Answers: rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "ok", "ok", "lost", "slow", "hang", "down", "malformed", "busy", "gone", "error"}), rapid.SampledFrom([]int{0, 10, 40}).Draw(rt, "trouble"), 60).Draw(rt, "answers"),
			Store:   rapid.SliceOfN(rapid.Custom(func(t *rapid.T) bool { return rapid.IntRange(0, 7).Draw(t, "fails") == 0 }), 0, 200).Draw(rt, "store"),
			Level:   rapid.SampledFrom(levels).Draw(rt, "level"),
			Type:    rapid.SampledFrom([]string{TypeSlack, TypeWebhook}).Draw(rt, "type"),
			Group:   rapid.SampledFrom([]time.Duration{0, 15 * time.Second}).Draw(rt, "group"),
			Env:     rapid.Bool().Draw(rt, "env"),
		}
		if rapid.Bool().Draw(rt, "well") { // so that "none twice" is tried too
			p.Store = nil
			p.Answers = slices.DeleteFunc(p.Answers, func(s string) bool { return s == "lost" })
			p.Acts = slices.DeleteFunc(p.Acts, func(a act) bool { return a.What == "kill" })
		}
		if wrong := play(t, p); len(wrong) > 0 {
			rt.Fatalf("%d wrong, first: %v", len(wrong), wrong[:min(3, len(wrong))])
		}
	})
}
