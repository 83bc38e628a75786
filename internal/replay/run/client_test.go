package run

import (
	"context"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// reads is a reader that hands its jobs to a list, and sends nothing.
func reads(t *testing.T) (*reader, *stream, *[]*job) {
	t.Helper()
	r := &replay{Config: Config{Memory: 1 << 20}, ledger: newLedger(nil, "", Share{}), budget: semaphore.NewWeighted(1 << 20)}
	var sent []*job
	r.dispatch = func(_ context.Context, _ *worker, j *job) error {
		sent = append(sent, j)
		return nil
	}
	p := r.ledger.begin(store.Segment{Gateway: "g", Run: 1, Index: 1})
	s := &stream{clients: map[uint64]*client{}, open: map[uint64]*job{}, part: p}
	return newReader(r), s, &sent
}

// tell gives a reader one event.
func tell(t *testing.T, rd *reader, s *stream, e capture.Event) {
	t.Helper()
	if e.Kind == capture.Session || e.Kind == capture.Start {
		if c := s.clients[e.Conn]; c != nil && c.w == nil {
			c.w = &worker{r: rd.r} // it is never run
		}
	}
	if err := rd.event(t.Context(), s, &e); err != nil {
		t.Fatal(err)
	}
}

// known has a session, whose worker is never run.
func known(t *testing.T, rd *reader, s *stream) {
	t.Helper()
	s.clients[1] = &client{mine: true, w: &worker{r: rd.r}, stmts: map[uint32]*prepared{}}
	tell(t, rd, s, login(1, time.Now()))
}

// A statement that is given up is not settled by the next one of its connection.
func TestGivenUpOnce(t *testing.T) {
	rd, s, _ := reads(t)
	j := &job{part: s.part, seq: 7, at: time.Now().Add(-time.Hour), class: &session.Class{Kind: session.Read}, env: &session.Env{}}
	s.part.pending.Add(1)
	c := &client{open: j}
	s.clients[1], s.open[7] = c, j
	rd.giveUp(s, time.Now())
	rd.unanswered(s, c)
	if n := j.halves.Load(); n != 1 || s.part.tally.Replayed != 0 {
		t.Errorf("%d halves, %d replayed although the target has not answered", n, s.part.tally.Replayed)
	}
}

// What a replay knows of a connection decides what it sends of it.
func TestClient(t *testing.T) {
	rd, s, sent := reads(t)
	known(t, rd, s)
	seq := uint64(0)
	for i, c := range []struct {
		text      string
		txn, lost uint64
		kept      string // why it is not sent
	}{
		{"CREATE TEMPORARY TABLE t (a INT)", 0, 0, tally.SkipDefinition},
		{"SELECT * FROM other_t", 0, 0, ""}, // a name is a whole word
		{"SELECT * FROM T", 0, 0, tally.SkipOwnSession},
		{"DROP TEMPORARY TABLE IF EXISTS `t`", 0, 0, tally.SkipDefinition},
		{"SELECT * FROM t", 0, 0, ""},
		{"SELECT 1 FROM t", 5, 0, ""},
		{"SELECT 2 FROM t", 5, 1, tally.UnreplayableOwnWrite}, // what was lost may have written
		{"SELECT 3 FROM t", 5, 0, tally.UnreplayableOwnWrite},
		{"SELECT 4 FROM t", 6, 0, ""},
		{"DELETE FROM t", 6, 0, tally.SkipWrite},
		{"SELECT 5 FROM t", 6, 0, tally.UnreplayableOwnWrite},
		{"SELECT 6 FROM t", 0, 0, ""},
		{"SELECT 7 FROM t", 0, 3, ""},
		{"SELECT @a := 5", 0, 0, tally.SkipOwnSession},
		{"SELECT @a", 0, 0, tally.SkipOwnSession},
		{"SELECT FOUND_ROWS()", 0, 0, tally.SkipOwnSession},
		{"SELECT SQL_CALC_FOUND_ROWS * FROM t LIMIT 1", 0, 0, ""},
		{"SELECT FOUND_ROWS()", 0, 0, ""},
	} {
		before, skipped, un := len(*sent), clone(s.part.tally.Skipped), clone(s.part.tally.Unreplayable)
		seq++
		e := asked(1, time.Now(), c.text)
		e.Seq, e.Txn, e.Lost = seq, c.txn, c.lost
		tell(t, rd, s, e)
		statements := 0
		for _, j := range (*sent)[before:] {
			if j.op == opRun && j.part != nil {
				statements++
			}
		}
		why := ""
		for reason, n := range s.part.tally.Skipped {
			if n > skipped[reason] {
				why = reason
			}
		}
		for reason, n := range s.part.tally.Unreplayable {
			if n > un[reason] {
				why = reason
			}
		}
		if why != c.kept || (statements == 1) != (c.kept == "") {
			t.Errorf("%d %s: %d were sent, %q, want %q", i, c.text, statements, why, c.kept)
		}
	}
}

func clone(m map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, n := range m {
		out[k] = n
	}
	return out
}

// A connection that makes temporary tables for ever costs no more and more.
func TestTemporaryTablesAreBounded(t *testing.T) {
	c := &client{}
	for i := range 10 * mostTemporary {
		c.made(fmt.Appendf(nil, "tmp_%d", i%70))
	}
	if len(c.temps) != mostTemporary {
		t.Errorf("%d names", len(c.temps))
	}
}
