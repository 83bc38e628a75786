package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

var ctx = context.Background()

// password stands in every URL: it must be nowhere else.
const password = "hunter2-hunter2-hunter2"

// quick are times for tests over real requests.
var quick = times{lead: 30 * time.Second, ask: 100 * time.Millisecond, first: 5 * time.Millisecond, most: 50 * time.Millisecond, slow: 50 * time.Millisecond, pace: time.Millisecond, poll: 10 * time.Millisecond,
	grace: time.Second, readEvents: 50, persistSkipped: 5}

// receiver is a local HTTP server that remembers what it took, and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(w http.ResponseWriter, r *http.Request, body []byte) bool // whether the message is taken; nil: 200
	asked  int
	bodies [][]byte // of messages that were taken
}

func receive(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.asked++
		answer := r.answer
		r.mu.Unlock()
		if answer == nil || answer(w, req, body) {
			r.mu.Lock()
			r.bodies = append(r.bodies, body)
			r.mu.Unlock()
			fmt.Fprint(w, "ok")
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// answers makes the receiver answer so from now on.
func (r *receiver) answers(f func(w http.ResponseWriter, r *http.Request, body []byte) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request, []byte) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		return false
	}
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// took are the events of all messages that were taken, in their order, repeats too.
func (r *receiver) took(t *testing.T) (events []Event) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bodies {
		var d Delivery
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%v: %s", err, b)
		}
		events = append(events, d.Events...)
	}
	return events
}

func (r *receiver) texts() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(bytes.Join(r.bodies, []byte("\n")))
}

// hook writes the receiver's URL, with a secret in it, into a file.
func (r *receiver) hook(t *testing.T) string {
	t.Helper()
	return write(t, "url", 0o600, r.URL+"/services/"+password+"\n")
}

// world is a state with a campaign over clusters of qa and prod.
type world struct {
	*state.Store
	path string
	refs []fleet.ClusterRef
}

func newWorld(t *testing.T) world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "state.db")
	w := world{Store: open(t, path), path: path}
	f := statetest.Fleet(3, "qa", "prod")
	w.refs = statetest.Refs(f)
	must(t, w.ApplyFleet(ctx, f, "mira"))
	must(t, w.ApplyCampaign(ctx, statetest.Campaign("c", "qa", "prod"), w.refs, "mira"))
	return w
}

func open(t *testing.T, path string) *state.Store {
	t.Helper()
	s, err := state.Open(ctx, path, state.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

// happen makes n events of each cluster: ways back that open and break in turn, of which every second is loud.
func (w world) happen(t *testing.T, n int) {
	t.Helper()
	for range n {
		for _, ref := range w.refs {
			open := true
			if snap, err := w.Snapshot(ctx, "c"); err == nil {
				for _, p := range snap.Clusters {
					if p.Ref == ref && p.WayBack != nil {
						open = !p.WayBack.Open
					}
				}
			}
			must(t, w.Observe(ctx, ref, fleet.Observation{At: time.Now(), WayBack: &fleet.WayBack{Open: open, Detail: "error 1677 on <orders> & more"}}))
		}
	}
}

// pause makes an event of the campaign that is not loud.
func (w world) pause(t *testing.T, why string) {
	t.Helper()
	must(t, w.Pause(ctx, "c", pauseOf(why)))
}

// wants are the numbers of the events behind a position that a sink should get.
func (w world) wants(t *testing.T, c SinkConfig, after int64) (ids []string) {
	t.Helper()
	for _, e := range w.all(t, after) {
		if c.passes(e) {
			ids = append(ids, eventID(e))
		}
	}
	return ids
}

func (w world) all(t *testing.T, after int64) []state.Event {
	t.Helper()
	all, err := w.Events(ctx, state.EventFilter{After: after, Limit: 100000})
	must(t, err)
	return all
}

// webhook is a sink of the receiver that wants everything at once.
func (r *receiver) webhook(t *testing.T, name string) SinkConfig {
	t.Helper()
	return SinkConfig{Name: name, Type: TypeWebhook, URLFile: r.hook(t), Events: All, Timeout: 30 * time.Second}
}

func (w world) notifier(log *slog.Logger, holder string, sinks ...SinkConfig) *Notifier {
	return newNotifier(Options{Config: Config{Sinks: sinks, Dashboard: "https://windlass.example"}, Store: w.Store, Holder: holder, Log: log, Now: time.Now}, quick)
}

// run starts a notifier; stop ends it, and waits for its end.
func run(t *testing.T, n *Notifier) (stop func()) {
	t.Helper()
	must(t, n.Start(ctx))
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- n.Run(running) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Error("Run goes on after its context has ended")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// arrives waits until every wanted event was taken, and holds it against the promise: each is there, the first arrivals of each subject are in
// order, and no event is there that is not wanted. It answers how many repeats there were.
func (r *receiver) arrives(t *testing.T, want []string) (repeats int) {
	t.Helper()
	have := func() map[string]bool {
		m := map[string]bool{}
		for _, e := range r.took(t) {
			m[e.ID] = true
		}
		return m
	}
	eventually(t, fmt.Sprintf("%d events arrive", len(want)), func() bool {
		h := have()
		return !slices.ContainsFunc(want, func(id string) bool { return !h[id] })
	})
	first := map[string]int64{}
	seen := map[string]bool{}
	for _, e := range r.took(t) {
		if seen[e.ID] {
			repeats++
			continue
		}
		seen[e.ID] = true
		key := e.Env + "/" + e.Cluster
		if e.Seq < first[key] {
			t.Errorf("%s: event %d came after %d", key, e.Seq, first[key])
		}
		first[key] = e.Seq
		if !slices.Contains(want, e.ID) {
			t.Errorf("event %s is not wanted: %+v", e.ID, e)
		}
	}
	return repeats
}

// book is a log that can be read while it is written.
type book struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *book) has(s string) bool { return strings.Contains(b.String(), s) }

func (b *book) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var discard = slog.New(slog.DiscardHandler)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
