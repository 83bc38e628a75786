package policy

import (
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
)

// A bridge is for its product, its releases and its builds.
func TestMisfit(t *testing.T) {
	p := builtin(t, "vitess")
	good := Bridge{Name: "b", Product: "vitess", From: "5.0", To: "14.0", Builds: []string{"5.0.1-shop3", "v14.0.2"}}
	if why := p.Misfit(good); why != "" {
		t.Errorf("misfit: %s", why)
	}
	for want, change := range map[string]func(b *Bridge){
		"for the product mysql":            func(b *Bridge) { b.Product = "mysql" },
		"of no release":                    func(b *Bridge) { b.From = "1.0" },
		"does not name the two builds":     func(b *Bridge) { b.Builds = b.Builds[:1] },
		"build v14.0.2 is not of the rele": func(b *Bridge) { b.To = "13.0" },
		"5.0.9 is another build than 5.0.": func(b *Bridge) { b.From = "5.0.9" },
		"14.0.21 is another build":         func(b *Bridge) { b.To = "14.0.21" },
		"14.0-beta is another build":       func(b *Bridge) { b.To = "14.0-beta" },
		"does not go from an older":        func(b *Bridge) { b.From, b.To, b.Builds = "14.0", "5.0", []string{"14.0.1", "5.0.1"} },
	} {
		b := good
		change(&b)
		if why := p.Misfit(b); !strings.Contains(why, want) {
			t.Errorf("misfit by %q, want %q", why, want)
		}
		if len(p.Bridged([]Bridge{b}).bridged) > 0 {
			t.Errorf("%s: it joins releases all the same", want)
		}
	}
	on := p.Bridged([]Bridge{good})
	if pairs, bad, err := on.Check(State{Present: state("vtgate=5.0", "vttablet=14.0")}); err != nil || len(bad) > 0 || !strings.HasSuffix(pairs[0].Rule.Text, "; the bridge b makes them neighbours") {
		t.Errorf("the ends of the bridge: %v %v %v", pairs, bad, err)
	}
	if _, bad, err := on.Check(State{Present: state("vtgate=14.0", "vttablet=5.0")}); err != nil || len(bad) != 1 || bad[0].Rule.ID != "order[0]" {
		t.Errorf("a bridge leaps over the order of what it leaps over: %v %v", bad, err)
	}
	if _, bad, _ := on.Check(State{Present: state("vtgate=14.0", "vttablet=6.0")}); len(bad) == 0 {
		t.Error("a release between the ends is legal")
	}
	if len(p.bridged) > 0 {
		t.Error("the product itself was changed")
	}
	for version, want := range map[string]bool{"5.0.1-shop3": false, "5.0.1-shop31": true, "14.0.2": false, "14.0.21": true, "6.0": false, "nonsense": false} {
		if why := p.OtherBuild(good, version); (why != "") != want {
			t.Errorf("%s: %q", version, why)
		}
	}
}

func TestLint(t *testing.T) {
	for _, name := range Names() {
		if found := builtin(t, name).Lint(); len(found) > 0 {
			t.Errorf("%s: %v", name, found)
		}
	}
	p, err := Parse(config.Source{Name: "ring.yaml", Text: []byte(strings.Replace(cyclic, "{name: c, layer: one}]", "{name: c, layer: one}, {name: lonely, layer: one}]", 1))})
	if err != nil {
		t.Fatal(err)
	}
	p.Skews = append(p.Skews[:0], Skew{From: "a", To: "c", Releases: Range{0, 2, ""}})
	var got []string
	for _, f := range p.Lint() {
		got = append(got, f.String())
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"no rule speaks of lonely", "no upgrade is possible from 1 to 2", "no skew rule speaks of a and b", "a call from a to c that there is not"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not found in\n%s", want, all)
		}
	}
}

