package run

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// cadence gives a capture in which statements come evenly over a time.
func cadence(t *testing.T, w *world, clients int, lasts time.Duration) *replaytest.Recorder {
	r := w.record(t)
	var all []*replaytest.Session
	for range clients {
		all = append(all, r.Session("app"))
	}
	for began, i := time.Now(), 0; time.Since(began) < lasts; i++ {
		all[i%clients].Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i%2000))
		time.Sleep(2 * time.Millisecond) // that is what is recorded
	}
	for _, s := range all {
		s.Close()
	}
	return r
}

// tooLong: a statement that takes far longer than it did is ended on the server, and found.
func tooLong(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	s.Query("SELECT 1")
	s.Query("SELECT COUNT(*), 'locked' FROM t")
	s.Query("SELECT 2")
	s.Close()
	c, err := w.new.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, q := range []string{"FLUSH TABLES", "LOCK TABLES app.t WRITE"} {
		if _, err := c.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	got := w.replay(t, r, func(c *Config) { c.Floor = 300 * time.Millisecond })
	if _, err := c.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	q := counted(t, got, "count(*)")
	if d := q.Differences[compare.Timeout]; d == nil {
		t.Errorf("the one that waited: %+v", q)
	}
	if got.Captured != 3 {
		t.Errorf("captured %d", got.Captured)
	}
}

// longBesideBurst: one that takes long holds nobody up but its own connection.
func longBesideBurst(t *testing.T, w *world) {
	r := w.record(t)
	for _, s := range []*processtest.Server{w.old, w.new} {
		s.Exec(t, "CREATE TABLE IF NOT EXISTS app.held (id INT PRIMARY KEY)")
	}
	long, burst := r.Session("app"), r.Session("app")
	long.Query("SELECT COUNT(*) FROM held")
	for i := range 300 {
		burst.Query(fmt.Sprintf("SELECT name FROM t WHERE id = %d", i))
	}
	long.Query("SELECT COUNT(*) FROM held")
	long.Close()
	burst.Close()
	c, err := w.new.Admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(t.Context(), "LOCK TABLES app.held WRITE"); err != nil {
		t.Fatal(err)
	}
	waited := false
	got := w.replay(t, r, func(cfg *Config) {
		cfg.Speed = 1
		cfg.Progress = func(p Progress) {
			if p.Replayed < 300 || waited {
				return
			}
			waited = true // all others are done, and it is not
			if _, err := c.ExecContext(context.Background(), "UNLOCK TABLES"); err != nil {
				t.Error(err)
			}
		}
	})
	if got.Replayed != 302 || !waited {
		t.Errorf("%d were replayed: %v %v", got.Replayed, got.Skipped, got.Unreplayable)
	}
	if l := &got.Lateness; l.Server.Count() == 0 {
		t.Errorf("the one behind it is late because of the server: %d", l.Server.Count())
	}
	noFindings(t, got)
}

// behind: what the server can't have yet is counted, not compared.
func behind(t *testing.T, w *world) {
	r := cadence(t, w, 1, 50*time.Millisecond)
	got := w.replay(t, r, func(c *Config) { c.Speed, c.lag = 1, time.Hour })
	if got.Replayed != 0 || got.Skipped[tally.SkipTargetBehind] != r.Counted {
		t.Errorf("%d replayed: %v", got.Replayed, got.Skipped)
	}
}

// times: statements that are the same are timed on both servers, and on the old one against itself.
func times(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for i := range 60 {
		s.Query(fmt.Sprintf("SELECT name, SUM(amount) FROM t WHERE id < %d GROUP BY name ORDER BY name", 100+i))
	}
	s.Close()
	got := w.replay(t, r, func(c *Config) { c.Pairs = true })
	q := counted(t, got, "sum(amount)")
	if len(q.Pairs.Items) < 5 || len(q.Null.Items) == 0 {
		t.Errorf("%d pairs, %d of the old one against itself", len(q.Pairs.Items), len(q.Null.Items))
	}
	for _, p := range q.Pairs.Items {
		if p.Value.A <= 0 || p.Value.B <= 0 {
			t.Errorf("%+v", p.Value)
		}
	}
}

// lag: how far behind a server is, and whether that is known.
func lag(t *testing.T, w *world) {
	c, err := session.Open(t.Context(), server(w.new), &session.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	is := func(what string, want bool) {
		t.Helper()
		processtest.Until(t, 20*time.Second, what, func() bool {
			lag, known, err := c.Behind(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return known == want && lag < time.Minute
		})
	}
	is("a server without a source is not behind", true)
	w.new.Exec(t, "RESET MASTER") // what other cases wrote here may be more than the source has
	w.new.Follow(t, w.old)
	is("a replica is not", true)
	w.new.Exec(t, "STOP SLAVE SQL_THREAD")
	is("of one that stands still it is not known", false)
	w.new.Exec(t, "STOP SLAVE")
	w.new.Exec(t, "RESET SLAVE ALL")
}
