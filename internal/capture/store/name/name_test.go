package name

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var began = time.Date(2026, 11, 21, 19, 59, 59, 999999999, time.UTC)

func TestNames(t *testing.T) {
	f := File{Gateway: "prod/orders", Run: 0x77, Index: 3, Began: began}
	for got, want := range map[string]string{
		f.Spool():   "prod%2Forders/0000000000000077/0000000003-1795291199999999999.wlcap",
		f.Growing(): "prod%2Forders/0000000000000077/0000000003-1795291199999999999.wlcap.part",
		f.Bucket():  "prod%2Forders/2026-11-21/19/1795291199999999999-0000000000000077-0000000003.wlcap",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := File{
			Gateway: rapid.StringN(1, 20, -1).Draw(t, "gateway"), Run: rapid.Uint64().Draw(t, "run"),
			Index: rapid.Uint64().Draw(t, "index"), Began: time.Unix(0, rapid.Int64Min(0).Draw(t, "began")),
		}
		for _, path := range []string{f.Spool(), f.Bucket()} {
			if got, ok := Parse(path); !ok || !got.Began.Equal(f.Began) || got.Gateway != f.Gateway || got.Run != f.Run || got.Index != f.Index {
				t.Fatalf("%s is read as %+v, %v", path, got, ok)
			}
			if !filepath.IsLocal(path) {
				t.Fatalf("%s leaves its folder", path)
			}
		}
		if got, ok := ParseGrowing(f.Growing()); !ok || got.Index != f.Index {
			t.Fatalf("%s is read as %+v, %v", f.Growing(), got, ok)
		}
		if _, ok := Parse(f.Growing()); ok {
			t.Fatal("a file that grows is taken for one that has ended")
		}
	})
}

func TestNamesSortAsTheirTimes(t *testing.T) {
	var names []string
	for i, d := range []time.Duration{0, 1, time.Second, time.Minute, time.Hour, 24 * time.Hour, 400 * 24 * time.Hour} {
		names = append(names, File{Gateway: "g", Run: 1, Index: uint64(i + 1), Began: began.Add(d)}.Bucket())
	}
	if !slices.IsSorted(names) {
		t.Error(names)
	}
}

func TestOtherNames(t *testing.T) {
	for _, path := range []string{
		"", "x", ".wlcap", "g/x.wlcap", "g/0000000000000077/0000000003.wlcap", "g/77/0000000003-1795291199999999999.wlcap", "../0000000000000077/0000000003-1795291199999999999.wlcap",
		"/0000000000000077/0000000003-1795291199999999999.wlcap", "g/000000000000007G/0000000003-1795291199999999999.wlcap", "g/0000000000000077/0000000003-9999999999999999999.wlcap",
		"g/2026-11-21/18/1795291199999999999-0000000000000077-0000000003.wlcap", "g/2026-11-20/19/1795291199999999999-0000000000000077-0000000003.wlcap",
		"g/2026-11-21/19/1795291199999999999-0000000000000077-0000000003.wlcap.part", "g/2026-11-21/19/fileblob123", "a%2fb/0000000000000077/0000000003-1795291199999999999.wlcap",
	} {
		if f, ok := Parse(path); ok {
			t.Errorf("%q is read as %+v", path, f)
		}
	}
}