// What makes a policy useless in one place is told there, and what is well is not.
func TestLintPlaces(t *testing.T) {
	const good = `kind: Product
version: 1
name: shop
releases: ["1", "2", "3"]
layers: [app, data]
components: [{name: app, layer: app}, {name: store, layer: data}]
calls: [{from: app, to: store, source: ours}]
skew: [{callee_older: 1, callee_newer: 1, source: ours}]
hops: {to: next, source: ours}
`
	for _, c := range []struct{ old, new, want string }{
		{"", "", ""},
		{`"1", "2", "3"`, `"1"`, `releases: no upgrade is possible: 1 is the only release`},
		{`layer: data}]`, `layer: data}, {name: lonely, layer: app}]`, `components[2]: no rule speaks of lonely`},
		{"calls: [", "calls: [{from: helper, to: helper, source: ours}, ", ""},
		{"layers: [app, data]", "layers: [app, data, ghost]", `layers[2]: no component is of the layer ghost`},
		{"hops:", "order: [{order: any, canary: data, source: ours}]\nhops:", ""},
		{`layer: data}]`, `layer: data, single: true}]` + "\norder: [{order: any, canary: data, source: ours}]", `order[0].canary: no canary can go first: the layer data`},
		{"hops:", "innovation: [\"2\"]\nhops:", `innovation: no hop goes over an innovation release`},
		{"to: next", "to: next, over_innovation: 1", `hops.over_innovation: no release is an innovation release`},
		{"skew: [", "innovation: [\"2\"]\nskew: [{from: app, to: store, releases: \">=2 <3\", callee_older: 0, callee_newer: 0, source: its makers close it}, {from: app, to: store, releases: \">=3\", callee_older: 1, callee_newer: 1, source: ours}, ", `no hop goes over`},
	} {
		text := strings.Replace(good, c.old, c.new, 1)
		if strings.Contains(c.new, "helper") { // an island
			text = strings.Replace(text, "layer: data}]", "layer: data}, {name: helper, layer: app}]", 1)
			c.want = `components[2]: no rule joins helper to app`
		}
		p, err := Parse(config.Source{Name: "shop.yaml", Text: []byte(text)})
		if err != nil {
			t.Fatalf("%s: %v", c.new, err)
		}
		var got []string
		for _, f := range p.Lint() {
			got = append(got, f.Path+": "+f.Message)
			if f.Hint == "" {
				t.Errorf("%s: it does not say what to do", f.Message)
			}
		}
		if all := strings.Join(got, "\n"); c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: %q, want %q", c.new, all, c.want)
		}
	}
	// A release that may be jumped over may be closed: nobody has to go there. One that may not be is found.
	closed := strings.Replace(good, "skew: [", `skew: [{from: app, to: store, releases: ">=2 <3", callee_older: 0, callee_newer: 0, source: its makers close it}, `, 1)
	over := strings.Replace(closed, "to: next", "to: next, over_innovation: 1", 1) + "innovation: [\"2\"]\n"
	for text, want := range map[string]string{closed: "no upgrade is possible from 1 to 2", over: "", strings.Replace(over, ">=2 <3", ">=2", 1): "no upgrade is possible from 1 to 2, nor over one further hop"} {
		p, err := Parse(config.Source{Name: "shop.yaml", Text: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, f := range p.Lint() {
			got += f.Message + "\n"
		}
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// What contradicts itself is told before anything is judged by it.
func TestContradictionsInOnePlace(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"{to: next", "{to: any, over_innovation: 1"}:                   `hops.over_innovation: a hop to any release`,
		{"callee_older: 1", `releases: ">=1 >=2", callee_older: 1`}:     `skew[0].releases: two bounds of ">=1 >=2" begin with >=`,
		{"{name: b, layer: one}", "{name: b, layer: one, stays: true}"}: `components[1].stays: only what there is one of can stay`,
		{"hops:", "newer: [{who: a, than: a, source: s}]\nhops:"}:       `newer[0].than: a is never older than itself, which says nothing`,
	} {
		text := strings.Replace(cyclic, change[0], change[1], 1)
		if _, err := Parse(config.Source{Name: "x.yaml", Text: []byte(text)}); text == cyclic || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got\n%v\nwant %s", change[1], err, want)
		}
	}
}
