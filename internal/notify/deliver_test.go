package notify

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state"
)

func pauseOf(why string) campaign.Pause { return campaign.Pause{Env: "qa", Who: "mira", Why: why} }

// An outage of the receiver delays events, and loses none. While it lasts the state takes writes as ever.
func TestAnOutageLosesNothing(t *testing.T) {
	w, r := newWorld(t), receive(t)
	sink := r.webhook(t, "s")
	before, err := w.LastEvent(ctx)
	must(t, err)
	n := w.notifier(discard, "a", sink)
	run(t, n)
	w.happen(t, 2)
	r.arrives(t, w.wants(t, sink, before))

	r.answers(status(http.StatusBadGateway))
	w.happen(t, 4)
	asked := r.requests()
	eventually(t, "it is tried again", func() bool { return r.requests() > asked+3 })
	st, err := n.Status(ctx)
	must(t, err)
	if s := st[0]; s.Pending != 4*len(w.refs) || s.Trouble == nil || s.Trouble.Wrong || s.Trouble.Tries < 2 || !strings.Contains(s.Trouble.Error, "502") {
		t.Errorf("in an outage: %+v %+v", s, s.Trouble)
	}
	r.answers(nil)
	if repeats := r.arrives(t, w.wants(t, sink, before)); repeats != 0 {
		t.Errorf("%d events came twice, and nothing was lost on the way", repeats)
	}
	eventually(t, "the position is kept", func() bool {
		st, err := n.Status(ctx)
		return err == nil && st[0].Pending == 0 && st[0].Trouble == nil && !st[0].Behind && !st[0].Delivered.IsZero()
	})
}

// What happens while no server runs is sent by the next one, and what was sent before is not sent again.
func TestARestartLosesNothing(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), receive(t)
	sink := r.webhook(t, "s")
	before, err := w.LastEvent(ctx)
	must(t, err)
	stop := run(t, w.notifier(discard, "a", sink))
	w.happen(t, 2)
	r.arrives(t, w.wants(t, sink, before))
	stop()
	w.happen(t, 30) // more than one page
	run(t, w.notifier(discard, "b", sink))
	if repeats := r.arrives(t, w.wants(t, sink, before)); repeats != 0 {
		t.Errorf("%d events came twice", repeats)
	}
}

// A sink that is new tells nothing of what was before it; one that was started tells all, also if its server died before it sent.
func TestANewSinkBeginsWithTheNextEvent(t *testing.T) {
	w, r := newWorld(t), receive(t)
	w.happen(t, 1)
	sink := r.webhook(t, "s")
	must(t, w.notifier(discard, "a", sink).Start(ctx))
	before, err := w.LastEvent(ctx)
	must(t, err)
	w.happen(t, 1)
	run(t, w.notifier(discard, "b", sink))
	r.arrives(t, w.wants(t, sink, before))
}

// Of two servers one sends; when it ends, the other goes on, and nothing is doubled.
func TestOfTwoServersOneSends(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), receive(t)
	other := w
	other.Store = open(t, w.path)
	sink := r.webhook(t, "s")
	before, err := w.LastEvent(ctx)
	must(t, err)
	a, b := w.notifier(discard, "a", sink), other.notifier(discard, "b", sink)
	stops := map[*Notifier]func(){a: run(t, a), b: run(t, b)}
	for range 3 {
		eventually(t, "one leads", func() bool { return a.Leads() != b.Leads() })
		w.happen(t, 3)
		if repeats := r.arrives(t, w.wants(t, sink, before)); repeats != 0 {
			t.Fatalf("%d events came twice", repeats)
		}
		one, next := a, b
		if b.Leads() {
			one, next = b, a
		}
		stops[one]() // it gives the lead back
		w.happen(t, 3)
		eventually(t, "the other leads", next.Leads)
		if one == a {
			a = w.notifier(discard, "a", sink)
			stops[a] = run(t, a)
		} else {
			b = other.notifier(discard, "b", sink)
			stops[b] = run(t, b)
		}
	}
	if repeats := r.arrives(t, w.wants(t, sink, before)); repeats != 0 {
		t.Errorf("%d events came twice", repeats)
	}
}

// 429 is waited for as long as it says, and 503 too.
func TestRetryAfterIsKept(t *testing.T) {
	t.Parallel()
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		w, r := newWorld(t), receive(t)
		var first, again atomic.Int64
		r.answers(func(rw http.ResponseWriter, _ *http.Request, _ []byte) bool {
			if first.CompareAndSwap(0, time.Now().UnixNano()) {
				rw.Header().Set("Retry-After", "1")
				rw.WriteHeader(code)
				return false
			}
			again.CompareAndSwap(0, time.Now().UnixNano())
			return true
		})
		sink := r.webhook(t, "s")
		before, err := w.LastEvent(ctx)
		must(t, err)
		run(t, w.notifier(discard, "a", sink))
		w.happen(t, 1)
		r.arrives(t, w.wants(t, sink, before))
		if waited := time.Duration(again.Load() - first.Load()); waited < time.Second {
			t.Errorf("%d: tried again after %v, and 1 s was asked for", code, waited)
		}
	}
}

