package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// Range is which segments are wanted. The zero value is all of them.
type Range struct {
	From, To time.Time // of the statements: from From on, before To; zero: no bound
	Gateways []string  // none: all
}

// longest is how long a segment may go on after it began: gateways end theirs after ten seconds. One that begins that long before From may have
// statements of it.
const longest = 10 * time.Minute

// Segments lists the segments in order of Began, those of one run in order of Index. The first of each run may begin before From: what follows
// from there on is in it.
func (b *Bucket) Segments(ctx context.Context, r Range) ([]Segment, error) {
	gateways, err := b.gateways(ctx, r.Gateways)
	if err != nil {
		return nil, err
	}
	var all []Segment
	for _, g := range gateways {
		some, err := b.of(ctx, name.Folder(g), r)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	order(all)
	return all, nil
}

// Gateways lists the gateways that have segments here, by name.
func (b *Bucket) Gateways(ctx context.Context) ([]string, error) { return b.gateways(ctx, nil) }

func (b *Bucket) gateways(ctx context.Context, only []string) ([]string, error) {
	if len(only) > 0 {
		return only, nil
	}
	folders, _, err := b.under(ctx, "")
	var found []string
	for _, f := range folders {
		if g, ok := name.Gateway(f); ok {
			found = append(found, g)
		}
	}
	return found, err
}

// of lists one gateway's segments: by days and hours, or by runs in a spool.
func (b *Bucket) of(ctx context.Context, gateway string, r Range) ([]Segment, error) {
	wide := r
	if !r.From.IsZero() {
		wide.From = r.From.Add(-longest)
	}
	folders, _, err := b.under(ctx, gateway+"/")
	if err != nil {
		return nil, err
	}
	var all []Segment
	add := func(prefix string) error {
		_, files, err := b.under(ctx, prefix)
		for _, e := range files {
			if s, ok := e.segment(); ok && wide.touches(s.Began, 0) {
				all = append(all, s)
			}
		}
		return err
	}
	for _, f := range folders {
		prefix := gateway + "/" + f + "/"
		if _, ok := name.ParseRun(f); ok {
			if err := add(prefix); err != nil {
				return nil, err
			}
			continue
		}
		day, ok := name.ParseDay(f)
		if !ok || !wide.touches(day, 24*time.Hour) {
			continue
		}
		hours, err := b.hours(ctx, prefix, day, wide)
		if err != nil {
			return nil, err
		}
		for _, h := range hours {
			if err := add(prefix + h + "/"); err != nil {
				return nil, err
			}
		}
	}
	return r.cut(all), nil
}

// hours are the folders of a day that the range touches. A few are looked into without asking which there are.
func (b *Bucket) hours(ctx context.Context, prefix string, day time.Time, r Range) ([]string, error) {
	var touched []string
	for h := range 24 {
		at := day.Add(time.Duration(h) * time.Hour)
		if r.touches(at, time.Hour) {
			touched = append(touched, name.Hour(at))
		}
	}
	if len(touched) <= 2 {
		return touched, nil
	}
	there, _, err := b.under(ctx, prefix)
	return slices.DeleteFunc(touched, func(h string) bool { return !slices.Contains(there, h) }), err
}

// touches reports whether the range has a part of what begins then and goes on so long.
func (r Range) touches(begins time.Time, lasts time.Duration) bool {
	if !r.To.IsZero() && !begins.Before(r.To) {
		return false
	}
	ends := begins.Add(lasts)
	return r.From.IsZero() || ends.After(r.From) || lasts == 0 && ends.Equal(r.From)
}

// cut leaves out what of each run came before the last segment that began by From.
func (r Range) cut(all []Segment) []Segment {
	if r.From.IsZero() {
		return all
	}
	last := map[uint64]uint64{} // index by run
	for _, s := range all {
		if !s.Began.After(r.From) {
			last[s.Run] = max(last[s.Run], s.Index)
		}
	}
	return slices.DeleteFunc(all, func(s Segment) bool { return s.Index < last[s.Run] })
}

// order sorts by Began, and those of one run by Index, also where its clock went back.
func order(all []Segment) {
	slices.SortFunc(all, func(a, b Segment) int {
		return cmp.Or(cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Run, b.Run), cmp.Compare(a.Index, b.Index))
	})
	at := make(map[string]time.Time, len(all)) // by name
	for i, s := range all {
		at[s.Name] = s.Began
		if i > 0 && all[i-1].Gateway == s.Gateway && all[i-1].Run == s.Run && at[all[i-1].Name].After(s.Began) {
			at[s.Name] = at[all[i-1].Name]
		}
	}
	slices.SortStableFunc(all, func(a, b Segment) int { return at[a.Name].Compare(at[b.Name]) })
}
