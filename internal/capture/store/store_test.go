package store

import (
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

func TestFromSpoolToBucket(t *testing.T) {
	for kind, b := range places(t) {
		dir := t.TempDir()
		files := append(some("prod/orders", 7, 5), some("b", 1<<63, 3)...)
		spool(t, dir, files...)
		spooled := open1(t, dir)
		if got, want := short(list(t, spooled, Range{})), "b/9223372036854775808/1 prod/orders/7/1 b/9223372036854775808/2 prod/orders/7/2 b/9223372036854775808/3 prod/orders/7/3 prod/orders/7/4 prod/orders/7/5"; got != want {
			t.Errorf("%s: the spool has %s", kind, got)
		}
		ship(t, dir, b)
		holds(t, b, files)
		empty(t, dir)
		if g, err := b.Gateways(context.Background()); err != nil || strings.Join(g, " ") != "b prod/orders" {
			t.Errorf("%s: %q %v", kind, g, err)
		}
	}
}

func TestRanges(t *testing.T) {
	for kind, b := range places(t) {
		dir := t.TempDir()
		spool(t, dir, some("a", 1, 7)...)
		spool(t, dir, file("a", 2, 1, noon.Add(24*time.Hour)), file("a", 2, 2, noon.Add(47*time.Hour)), file("b", 3, 1, noon.Add(25*time.Second)))
		ship(t, dir, b)
		at := func(d time.Duration) time.Time { return noon.Add(d) }
		for _, c := range []struct {
			r    Range
			want string
		}{
			{Range{}, "a/1/1 a/1/2 a/1/3 b/3/1 a/1/4 a/1/5 a/1/6 a/1/7 a/2/1 a/2/2"},
			{Range{From: at(20 * time.Second), To: at(40 * time.Second)}, "a/1/3 b/3/1 a/1/4"},
			{Range{From: at(25 * time.Second), To: at(30 * time.Second)}, "a/1/3 b/3/1"}, // the third began before, and may have statements of it
			{Range{From: at(time.Hour), To: at(23 * time.Hour)}, ""},
			{Range{From: at(time.Hour)}, "a/2/1 a/2/2"},
			{Range{To: at(time.Second)}, "a/1/1"},
			{Range{From: at(40 * time.Hour), Gateways: []string{"a"}}, "a/2/2"},
			{Range{Gateways: []string{"b"}}, "b/3/1"},
			{Range{Gateways: []string{"none"}}, ""},
		} {
			if got := short(list(t, b, c.r)); got != c.want {
				t.Errorf("%s: %+v: %s, want %s", kind, c.r, got, c.want)
			}
		}
	}
}

// A minute costs a few requests, whatever else the bucket has.
func TestAMinuteIsFoundWithoutListingYears(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	for i := range 300 {
		f := file("a", 1, uint64(i+1), noon.Add(time.Duration(i)*12*time.Hour))
		if _, err := b.Put(context.Background(), f, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	before := a.lists.Load()
	from := noon.Add(100 * 24 * time.Hour)
	if got := list(t, b, Range{From: from, To: from.Add(time.Minute)}); len(got) != 1 {
		t.Errorf("found %s", short(got))
	}
	if n := a.lists.Load() - before; n > 5 {
		t.Errorf("%d requests", n)
	}
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"":                                    "empty",
		"s3://key:the-secret@captures":        "no credentials",
		"s3://captures?access_key=the-secret": `no parameter "access_key"`,
		"s3://captures?endpoint=http://key:the-secret@127.0.0.1": "credentials",
		"gs://captures?token=the-secret":                         `kind "gs"`,
		"file://folder":                                          "three slashes",
		"file:///x?metadata=skip":                                "nothing behind it",
		"s3://capt\x01ures?k=the-secret":                         "can't be read",
		filepath.Join(t.TempDir(), "none"):                       "none",
	} {
		_, err := Open(context.Background(), url)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
		var u *URLError
		if errors.As(err, &u) && u.ErrorHint() == "" {
			t.Errorf("%q: no hint", url)
		}
	}
	b := open1(t, s3api(t).url)
	if b.String() != "s3://captures/prod/a" {
		t.Error(b)
	}
}

// A listing that fails is an error, never an empty bucket.
func TestAFailedListIsNoEmptyBucket(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	a.faulty(func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	if all, err := b.Segments(context.Background(), Range{}); err == nil {
		t.Errorf("%d segments", len(all))
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "2026-11-21"), nil) // a file where a folder is wanted
	write(t, filepath.Join(dir, "c"), nil)
	if all, err := open1(t, dir).Segments(context.Background(), Range{Gateways: []string{"c"}}); err == nil {
		t.Errorf("%d segments", len(all))
	}
}

func TestReadGoesOnWhereAConnectionBroke(t *testing.T) {
	a := s3api(t)
	b := open1(t, a.url)
	f := file("a", 1, 1, noon)
	if _, err := b.Put(context.Background(), f, content(f)); err != nil {
		t.Fatal(err)
	}
	var cuts atomic.Int64
	a.faulty(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.Query().Has("list-type") {
			return false
		}
		cut := cuts.Add(1)
		if cut > 3 {
			return false
		}
		var from int
		if h := r.Header.Get("Range"); h != "" {
			for _, c := range strings.TrimSuffix(strings.TrimPrefix(h, "bytes="), "-") {
				from = 10*from + int(c-'0')
			}
			w.Header().Set("Content-Range", "bytes "+strings.TrimPrefix(h, "bytes=")+"9999/9999")
		}
		all := content(f)[from:]
		if cut == 2 { // it ends as if that were all
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusPartialContent)
			w.Write(all[:100])
			return true
		}
		w.Header().Set("Content-Length", "9999")
		w.WriteHeader(http.StatusPartialContent)
		w.Write(all[:100])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	holds(t, b, []name.File{f})
	if cuts.Load() < 4 {
		t.Errorf("%d reads", cuts.Load())
	}
}

func TestASegmentThatIsGone(t *testing.T) {
	for kind, b := range places(t) {
		if _, err := b.Read(context.Background(), Segment{Name: file("a", 1, 1, noon).Bucket(), Size: 1}); !errors.Is(err, ErrGone) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestReadGivesUp(t *testing.T) {
	tries := 0
	r := &reader{name: "x", size: 5, open: func(int64) (io.ReadCloser, error) { tries++; return nil, io.ErrClosedPipe }, pause: func(int) error { return nil }}
	if err := r.reopen(); !errors.Is(err, io.ErrClosedPipe) || tries != again {
		t.Errorf("%d tries, %v", tries, err)
	}
}
