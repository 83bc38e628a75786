package notify

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/state"
)

// childState is set in this test's program run again as a server's process that sends, until it is killed.
const childState, childURL = "WINDLASS_TEST_NOTIFY_STATE", "WINDLASS_TEST_NOTIFY_URL_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(childState); path != "" {
		if err := child(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(path string) error {
	s, err := state.Open(ctx, path, state.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	t := quick
	t.lead = 400 * time.Millisecond // so that the next one need not wait long
	t.readEvents = 7
	sink := SinkConfig{Name: "s", Type: TypeWebhook, URLFile: os.Getenv(childURL), Events: All, Timeout: 5 * time.Second}
	return newNotifier(Options{Config: Config{Sinks: []SinkConfig{sink}}, Store: s, Holder: fmt.Sprint(os.Getpid()), Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), Now: time.Now}, t).Run(ctx)
}

// A server that is killed in the middle of a request, before or after the receiver took it, loses nothing. What is repeated has the same id.
func TestKilledInARequest(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), receive(t)
	sink := r.webhook(t, "s")
	must(t, w.notifier(discard, "start", sink).Start(ctx))
	before, err := w.LastEvent(ctx)
	must(t, err)
	w.happen(t, 12)
	want := w.wants(t, sink, before)
	for i := range 6 {
		c := exec.Command(os.Args[0])
		started := make(chan struct{})
		var asked atomic.Int64
		r.answers(func(_ http.ResponseWriter, req *http.Request, body []byte) bool {
			if asked.Add(1) < 2 { // one that comes through, then the kill
				return true
			}
			<-started
			if err := c.Process.Kill(); err != nil && req.Context().Err() == nil {
				t.Error(err)
			}
			<-req.Context().Done() // its end is seen
			return i%2 == 0        // taken, and the answer lost; or not
		})
		c.Env = append(os.Environ(), childState+"="+w.path, childURL+"="+sink.URLFile)
		c.Stderr = os.Stderr
		must(t, c.Start())
		close(started)
		ended := make(chan error, 1)
		go func() { ended <- c.Wait() }()
		select {
		case err := <-ended:
			if err == nil || c.ProcessState.Exited() {
				t.Fatalf("it ended by itself: %v", err)
			}
		case <-time.After(30 * time.Second):
			must(t, c.Process.Kill())
			t.Fatal("it sends nothing")
		}
	}
	r.answers(nil)
	have := len(r.took(t))
	if have == 0 || have >= len(want) {
		t.Errorf("the children were killed after %d of %d events: this shows nothing", have, len(want))
	}
	run(t, w.notifier(discard, "last", sink))
	if repeats := r.arrives(t, want); repeats == 0 {
		t.Error("no answer was lost: this shows nothing")
	}
}
