package run

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/capture/store/name"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// written is a spool with these files of events, which need no numbers but those of Ends: how many events after its Start one comes.
func written(t *testing.T, files ...[]capture.Event) *store.Bucket {
	t.Helper()
	dir := t.TempDir()
	w, err := capture.NewWriter(capture.Meta{Gateway: "gw", Run: 1, Server: "mariadb", Version: "10.11"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for i, events := range files {
		path := filepath.Join(dir, name.File{Gateway: "gw", Run: 1, Index: uint64(i + 1), Began: events[0].At}.Spool())
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(path)
		if err == nil {
			err = w.Begin(f)
		}
		for _, e := range events {
			seq++
			e.Seq = seq
			if e.Kind == capture.End {
				e.Of = seq - e.Of
			}
			if err == nil {
				err = w.Add(&e)
			}
		}
		if err == nil {
			err = w.Flush()
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func asked(conn uint64, at time.Time, text string) capture.Event {
	return capture.Event{Kind: capture.Start, Conn: conn, At: at, Command: byte(wire.ComQuery), Payload: []byte(text)}
}

func answered(conn uint64, at time.Time, after uint64) capture.Event {
	return capture.Event{Kind: capture.End, Conn: conn, At: at, Of: after, Took: time.Millisecond, Rows: 1}
}

func login(conn uint64, at time.Time) capture.Event {
	return capture.Event{Kind: capture.Session, Conn: conn, At: at, User: "app", Schema: "app", Charset: 45}
}

// ends: a replay that is ended while connections close ends, whatever waits to be handed over.
func ends(t *testing.T, w *world) {
	at := time.Now().Add(-time.Hour)
	var events []capture.Event
	for i := range uint64(3000) {
		at = at.Add(10 * time.Microsecond)
		events = append(events, login(i+1, at), asked(i+1, at, "SELECT 1"), answered(i+1, at, 1), capture.Event{Kind: capture.Close, Conn: i + 1, At: at})
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		got, err := Run(ctx, Config{Source: Bucket(written(t, events), Range{}), Target: server(w.new), Speed: 1, started: func() { time.AfterFunc(100*time.Millisecond, cancel) }})
		if got.Unaccounted() != 0 {
			t.Errorf("%d are unaccounted for", got.Unaccounted())
		}
		ended <- err
	}()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it does not end")
	}
}

// pause: what is overdue since a pause waits for its turn, and is not thrown away.
func pause(t *testing.T, w *world) {
	at := time.Now().Add(-time.Hour)
	var events []capture.Event
	for i := range uint64(20) {
		events = append(events, login(i+1, at))
	}
	for i := range 400 {
		at = at.Add(time.Millisecond)
		conn := uint64(i%20 + 1)
		events = append(events, asked(conn, at, "SELECT COUNT(*) FROM t"), answered(conn, at, 1))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := Run(ctx, Config{Source: Bucket(written(t, events), Range{}), Target: server(w.new), Speed: 1, Delay: time.Second, Memory: 10_000})
	if err != nil || got.Replayed != 400 {
		t.Errorf("%d of 400 were replayed: %v %v", got.Replayed, got.Skipped, err)
	}
}

// forever is a source that gives what there is, and then waits for more.
type forever struct {
	Source
	given bool
}

func (f *forever) Next(ctx context.Context) ([]store.Segment, bool, error) {
	if f.given {
		return nil, false, nil
	}
	f.given = true
	segments, _, err := f.Source.Next(ctx)
	return segments, false, err
}

// kept is a checkpoint in memory.
type kept struct{ b []byte }

func (k *kept) Load(context.Context) ([]byte, error)   { return k.b, nil }
func (k *kept) Save(_ context.Context, b []byte) error { k.b = b; return nil }

// openForHours: a statement whose answer does not come for hours does not keep what came after it from being done.
func openForHours(t *testing.T, w *world) {
	at := time.Now().Add(-time.Hour)
	later := at.Add(11 * time.Minute)
	files := [][]capture.Event{
		{login(1, at), asked(1, at, "SELECT 'long'"), login(2, at), asked(2, at, "SELECT 2"), answered(2, at, 1)},
		{login(2, later), asked(2, later, "SELECT 2"), answered(2, later, 1)},
		{login(2, later), asked(2, later, "SELECT 2"), answered(2, later, 1)},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	state := &kept{}
	got, err := Run(ctx, Config{Source: &forever{Source: Bucket(written(t, files...), Range{})}, Target: server(w.new), Checkpoint: state, every: 10 * time.Millisecond, Progress: func(p Progress) {
		if p.Replayed == 4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || got.Replayed != 4 || got.Notes["statement that took more than ten minutes"] != 1 {
		t.Errorf("%d were replayed, with %v: %v", got.Replayed, got.Notes, err)
	}
	var f file
	if err := json.Unmarshal(state.b, &f); err != nil || len(f.Runs) != 1 || f.Runs[0].Low != 3 {
		t.Errorf("%v %+v", err, f.Runs)
	}
}

// watched: quiet time under a capture that is on counts, and no time does in which it was away, or of which a file is missing; and a gateway that was killed is told.
func watched(t *testing.T, w *world) {
	dir := t.TempDir()
	from := time.Now().Add(-24 * time.Hour).Truncate(time.Hour)
	at := func(m int) time.Time { return from.Add(time.Duration(m) * time.Minute) }
	segments := func(run uint64, ended bool, minutes ...int) { // a file for each
		out, err := capture.NewWriter(capture.Meta{Gateway: "gw", Run: run, Server: "mariadb", Version: "10.11"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(0)
		for i, m := range minutes[1:] {
			path := filepath.Join(dir, name.File{Gateway: "gw", Run: run, Index: uint64(i + 1), Began: at(minutes[i])}.Spool())
			err := os.MkdirAll(filepath.Dir(path), 0o700)
			var f *os.File
			if err == nil {
				f, err = os.Create(path)
			}
			if err == nil {
				err = out.Begin(f)
			}
			out.On(at(minutes[i]), 20*time.Minute)
			for _, e := range []capture.Event{login(1, at(minutes[i])), asked(1, at(minutes[i]), "SELECT 1"), {Kind: capture.End, Conn: 1, At: at(minutes[i]), Of: 2, Took: time.Millisecond, Rows: 1}} {
				seq++
				e.Seq = seq
				if err == nil && i == 0 { // all others are quiet
					err = out.Add(&e)
				}
			}
			out.On(at(m), 20*time.Minute)
			switch {
			case err != nil:
			case ended && i == len(minutes)-2:
				err = out.End()
			default:
				err = out.Beat()
			}
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	segments(1, false, 0, 15, 30, 45)     // killed
	segments(2, true, 120, 135, 150, 165) // of which a file will be lost
	lost, err := filepath.Glob(filepath.Join(dir, "gw", "*2", "*2-*"))
	if err != nil || len(lost) != 1 {
		t.Fatal(lost, err)
	}
	if err := os.Remove(lost[0]); err != nil {
		t.Fatal(err)
	}
	b, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	got := func(change func(*Config)) *tally.Tally {
		cfg := Config{Source: Bucket(b, Range{}), Target: server(w.new)}
		if change != nil {
			change(&cfg)
		}
		got, err := Run(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	all := got(nil)
	if all.Span() != 75*time.Minute || all.Whole() != 165*time.Minute {
		t.Errorf("it was on for %s of %s", all.Span(), all.Whole())
	}
	u := all.Unended()
	if len(u) != 1 || !u[0].Until.Equal(at(45)) || u[0].Hold != 20*time.Minute || !all.Next(u[0]).Equal(at(120)) {
		t.Errorf("%+v", all.Runs)
	}
	rep := judge.Judge(all, judge.Once(), time.Now())
	if len(rep.Unended) != 1 || rep.Unended[0].UpTo != 20*time.Minute || rep.Coverage.Span != 75*time.Minute {
		t.Errorf("%+v %+v", rep.Unended, rep.Coverage)
	}
	rules := judge.Once()
	rules.MinTime = 76 * time.Minute
	if rep := judge.Judge(all, rules, time.Now()); !slices.ContainsFunc(rep.Why, func(r judge.Reason) bool { return r.Code == judge.WhyTime }) {
		t.Errorf("%+v", rep.Why)
	}
	// What is before and after the time that is asked for counts neither as covered nor as missing.
	if part := got(func(c *Config) { c.From, c.To = at(5), at(40) }); part.Span() != 35*time.Minute || len(part.Unended()) != 0 {
		t.Errorf("%s %+v", part.Span(), part.Runs)
	}
	first, second := got(func(c *Config) { c.Share = Share{0, 2} }), got(func(c *Config) { c.Share = Share{1, 2} })
	first.Merge(second)
	if first.Span() != 75*time.Minute {
		t.Errorf("two shares have seen %s", first.Span())
	}
}