func TestRetryAfterHasBounds(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-5": 0, "30": 30 * time.Second, " 2 ": 2 * time.Second, "999999": time.Hour, "99999999999999999999": 0,
		"Sat, 21 Nov 2026 09:00:20 GMT": 20 * time.Second, "Sat, 21 Nov 2026 08:00:00 GMT": 0, "Sun, 22 Nov 2026 09:00:00 GMT": time.Hour,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// A receiver that does not answer is given up after its time. Another sink and the state don't notice.
func TestASlowReceiverBlocksNobody(t *testing.T) {
	w, slow, fine := newWorld(t), receive(t), receive(t)
	release := make(chan struct{})
	var waiting atomic.Int64
	slow.answers(func(_ http.ResponseWriter, req *http.Request, _ []byte) bool {
		waiting.Add(1)
		select {
		case <-release:
			return true
		case <-req.Context().Done():
			return false
		}
	})
	sinks := []SinkConfig{slow.webhook(t, "slow"), fine.webhook(t, "fine")}
	sinks[0].Timeout = 100 * time.Millisecond
	before, err := w.LastEvent(ctx)
	must(t, err)
	n := w.notifier(discard, "a", sinks...)
	run(t, n)
	w.happen(t, 1)
	eventually(t, "the slow one is tried again", func() bool { return waiting.Load() >= 3 })
	w.happen(t, 2)
	fine.arrives(t, w.wants(t, sinks[1], before))
	close(release)
	slow.arrives(t, w.wants(t, sinks[0], before))
}

// A server that ends does not wait for a receiver that does not answer.
func TestTheEndWaitsNotForASlowReceiver(t *testing.T) {
	w, r := newWorld(t), receive(t)
	asked := make(chan struct{}, 100)
	r.answers(func(_ http.ResponseWriter, req *http.Request, _ []byte) bool {
		asked <- struct{}{}
		<-req.Context().Done()
		return false
	})
	sink := r.webhook(t, "s")
	sink.Timeout = time.Minute
	n := w.notifier(discard, "a", sink)
	n.times.grace = 50 * time.Millisecond
	stop := run(t, n)
	w.happen(t, 1)
	<-asked
	begin := time.Now()
	stop()
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

// Redirects to elsewhere are not followed: the message would reach somebody else. On the same host, with the method kept, they are.
func TestRedirects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code int
		same bool
		ok   bool
	}{{"to another host", 307, false, false}, {"to another host, as GET", 302, false, false}, {"on the same host, as GET", 303, true, false}, {"on the same host", 308, true, true}} {
		t.Run(c.name, func(t *testing.T) {
			w, r, other := newWorld(t), receive(t), receive(t)
			to := other.URL + "/" + password
			if c.same {
				to = r.URL + "/taken/" + password
			}
			r.answers(func(rw http.ResponseWriter, req *http.Request, _ []byte) bool {
				if strings.HasPrefix(req.URL.Path, "/taken/") {
					return req.Method == http.MethodPost
				}
				rw.Header().Set("Location", to)
				rw.WriteHeader(c.code)
				return false
			})
			var log book
			sink := r.webhook(t, "s")
			before, err := w.LastEvent(ctx)
			must(t, err)
			n := w.notifier(log.log(), "a", sink)
			run(t, n)
			w.happen(t, 1)
			if c.ok {
				r.arrives(t, w.wants(t, sink, before))
				return
			}
			eventually(t, "it is called a mistake", func() bool { return log.has("configured wrongly") && log.has("redirects") })
			if other.requests() != 0 || len(r.took(t)) != 0 {
				t.Error("it was followed")
			}
			r.answers(nil) // nothing was lost
			r.arrives(t, w.wants(t, sink, before))
		})
	}
}

// A URL that is wrong is said loudly, and tried again slowly; when its file is right, all is sent, without a restart.
func TestAWrongURLIsSaidAndCanBeMended(t *testing.T) {
	w, wrong, right := newWorld(t), receive(t), receive(t)
	wrong.answers(func(rw http.ResponseWriter, req *http.Request, _ []byte) bool {
		http.Error(rw, "no_service for "+req.URL.String(), http.StatusNotFound)
		return false
	})
	var log book
	sink := wrong.webhook(t, "s")
	before, err := w.LastEvent(ctx)
	must(t, err)
	n := w.notifier(log.log(), "a", sink)
	run(t, n)
	w.happen(t, 1)
	eventually(t, "it is said", func() bool {
		st, err := n.Status(ctx)
		return err == nil && st[0].Behind && st[0].Trouble != nil && st[0].Trouble.Wrong && st[0].Pending == len(w.refs)
	})
	if !log.has("level=ERROR") || !log.has("404") || !log.has("no_service") {
		t.Error(log.String())
	}
	rewrite(t, sink.URLFile, right.URL+"/"+password)
	right.arrives(t, w.wants(t, sink, before))
	if log.has(password) {
		t.Error("the log holds the URL")
	}
}

