package importer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/capture/store"
)

// read gives what a bucket has, each segment by itself.
func read(t *testing.T, b *store.Bucket, key *capture.Key) (events []capture.Event, dropped map[string]uint64) {
	t.Helper()
	ctx := context.Background()
	all, err := b.Segments(ctx, store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range all {
		if s.Index != uint64(i+1) {
			t.Errorf("segment %d has the number %d", i+1, s.Index)
		}
		in, err := b.Read(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		r, err := capture.NewReader(in, key)
		if err != nil {
			t.Fatal(err)
		}
		known := map[uint64]bool{}
		for {
			block, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range block.Events {
				if known[e.Conn] = known[e.Conn] || e.Kind == capture.Session; e.Kind == capture.Start && !known[e.Conn] {
					t.Errorf("segment %d can't be read alone", s.Index)
				}
			}
			events, dropped = append(events, block.Events...), block.Dropped
		}
		if r.Loss().Any() {
			t.Errorf("segment %d: %+v", s.Index, r.Loss())
		}
		in.Close()
	}
	return events, dropped
}

func TestImport(t *testing.T) {
	key, err := capture.NewKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	log := testdata(t, "mysql-9.7.log")
	log = append(log, bytes.ReplaceAll(testdata(t, "mysql-9.7-extra.log"), []byte("T20:"), []byte("T22:"))...)
	open := func() *source.Reader {
		r, err := source.Open(source.SlowLog, bytes.NewReader(log), source.Options{Gateway: "orders", Run: 7, Every: SegmentTime})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var want []string
	for r := open(); ; {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		want = append(want, texts(b.Events)...)
	}
	b, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 { // the second time changes nothing
		out, err := Import(context.Background(), open(), b, key)
		if err != nil || out.Statements != int64(len(want)) || out.Segments < 2 || strings.Join(out.Sources, " ") != "slowlog-mysql slowlog-mysql-extra" || out.To.Sub(out.From).Hours() < 2 {
			t.Fatalf("%+v %v", out, err)
		}
		got, _ := read(t, b, key)
		if diff := cmp.Diff(want, texts(got)); diff != "" {
			t.Error(diff)
		}
	}
}

func TestImportTellsWhatItDropped(t *testing.T) {
	b, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	const log = `{"Method": "Execute", "Start": "2026-11-21 12:00:00.000001", "End": "2026-11-21 12:00:00.000002", "SQL": "select :a", "BindVars": "[REDACTED]"}` + "\n"
	r, err := source.Open(source.VTGateJSON, strings.NewReader(log), source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := Import(context.Background(), r, b, nil)
	if err != nil || out.Statements != 0 || out.Dropped[source.DroppedRedacted] != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if events, dropped := read(t, b, nil); len(events) != 0 || dropped[source.DroppedRedacted] != 1 {
		t.Errorf("%v %v", events, dropped)
	}
}

func testdata(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func texts(events []capture.Event) (out []string) {
	for _, e := range events {
		if e.Kind == capture.Start {
			out = append(out, string(e.Payload))
		}
	}
	return out
}
