package store

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// FeedConfig is what a Feed gives.
type FeedConfig struct {
	From, To time.Time     // as in Range
	Gateways []string      // none: all, also those that come later
	Patience time.Duration // how long a hole in a run's numbers holds up what comes behind it; 0: 30 s
	Now      func() time.Time
}

// Feed gives each segment once, as it arrives. It is not safe for concurrent use.
//
// Uploads overtake one another, and a gateway's bucket may have been away for an hour. So what is missing between two segments of a run is waited for,
// for as long as Patience; and now and then the feed looks at all that it has passed, so that whatever arrives late is still given.
type Feed struct {
	b      *Bucket
	c      FeedConfig
	runs   map[run]*progress
	newest time.Time // Began of the newest that was given
	swept  time.Time
}

type run struct {
	gateway string
	number  uint64
}

type progress struct {
	given spans
	held  time.Time // since when a hole holds it up; zero: none does
}

const (
	patience = 30 * time.Second
	lookback = time.Hour        // how far back each look goes
	sweep    = 10 * time.Minute // how often it goes back to the beginning
)

// Feed begins at From.
func (b *Bucket) Feed(c FeedConfig) *Feed {
	if c.Patience == 0 {
		c.Patience = patience
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Feed{b: b, c: c, runs: map[run]*progress{}}
}

// Skip marks a segment as given, such as one that was done before this process began.
func (f *Feed) Skip(s Segment) {
	f.of(s).given.add(s.Index)
	if s.Began.After(f.newest) {
		f.newest = s.Began
	}
}

func (f *Feed) of(s Segment) *progress {
	key := run{s.Gateway, s.Run}
	p := f.runs[key]
	if p == nil {
		p = &progress{}
		f.runs[key] = p
	}
	return p
}

// Next gives what has arrived since the call before, in order of Began, and within a run in order of Index: none if nothing has. It does not wait.
func (f *Feed) Next(ctx context.Context) ([]Segment, error) {
	now := f.c.Now()
	r := Range{From: f.c.From, To: f.c.To, Gateways: f.c.Gateways}
	whole := f.swept.IsZero() || now.Sub(f.swept) >= sweep
	if back := f.newest.Add(-lookback); !whole && back.After(r.From) {
		r.From = back
	}
	all, err := f.b.Segments(ctx, r)
	if err != nil {
		return nil, err
	}
	if whole {
		f.swept = now
	}
	slices.SortFunc(all, func(a, b Segment) int { return cmp.Compare(a.Index, b.Index) })
	stopped := map[*progress]bool{}
	var give []Segment
	for _, s := range all {
		p := f.of(s)
		if p.given.has(s.Index) || stopped[p] {
			continue
		}
		if f.hole(p, s) {
			if p.held.IsZero() {
				p.held = now
			}
			if now.Sub(p.held) < f.c.Patience {
				stopped[p] = true
				continue
			}
		}
		p.held = time.Time{}
		p.given.add(s.Index)
		give = append(give, s)
	}
	order(give)
	for _, s := range give {
		if s.Began.After(f.newest) {
			f.newest = s.Began
		}
	}
	return give, nil
}

// hole reports whether something that is wanted is missing right before a segment.
func (f *Feed) hole(p *progress, s Segment) bool {
	switch {
	case s.Index <= 1 || p.given.has(s.Index-1) || p.given.after(s.Index):
		return false // late ones hold nothing up
	case len(p.given) == 0:
		return f.c.From.IsZero() || s.Began.After(f.c.From)
	}
	return true
}

// Hole is a part of a run that is not there: lost, or not arrived yet.
type Hole struct {
	Gateway     string
	Run         uint64
	First, Last uint64 // indexes
}

// Missing tells the holes between the segments that were given, in order of gateway and run. What came before the first of a run is not known.
func (f *Feed) Missing() []Hole {
	return holes(f.runs)
}

// Holes tells what is missing between segments, in order of gateway and run.
func Holes(all []Segment) []Hole {
	runs := map[run]*progress{}
	for _, s := range all {
		key := run{s.Gateway, s.Run}
		if runs[key] == nil {
			runs[key] = &progress{}
		}
		runs[key].given.add(s.Index)
	}
	return holes(runs)
}

func holes(runs map[run]*progress) []Hole {
	var all []Hole
	for r, p := range runs {
		for i := 1; i < len(p.given); i++ {
			all = append(all, Hole{r.gateway, r.number, p.given[i-1].last + 1, p.given[i].first - 1})
		}
	}
	slices.SortFunc(all, func(a, b Hole) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Run, b.Run), cmp.Compare(a.First, b.First))
	})
	return all
}

// spans are numbers, as ranges in order that do not touch.
type spans []span

type span struct{ first, last uint64 }

// find gives the first range that ends at n or behind it.
func (s spans) find(n uint64) int {
	i, _ := slices.BinarySearchFunc(s, n, func(r span, n uint64) int { return cmp.Compare(r.last, n) })
	return i
}

func (s spans) has(n uint64) bool {
	i := s.find(n)
	return i < len(s) && s[i].first <= n
}

// after reports whether it has a number behind n.
func (s spans) after(n uint64) bool { return len(s) > 0 && s[len(s)-1].last > n }

func (s *spans) add(n uint64) {
	i := s.find(n)
	if s.has(n) {
		return
	}
	left := i > 0 && (*s)[i-1].last == n-1
	right := i < len(*s) && (*s)[i].first == n+1
	switch {
	case left && right:
		(*s)[i-1].last = (*s)[i].last
		*s = slices.Delete(*s, i, i+1)
	case left:
		(*s)[i-1].last = n
	case right:
		(*s)[i].first = n
	default:
		*s = slices.Insert(*s, i, span{n, n})
	}
}
