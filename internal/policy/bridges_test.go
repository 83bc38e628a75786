package policy

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestBridges(t *testing.T) {
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	good := Bridge{Name: "five-to-fourteen", Product: "vitess", From: "5.0", To: "14.0", Who: "mira", Evidence: []Evidence{{"replay of two days", "pass", now.AddDate(0, 0, -3)}}, Expires: now.AddDate(0, 1, 0)}
	p := builtin(t, "vitess")
	if why := good.Refuse(now); why != "" {
		t.Errorf("refused: %s", why)
	}
	path, err := p.Plan(Request{From: "5.0", To: "14.0", Bridges: []Bridge{good}})
	if err != nil || len(path.Hops) != 1 || path.Hops[0].Bridge == nil {
		t.Errorf("%v: %s", err, text(path))
	}
	if path, err = p.Plan(Request{From: "5.0", To: "14.0"}); err != nil || len(path.Hops) != 9 {
		t.Errorf("without the bridge: %v, %d hops", err, len(path.Hops))
	}
	if path, err = p.Plan(Request{From: "4.0", To: "15.0", Bridges: []Bridge{good}}); err != nil || len(path.Hops) != 3 {
		t.Errorf("before and behind the bridge: %v: %s", err, text(path))
	}
	for want, change := range map[string]func(b *Bridge){
		"expired":         func(b *Bridge) { b.Expires = now },
		"has no evidence": func(b *Bridge) { b.Evidence = nil },
		"is not proved":   func(b *Bridge) { b.Evidence = []Evidence{{"replay", "fail", now}} },
		"in the future":   func(b *Bridge) { b.Evidence = []Evidence{{"replay", "pass", now.Add(time.Hour)}} },
	} {
		b := good
		change(&b)
		if why := b.Refuse(now); !strings.Contains(why, want) {
			t.Errorf("refused by %q, want %q", why, want)
		}
	}
}

// A bridge is a proof of two builds: a path between others of their releases does not go over it.
func TestBridgeOfOtherBuilds(t *testing.T) {
	b := Bridge{Name: "b", Product: "vitess", From: "5.0", To: "14.0", Builds: []string{"5.0.1-shop3", "14.0.2-shop1"}}
	for _, c := range []struct {
		from, to string
		hops     int // 0: refused
	}{
		{"5.0", "14.0", 1},
		{"5.0.1", "v14.0.2", 1},
		{"5.0.1-shop3", "14.0.2-shop1", 1},
		{"v5.0.1-shop3", "14.0.2-shop1-debug", 1},
		{"5.0.9", "14.0", 0},
		{"5.0", "14.0.7", 0},
		{"5.0.1-shop4", "14.0", 0},
		{"5.0", "14.0.2-shop11", 0},
		{"4.0.7", "15.0.7", 3}, // its ends are within the path
		{"5.0", "9.0", 4},      // it goes too far
		{"6.0.9", "14.0.7", 8}, // it does not begin on the path
	} {
		path, err := builtin(t, "vitess").Plan(Request{From: c.from, To: c.to, Bridges: []Bridge{b}})
		var no *NoPath
		switch {
		case c.hops == 0 && (!errors.As(err, &no) || !strings.Contains(no.Why, "the bridge b was proved with 5.0.1-shop3 and 14.0.2-shop1, and not with ")):
			t.Errorf("%s to %s: %v, %s", c.from, c.to, err, text(path))
		case c.hops > 0 && (err != nil || len(path.Hops) != c.hops):
			t.Errorf("%s to %s: %v, %d hops", c.from, c.to, err, len(path.Hops))
		}
	}
}
