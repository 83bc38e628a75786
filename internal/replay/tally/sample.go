package tally

import (
	"cmp"
	"slices"
)

// Sample is an unbiased sample of a stream: of all items the ones whose priorities are lowest. A priority is drawn from the item's id, so the same items are
// kept whatever the order in which they come, and whichever of them were together in a sample before.
type Sample[T any] struct {
	Seen  int64     `json:"seen"` // items that it was taken from
	Items []Item[T] `json:"items,omitempty"`
}

// Item is one of a sample.
type Item[T any] struct {
	Priority uint64 `json:"p"`
	Value    T      `json:"v"`
}

// draw makes a priority of an id: neighbours have nothing to do with each other (splitmix64, a bijection).
func draw(id uint64) uint64 {
	id += 0x9e3779b97f4a7c15
	id = (id ^ id>>30) * 0xbf58476d1ce4e5b9
	id = (id ^ id>>27) * 0x94d049bb133111eb
	return id ^ id>>31
}

// takes reports whether an item of this priority would be kept, before it is made.
func (s *Sample[T]) takes(most int, priority uint64) bool {
	return len(s.Items) < most || priority < s.Items[len(s.Items)-1].Priority
}

// add counts an item and keeps it if it is among the lowest.
func (s *Sample[T]) add(most int, priority uint64, v T) {
	s.Seen++
	s.put(most, Item[T]{priority, v})
}

func (s *Sample[T]) put(most int, item Item[T]) {
	at, there := slices.BinarySearchFunc(s.Items, item.Priority, func(i Item[T], p uint64) int { return cmp.Compare(i.Priority, p) })
	if there || at >= most {
		return
	}
	s.Items = slices.Insert(s.Items, at, item)
	if len(s.Items) > most {
		clear(s.Items[most:])
		s.Items = s.Items[:most]
	}
}

func (s *Sample[T]) merge(most int, o Sample[T]) {
	s.Seen += o.Seen
	for _, item := range o.Items {
		s.put(most, item)
	}
}

// Values are the items of the sample.
func (s *Sample[T]) Values() []T {
	out := make([]T, len(s.Items))
	for i, item := range s.Items {
		out[i] = item.Value
	}
	return out
}

// get finds the item with that priority.
func (s *Sample[T]) get(priority uint64) *T {
	at, there := slices.BinarySearchFunc(s.Items, priority, func(i Item[T], p uint64) int { return cmp.Compare(i.Priority, p) })
	if !there {
		return nil
	}
	return &s.Items[at].Value
}
