package run

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/capture/store/name"
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
