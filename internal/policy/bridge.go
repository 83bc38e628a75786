package policy

import (
	"fmt"
	"maps"
	"time"
)

// Bridge declares two versions neighbours that are none, by evidence (V7).
type Bridge struct {
	Name     string     `json:"name"`
	Product  string     `json:"product"`
	From     string     `json:"from"`
	To       string     `json:"to"`
	Builds   []string   `json:"builds"` // the two builds that were tried: old, new
	Who      string     `json:"who"`    // who vouches for it
	Evidence []Evidence `json:"evidence"`
	Expires  time.Time  `json:"expires"`
}

// Evidence is a named check that was made.
type Evidence struct {
	Check  string    `json:"check"`
	Result string    `json:"result"` // "pass" or "fail"
	At     time.Time `json:"at"`
}

// Refuse says why a bridge is not good now; "" if it is.
func (b Bridge) Refuse(now time.Time) string {
	switch {
	case !now.Before(b.Expires):
		return fmt.Sprintf("the bridge %s expired on %s: prove it again, and give it a new expiry", b.Name, b.Expires.Format("2006-01-02"))
	case len(b.Evidence) == 0:
		return fmt.Sprintf("the bridge %s has no evidence: a bridge is proved by checks", b.Name)
	}
	for _, e := range b.Evidence {
		switch {
		case e.Result != "pass":
			return fmt.Sprintf("the bridge %s is not proved: %s ended with %q", b.Name, e.Check, e.Result)
		case e.At.After(now):
			return fmt.Sprintf("the bridge %s is not proved: %s is dated in the future", b.Name, e.Check)
		}
	}
	return ""
}

// bridge finds the one that goes furthest from a release without going past the end. The bridges are good ones: callers refuse others first.
func (p *Product) bridge(all []Bridge, at, end int) (*Bridge, int, bool) {
	var best *Bridge
	release := at
	for i, b := range all {
		from, err := p.Release(b.From)
		if err != nil || b.Product != p.Name || from != at {
			continue
		}
		if to, err := p.Release(b.To); err == nil && to <= end && to > release {
			best, release = &all[i], to
		}
	}
	return best, release, best != nil
}

// with is the product in which the two releases are neighbours.
func (p *Product) with(from, to int) *Product {
	q := *p
	q.bridged = maps.Clone(p.bridged)
	if q.bridged == nil {
		q.bridged = map[[2]int]bool{}
	}
	q.bridged[[2]int{from, to}] = true
	return &q
}
