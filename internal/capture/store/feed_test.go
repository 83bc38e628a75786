package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func put(t *testing.T, b *Bucket, run uint64, indexes ...uint64) {
	t.Helper()
	for _, i := range indexes {
		if _, err := b.Put(context.Background(), file("a", run, i, noon.Add(time.Duration(i)*10*time.Second)), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
}

func next(t *testing.T, f *Feed) string {
	t.Helper()
	all, err := f.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return short(all)
}

func TestFeed(t *testing.T) {
	b, c := open1(t, t.TempDir()), &clock{noon}
	f := b.Feed(FeedConfig{Now: c.Now})
	step := func(want string) {
		t.Helper()
		if got := next(t, f); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	step("")
	put(t, b, 1, 1, 2)
	step("a/1/1 a/1/2")
	step("")
	put(t, b, 1, 4, 5) // one was overtaken
	step("")
	put(t, b, 1, 3)
	step("a/1/3 a/1/4 a/1/5")
	put(t, b, 1, 7, 9)
	step("")
	c.now = c.now.Add(patience)
	step("a/1/7") // it is given up, and the next hole is waited for
	if got := fmt.Sprint(f.Missing()); got != "[{a 1 6 6}]" {
		t.Error(got)
	}
	step("")
	c.now = c.now.Add(patience)
	step("a/1/9")
	put(t, b, 1, 6) // late, and given still
	step("a/1/6")
	if got := fmt.Sprint(f.Missing()); got != "[{a 1 8 8}]" {
		t.Error(got)
	}
	put(t, b, 2, 1)
	step("a/2/1")
}

func TestFeedFromTheMiddle(t *testing.T) {
	b, c := open1(t, t.TempDir()), &clock{noon}
	put(t, b, 1, 1, 2, 3, 4, 5, 6)
	f := b.Feed(FeedConfig{From: noon.Add(35 * time.Second), To: noon.Add(60 * time.Second), Now: c.Now})
	for _, i := range []uint64{4} { // done before this process began
		f.Skip(Segment{Gateway: "a", Run: 1, Index: i, Began: noon.Add(40 * time.Second)})
	}
	if got := next(t, f); got != "a/1/3 a/1/5" {
		t.Error(got)
	}
	if m := f.Missing(); len(m) > 0 {
		t.Error(m)
	}
}

// What a bucket gets after it was away for hours is found by the look at everything.
func TestFeedFindsWhatIsVeryLate(t *testing.T) {
	b, c := open1(t, t.TempDir()), &clock{noon}
	f := b.Feed(FeedConfig{Now: c.Now})
	put(t, b, 1, 1)
	put(t, b, 2, 1, 2000, 2001) // hours later
	next(t, f)
	c.now = c.now.Add(patience)
	next(t, f)
	put(t, b, 1, 2)
	if got := next(t, f); got != "" {
		t.Errorf("found without looking: %s", got)
	}
	c.now = c.now.Add(sweep)
	if got := next(t, f); got != "a/1/2" {
		t.Errorf("got %q", got)
	}
}

// A file that grows is no segment; renamed, it is one.
func TestFeedOfASpool(t *testing.T) {
	dir := t.TempDir()
	b, c := open1(t, dir), &clock{noon}
	f := b.Feed(FeedConfig{Now: c.Now})
	spool(t, dir, file("a", 1, 1, noon))
	write(t, dir+"/"+file("a", 1, 2, noon.Add(time.Second)).Growing(), []byte("half a bl"))
	if got := next(t, f); got != "a/1/1" {
		t.Error(got)
	}
	spool(t, dir, file("a", 1, 2, noon.Add(time.Second)))
	if got := next(t, f); got != "a/1/2" {
		t.Error(got)
	}
}

func TestSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		in := map[uint64]bool{}
		for _, n := range rapid.SliceOf(rapid.Uint64Range(0, 40)).Draw(t, "numbers") {
			s.add(n)
			in[n] = true
		}
		for n := range uint64(42) {
			if s.has(n) != in[n] {
				t.Fatalf("%v has %d: %v", s, n, s.has(n))
			}
		}
		for i := 1; i < len(s); i++ {
			if s[i].first <= s[i-1].last+1 || s[i].first > s[i].last {
				t.Fatalf("%v is no list of ranges", s)
			}
		}
	})
}
