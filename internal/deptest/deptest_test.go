// Package deptest holds the edges between packages that must not be, each with its reason.
package deptest

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/windlass-db/windlass/"

// rule forbids packages to whoever stands in who, with all that they bring along.
type rule struct {
	who   string   // a package, or a folder and all below it: "internal/driver/..."
	never []string // the same
	why   string
}

var rules = []rule{
	{"cmd/windlass-gateway", []string{"internal/engine", "internal/state", "internal/server", "internal/campaign", "internal/bluegreen", "internal/strategy", "internal/fleet", "internal/driver/..."},
		"the data plane is small, and a release of the control plane never restarts it"},
	{"internal/gateway/...", []string{"internal/engine", "internal/state", "internal/campaign"}, "the gateway knows nothing of campaigns"},
	{"cmd/windlass-gateway", []string{"internal/capture/store", "internal/replay/...", "gocloud.dev/..."}, "the gateway writes files into a folder; who ships and replays them is another process"},
	{"internal/capture/...", []string{"internal/engine", "internal/state", "internal/server", "internal/campaign", "internal/bluegreen", "internal/driver/..."}, "a capture knows nothing of campaigns"},
	{"internal/replay/...", []string{"internal/engine", "internal/state", "internal/server", "internal/campaign", "internal/bluegreen"}, "a replay runs the same by hand and in a campaign"},
	{"internal/replay/judge", []string{"database/sql", "net/http", "os/exec", "internal/replay/run", "internal/replay/session"}, "a verdict is pure: it is given what was counted, rules and a time"},
	{"internal/wire", []string{"internal/..."}, "framing is shared by gateway and replay, and knows nothing else"},
	{"internal/campaign", []string{"internal/engine", "internal/state", "internal/api", "internal/server", "internal/driver/...", "database/sql", "net/http", "os/exec"}, "Decide is pure: it is given a snapshot and a time"},
	{"internal/strategy", []string{"internal/..."}, "a strategy is data"},
	{"internal/policy", []string{"internal/engine", "internal/state", "internal/api", "internal/server", "internal/driver/...", "database/sql", "net/http"}, "a proof needs no world"},
	{"internal/engine", []string{"internal/state", "internal/api", "internal/server", "internal/driver/...", "internal/bluegreen", "database/sql", "net/http"}, "the engine runs the same over the state, the API and the simulation"},
	{"internal/bluegreen", []string{"internal/state", "internal/server", "internal/driver/...", "database/sql"}, "handlers decide, drivers act"},
	{"internal/inplace", []string{"internal/state", "internal/server", "internal/driver/...", "database/sql"}, "handlers decide, drivers act"},
	{"internal/rolling", []string{"internal/state", "internal/server", "internal/driver/...", "database/sql"}, "handlers decide, drivers act"},
	{"internal/switchover", []string{"internal/bluegreen", "internal/inplace", "internal/rolling", "internal/state", "internal/server", "internal/driver/..."}, "a strategy has a switch, a switch has no strategy"},
	{"internal/state/...", []string{"internal/server", "internal/api", "internal/driver/...", "internal/bluegreen"}, "the state knows who reads it by its own interfaces only"},
	{"internal/server/...", []string{"internal/driver/...", "internal/gateway", "github.com/go-sql-driver/mysql"}, "the server can't reach a database: it has no password of any"},
	{"internal/driver/...", []string{"internal/state", "internal/server", "internal/launcher"}, "drivers act in the world; what they saw is reported by the supervisor"},
	{"cmd/...", []string{"testing"}, "a program that users run holds no test code"},
}

// all lists every package of ours with all that it brings along.
func all(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./cmd/...", "./internal/...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		found[strings.TrimPrefix(f[0], module)] = f[1:]
	}
	return found
}

// fits tells whether a package is the one that a pattern names, or below it if the pattern ends in "/...".
func fits(pattern, name string) bool {
	top, below := strings.CutSuffix(pattern, "/...")
	return name == top || below && strings.HasPrefix(name, top+"/")
}

// broken lists what the rule forbids and finds. who tells how many packages it is for.
func (r rule) broken(packages map[string][]string) (bad []string, who int) {
	for name, deps := range packages {
		if !fits(r.who, name) {
			continue
		}
		who++
		for _, d := range deps {
			short, ours := strings.CutPrefix(d, module)
			if !ours && strings.HasPrefix(d, "internal/") {
				continue // of the standard library
			}
			for _, n := range r.never {
				if fits(n, short) {
					bad = append(bad, name+" brings along "+short+": "+r.why)
				}
			}
		}
	}
	return bad, who
}

func TestEdgesThatMustNotBe(t *testing.T) {
	packages := all(t)
	for _, r := range rules {
		bad, who := r.broken(packages)
		if who == 0 {
			t.Errorf("no package fits %q: the rule is for nobody", r.who)
		}
		for _, b := range bad {
			t.Error(b)
		}
	}
}

func TestARuleThatIsBrokenIsSeen(t *testing.T) {
	r := rule{who: "internal/x/...", never: []string{"internal/state", "internal/driver/..."}, why: "so it is"}
	bad, who := r.broken(map[string][]string{
		"internal/x":   {"fmt", "internal/state", module + "internal/state", module + "internal/stateful"},
		"internal/x/y": {module + "internal/driver/dns"},
		"internal/xy":  {module + "internal/state"},
	})
	if len(bad) != 2 || who != 2 {
		t.Errorf("found %q in %d packages, want two in two", bad, who)
	}
}
