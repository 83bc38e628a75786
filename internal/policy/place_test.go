package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/windlass-db/windlass/internal/config"
)

// apart is the plain reading: two places differ in a part that is known of both, and that the call does not leave.
func apartPlain(a, b string, depth int) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y), depth) {
		if x[i] == "" || y[i] == "" {
			return false // not told
		}
		if x[i] != y[i] {
			return true
		}
	}
	return false
}

// TestPlacesAreWhatBruteForceSays compares the judgement of a state with a look at every two nodes of it.
func TestPlacesAreWhatBruteForceSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := random(t)
		p.Places = []string{PlaceRegion, PlaceCell, PlaceNode}
		seen := map[[2]string]bool{}
		var calls []Call
		for _, c := range p.Calls {
			if !seen[[2]string{c.From, c.To}] { // a file that says a call twice is refused
				seen[[2]string{c.From, c.To}] = true
				c.Within = rapid.SampledFrom([]string{"", PlaceRegion, PlaceCell, PlaceNode}).Draw(t, "within")
				calls = append(calls, c)
			}
		}
		p.Calls = calls
		var s State
		var releases []int
		for range rapid.IntRange(1, 7).Draw(t, "nodes") {
			var place []string
			for range rapid.IntRange(0, 3).Draw(t, "known") {
				place = append(place, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "part"))
			}
			r := rapid.IntRange(0, 2).Draw(t, "release")
			releases = append(releases, r)
			s.Present = append(s.Present, Present{rapid.SampledFrom(p.Components).Draw(t, "component").Name, p.Releases[r].Name, strings.Join(place, "/")})
		}
		want := true
		for i, x := range s.Present {
			for j, y := range s.Present {
				two := *p
				two.Calls = nil
				for _, c := range p.Calls {
					if c.From == x.Component && c.To == y.Component && !apartPlain(x.Place, y.Place, p.depth(c.Within)) {
						two.Calls = append(two.Calls, c)
					}
				}
				// Both ways round: legal looks at every pair, so that the second way is left to its own turn.
				for _, c := range p.Calls {
					if x.Component != y.Component && c.From == y.Component && c.To == x.Component && !apartPlain(x.Place, y.Place, p.depth(c.Within)) {
						two.Calls = append(two.Calls, c)
					}
				}
				want = want && legal(&two, []string{x.Component, y.Component}, []int{releases[i], releases[j]})
			}
		}
		_, bad, err := p.Check(s)
		if err != nil || (len(bad) == 0) != want {
			t.Fatalf("%+v, %v: brute force says %v, the check %v, %v", p, s.Present, want, bad, err)
		}
		for _, v := range bad { // the two that are named are two that are there
			for _, x := range []Present{v.A, v.B} {
				if !strings.Contains(fmt.Sprint(s.Present), fmt.Sprint(x)) {
					t.Fatalf("%s is not among %v", x, s.Present)
				}
			}
		}
	})
}