// A message that is refused as malformed goes out in pieces before anything is called wrong.
func TestARefusedMessageGoesOutEventByEvent(t *testing.T) {
	for _, typ := range []string{TypeSlack, TypeWebhook} {
		t.Run(typ, func(t *testing.T) {
			w, r := newWorld(t), receive(t)
			r.answers(func(rw http.ResponseWriter, _ *http.Request, body []byte) bool {
				if strings.Contains(string(body), `"blocks"`) || strings.Count(string(body), `"seq"`) > 1 {
					http.Error(rw, "invalid_blocks", http.StatusBadRequest)
					return false
				}
				return true
			})
			sink := r.webhook(t, "s")
			sink.Type = typ
			before, err := w.LastEvent(ctx)
			must(t, err)
			w0 := w.notifier(discard, "a", sink)
			must(t, w0.Start(ctx))
			w.happen(t, 2)
			run(t, w0)
			for _, e := range w.all(t, before) {
				want := `"id":"` + eventID(e) + `"`
				if typ == TypeSlack {
					want = "(event " + eventID(e) + ")"
				}
				eventually(t, "event "+eventID(e), func() bool { return strings.Contains(r.texts(), want) })
			}
		})
	}
}

// Quiet events are gathered, and a loud one takes what waits with it at once.
func TestQuietEventsAreGatheredAndLoudOnesAreNot(t *testing.T) {
	w, r := newWorld(t), receive(t)
	sink := r.webhook(t, "s")
	sink.Group = time.Hour
	run(t, w.notifier(discard, "a", sink))
	before, err := w.LastEvent(ctx)
	must(t, err)
	for range 20 {
		w.pause(t, "a release")
		time.Sleep(time.Millisecond)
	}
	if r.requests() != 0 {
		t.Errorf("%d messages were sent before their time", r.requests())
	}
	must(t, w.Override(ctx, "c", campaign.Override{Rule: campaign.CodeSoak, Who: "mira", Why: "a hotfix", Expires: time.Now().Add(time.Hour)}))
	r.arrives(t, w.wants(t, sink, before))
	if r.requests() != 1 {
		t.Errorf("%d messages", r.requests())
	}
}

// The time of gathering counts from the event, also over a restart.
func TestGatheringEnds(t *testing.T) {
	w, r := newWorld(t), receive(t)
	sink := r.webhook(t, "s")
	sink.Group = 300 * time.Millisecond
	n := w.notifier(discard, "a", sink)
	must(t, n.Start(ctx))
	before, err := w.LastEvent(ctx)
	must(t, err)
	begin := time.Now()
	w.pause(t, "a release")
	run(t, n)
	r.arrives(t, w.wants(t, sink, before))
	if took := time.Since(begin); took < sink.Group {
		t.Errorf("it was sent after %v", took)
	}
}

// Filters leave out what is not wanted, and the position passes it.
func TestFiltersOverTheState(t *testing.T) {
	w, all, prod := newWorld(t), receive(t), receive(t)
	a, p := all.webhook(t, "all"), prod.webhook(t, "prod")
	p.Environments, p.Events = []string{"prod"}, Loud
	before, err := w.LastEvent(ctx)
	must(t, err)
	n := w.notifier(discard, "a", a, p)
	run(t, n)
	w.happen(t, 3)
	all.arrives(t, w.wants(t, a, before))
	prod.arrives(t, w.wants(t, p, before))
	for _, e := range prod.took(t) {
		if e.Env != "prod" || !e.Loud {
			t.Errorf("%+v", e)
		}
	}
	last, err := w.LastEvent(ctx)
	must(t, err)
	eventually(t, "positions move", func() bool {
		st, err := n.Status(ctx)
		return err == nil && st[0].Position == last && st[1].Position > before && st[1].Pending == 0
	})
}

func TestLevels(t *testing.T) {
	for kind, want := range map[string]string{
		"step-waiting": "all", "step-intent": "all", "step-undoing": "all", "action-leased": "all", "step-done": "steps", "step-undone": "steps", "action-queued": "stages", "action-completed": "stages",
		"launched": "stages", "cluster-arrived": "stages", "action-taken-over": "stages", "something-new": "stages", "action-aborted": "loud",
	} {
		for i, l := range levels {
			passes := SinkConfig{Events: l}.passes(state.Event{Kind: kind})
			first := 0
			for levels[first] != Level(want) {
				first++
			}
			if passes != (i >= first) {
				t.Errorf("%s passes %s: %v", kind, l, passes)
			}
		}
	}
	if (SinkConfig{Events: All, Campaigns: []string{"x"}}).passes(state.Event{Campaign: "c"}) || !(SinkConfig{Events: Loud, Campaigns: []string{"x"}, Environments: []string{"qa"}}).passes(state.Event{Loud: true}) {
		t.Error("campaigns")
	}
}
