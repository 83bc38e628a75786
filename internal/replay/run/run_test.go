package run

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// world is two servers with the same data, of the old version and of the new one.
type world struct{ old, new *processtest.Server }

const data = `CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), made DATETIME, KEY(name))`

func newWorld(t *testing.T) *world {
	w := &world{old: processtest.Primary(t, "10.11"), new: processtest.Primary(t, "11.8")}
	for _, s := range []*processtest.Server{w.old, w.new} {
		s.Exec(t, data)
		s.Exec(t, "INSERT INTO app.t SELECT seq, CONCAT('name ', seq % 100), seq / 7, FROM_UNIXTIME(1700000000 + seq) FROM app.seq_1_to_2000")
		s.Exec(t, "CREATE USER replay@'%' IDENTIFIED BY 'replay-secret'")
		s.Exec(t, "GRANT SELECT, EXECUTE, SHOW VIEW ON *.* TO replay@'%'")
		s.Exec(t, "SET GLOBAL log_bin_trust_function_creators=1")
		s.Exec(t, "CREATE FUNCTION app.writes() RETURNS INT MODIFIES SQL DATA BEGIN INSERT INTO app.t VALUES (1000000, 'written', 0, NULL); RETURN 1; END")
	}
	return w
}

func server(s *processtest.Server) session.Server {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd = "tcp", s.Address(), "replay", "replay-secret"
	return session.Server{Name: s.Name, Config: c}
}

// record begins a capture of what is done on the old server.
func (w *world) record(t *testing.T) *replaytest.Recorder {
	return replaytest.New(t, t.TempDir(), w.old.Address(), processtest.AppUser, processtest.AppPassword)
}

func (w *world) replay(t *testing.T, r *replaytest.Recorder, change func(*Config)) *tally.Tally {
	t.Helper()
	r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	b, err := store.Open(ctx, r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	old := server(w.old)
	cfg := Config{Source: Bucket(b, Range{}), Target: server(w.new), Reference: &old}
	if change != nil {
		change(&cfg)
	}
	got, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Unaccounted(); n != 0 {
		t.Errorf("%d statements are unaccounted for", n)
	}
	return got
}

func TestReplay(t *testing.T) {
	w := newWorld(t)
	t.Run("equal", func(t *testing.T) { equal(t, w) })
}

// equal: what gives the same on both versions is no difference.
func equal(t *testing.T, w *world) {
	r := w.record(t)
	s := r.Session("app")
	for i := range 50 {
		s.Query(fmt.Sprintf("SELECT * FROM t WHERE id = %d", i))
		s.Query(fmt.Sprintf("SELECT name, SUM(amount) FROM t WHERE id < %d GROUP BY name ORDER BY name", i*10))
	}
	p := s.Prepare("SELECT * FROM t WHERE id = ? OR name = ?")
	s.Execute(p, false, 5, "name 7")
	s.Execute(p, true, 6, "name 8")
	s.Close()
	got := w.replay(t, r, nil)
	if got.Captured != r.Counted || got.Replayed != r.Counted {
		t.Errorf("captured %d, replayed %d of %d: %v %v", got.Captured, got.Replayed, r.Counted, got.Skipped, got.Unreplayable)
	}
	for fp, q := range got.Queries {
		if q.Same != q.Replayed {
			t.Errorf("%s %s: %d of %d are the same: %v", fp, q.Text, q.Same, q.Replayed, q.Causes)
		}
	}
}