// A thousand nodes, each in a place of its own, are judged in a time that does not grow with their square.
func TestManyPlaces(t *testing.T) {
	p, err := Builtin("kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	s := State{Present: []Present{{Component: "apiserver", Version: "1.33"}}}
	for i := range 20000 {
		v := []string{"1.30", "1.33"}[i%2]
		s.Present = append(s.Present, Present{"kubelet", v, fmt.Sprint("n", i)}, Present{"kube-proxy", v, fmt.Sprint("n", i)})
	}
	if _, bad, err := p.Check(s); err != nil || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	s.Present = append(s.Present, Present{"kube-proxy", "1.29", "n1"}) // kubelet 1.33 is there
	_, bad, err := p.Check(s)
	if err != nil || len(bad) == 0 || bad[0].A.Place != "n1" {
		t.Fatal(bad, err)
	}
}

func TestParseState(t *testing.T) {
	p, err := Builtin("vitess")
	if err != nil {
		t.Fatal(err)
	}
	s, err := p.ParseState("vtgate@zone1=14.0, vttablet@zone1/100=13.0,,vttablet=14.0")
	if err != nil || len(s.Present) != 3 || s.Present[1] != (Present{"vttablet", "13.0", "zone1/100"}) || s.Present[2].Place != "" {
		t.Fatal(s, err)
	}
	for text, want := range map[string]struct {
		column int
		says   string
	}{
		"vtgate":                         {7, `"vtgate" has no version`},
		"vtgate=":                        {7, `"vtgate" has no version`},
		"=14.0":                          {1, "there is no component"},
		"vtgate=14.0,vtgait=14.0":        {13, `no component "vtgait"`},
		"vtgate=14.0, vtgait=14.0":       {14, `no component "vtgait"`},
		"vtgate=soon":                    {8, `version "soon" is of no release`},
		"vtgate=14.0,vttablet=99.0":      {22, `version "99.0"`},
		"vtgate@=14.0":                   {8, "has no name"},
		"vtgate@zone1/=14.0":             {14, "has no name"},
		"vtgate@/100=14.0":               {8, "has no name"},
		"vtgate@zone1/100/mysqld=14.0":   {18, "more parts than vitess has kinds of places"},
		"vtgate@zone1/100/a/b/c=14.0":    {18, "more parts"},
		"größe=14.0":                     {1, "no component"},
		"vtgate@größe=14.0,vttablet@ß=x": {30, `version "x"`},
	} {
		_, err := p.ParseState(text)
		var ps config.Problems
		if !errors.As(err, &ps) || len(ps) != 1 || ps[0].Column != want.column || !strings.Contains(ps[0].Message, want.says) || ps[0].Hint == "" {
			t.Errorf("%s: %v; want column %d and %q", text, err, want.column, want.says)
		}
	}
	if _, err := p.ParseState("vtgate=soon,vttablett=13.0"); err == nil || len(err.(config.Problems)) != 2 {
		t.Errorf("not all is told at once: %v", err)
	}
}

// What stays inside a place is met there alone; what is known of less may be anywhere.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		product, state, bad string
	}{
		{"kubernetes", "kubelet@n1=1.33,kube-proxy@n1=1.29", "kube-proxy 1.29 in n1 may not meet kubelet 1.33 in n1: .* in the same node"},
		{"kubernetes", "kubelet@n1=1.33,kube-proxy@n2=1.29", ""},
		{"kubernetes", "kubelet@n1=1.33,kube-proxy=1.29", "kube-proxy 1.29 may not meet"},
		{"kubernetes", "kubelet@n1=1.33,kubelet@n2=1.29,kube-proxy@n2=1.29", ""},
		{"kubernetes", "kubelet@n1=1.33,apiserver@n2=1.29", "kubelet 1.33 in n1 may not meet apiserver 1.29 in n2"}, // goes everywhere
		{"vitess", "vttablet@zone1/100=14.0,mysqlctld@zone1/101=12.0", ""},
		{"vitess", "vttablet@zone1/100=14.0,mysqlctld@zone2=12.0", ""}, // no node of zone2 is one of zone1
		{"vitess", "vttablet@zone1/100=14.0,mysqlctld@zone1=12.0", "vttablet 14.0 in zone1/100 may not meet mysqlctld 12.0 in zone1"},
		{"vitess", "vttablet@zone1=14.0,mysqlctld@zone1/101=12.0", "may not meet"},
		{"vitess", "vttablet=14.0,mysqlctld@zone1/101=12.0", "may not meet"},
		{"vitess", "vtgate@zone1=14.0,vttablet@zone2=12.0", "vtgate 14.0 in zone1 may not meet vttablet 12.0 in zone2"}, // primaries are called in every cell
	} {
		p, err := Builtin(c.product)
		if err != nil {
			t.Fatal(err)
		}
		s, err := p.ParseState(c.state)
		if err != nil {
			t.Fatal(err)
		}
		_, bad, err := p.Check(s)
		if err != nil || (c.bad == "") != (len(bad) == 0) {
			t.Errorf("%s: %v, %v", c.state, bad, err)
			continue
		}
		for i, part := range strings.Split(c.bad, ".*") {
			if c.bad != "" && !strings.Contains(bad[0].String(), part) {
				t.Errorf("%s: %s (%d)", c.state, bad[0], i)
			}
		}
	}
}
