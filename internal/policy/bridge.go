package policy

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
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

// isBuild reports whether a full version, such as "14.0.2-shop1", is of a build: it is the build's version, or begins with it.
func isBuild(version, build string) bool {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(version, "v"), strings.TrimPrefix(build, "v"))
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

// Misfit says why a bridge means nothing for the product: "" if it does. What it says of itself does not matter here; see Bridge.Refuse.
func (p *Product) Misfit(b Bridge) string {
	if b.Product != p.Name {
		return fmt.Sprintf("the bridge %s is for the product %s, not for %s", b.Name, b.Product, p.Name)
	}
	ends := make([]int, 2)
	for i, version := range []string{b.From, b.To} {
		release, err := p.Release(version)
		if err != nil {
			return fmt.Sprintf("the bridge %s: %v", b.Name, err)
		}
		ends[i] = release
		if i >= len(b.Builds) {
			return fmt.Sprintf("the bridge %s does not name the two builds that were tried together", b.Name)
		}
		if of, err := p.Release(b.Builds[i]); err != nil || of != release {
			return fmt.Sprintf("the bridge %s: the build %s is not of the release %s", b.Name, b.Builds[i], p.Releases[release].Name)
		}
		if !p.mayBe(version, b.Builds[i], release) {
			return fmt.Sprintf("the bridge %s: %s is another build than %s, which was tried", b.Name, version, b.Builds[i])
		}
	}
	if ends[0] >= ends[1] {
		return fmt.Sprintf("the bridge %s does not go from an older release to a newer one: %s to %s", b.Name, b.From, b.To)
	}
	return ""
}

// Bridged is the product with these bridges: what they join are neighbours. Those that mean nothing for it are left out.
func (p *Product) Bridged(all []Bridge) *Product {
	for _, b := range all {
		if p.Misfit(b) == "" {
			from, _ := p.Release(b.From)
			to, _ := p.Release(b.To)
			p = p.with(b.Name, from, to)
		}
	}
	return p
}

// mayBe reports whether a version of the release, as people write it, may be the build: it is the release's name alone, the build, or less or more of it.
func (p *Product) mayBe(version, build string, release int) bool {
	return strings.TrimPrefix(version, "v") == strings.TrimPrefix(p.Releases[release].Name, "v") || isBuild(version, build) || isBuild(build, version)
}

// otherEnd says that a path's hop from one version to another can't go over the bridge between their releases, since one of them is another build than
// the bridge's; "" if that is not so.
func (p *Product) otherEnd(b Bridge, from, to string) string {
	for i, version := range []string{from, to} {
		if release, err := p.Release(version); err == nil && i < len(b.Builds) && !p.mayBe(version, b.Builds[i], release) {
			return fmt.Sprintf("the bridge %s was proved with %s, and not with %s", b.Name, strings.Join(b.Builds, " and "), version)
		}
	}
	return ""
}

// OtherBuild says that a version is of a release at an end of the bridge, and not of the build that was tried; "" if that is not so. A
// bridge is a proof of two builds, and of no others of their releases.
func (p *Product) OtherBuild(b Bridge, version string) string {
	release, err := p.Release(version)
	if err != nil || p.Misfit(b) != "" {
		return ""
	}
	for i, end := range []string{b.From, b.To} {
		if at, _ := p.Release(end); at == release && !isBuild(version, b.Builds[i]) {
			return fmt.Sprintf("the bridge %s was proved with %s and %s, and not with %s", b.Name, b.Builds[0], b.Builds[1], version)
		}
	}
	return ""
}

// with is the product in which a bridge makes the two releases neighbours.
func (p *Product) with(name string, from, to int) *Product {
	q := *p
	q.bridged = maps.Clone(p.bridged)
	if q.bridged == nil {
		q.bridged = map[[2]int]string{}
	}
	q.bridged[[2]int{from, to}] = cmp.Or(name, "of no name")
	return &q
}
