package campaign

import (
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Contract holds the settings of the contract strategy, which takes away what only the version From used.
type Contract struct {
	Window time.Duration `json:"window"` // since the features of To were opened: until then somebody may want to go back
}

// DefaultContract are the settings of a campaign that says nothing.
func DefaultContract() Contract { return Contract{Window: 7 * 24 * time.Hour} }

// Contracts tells whether the campaign takes away from engines' databases what only their old version used.
func (c Campaign) Contracts() bool { return c.Strategy == strategy.Contract().Name }

// OfEngines tells whether the campaign is of engines behind a load balancer, which have one cell, and not of databases.
func (c Campaign) OfEngines() bool { return c.Rolls() || c.Contracts() }

// fileContract is the shape of the key "contract".
type fileContract struct {
	Window time.Duration `yaml:"window" rule:"max=365d" doc:"how long the features of the new version have to be open before what only the old one used is dropped" example:"7d"`
}

// ofEngines gives a campaign of engines what follows from that: which keys mean nothing, whose defaults hold.
func ofEngines(f *file, r *config.Report) {
	if fleet.IsDatabase(f.Product) {
		r.At("strategy").Problem(config.CodeContradiction, fmt.Sprintf("the strategy %s is for nodes that serve alike behind a load balancer, and %s is a database", f.Strategy, f.Product), "write \"strategy: bluegreen\" or \"strategy: inplace\"")
	}
	for _, x := range []struct{ key, what string }{
		{"cells", "makes no cell: the nodes of a cluster are upgraded where they are"}, {"switch", "switches no primary"}, {"verify", "compares no two cells"}, {"replay", "replays no queries"}, {"record", "moves no DNS record"},
	} {
		if at := r.At(x.key); at.Given() {
			at.KeyProblem(config.CodeContradiction, "the strategy "+f.Strategy+" "+x.what, "remove it")
		}
	}
	f.Cells, f.Switch, f.Verify, f.Replay, f.Record = fileCells{}, fileSwitch{}, fileVerify{}, fileReplay{}, fileRecord{}
	soaks := defaultSoaks(f.Strategy)
	for name, d := range f.Soak.Stages {
		if r.At("soak", "stages", name).Given() {
			soaks[name] = d
		}
	}
	f.Soak.Stages = soaks
}

// contracts gives a campaign what follows from its strategy being contract, or not.
func contracts(f *file, r *config.Report) {
	if f.Strategy != strategy.Contract().Name {
		if at := r.At("contract"); at.Given() {
			at.KeyProblem(config.CodeContradiction, fmt.Sprintf("the strategy %s takes nothing away from an engine's database", f.Strategy), "remove it, or write \"strategy: contract\"")
		}
		f.Contract = fileContract{}
		return
	}
	ofEngines(f, r)
}

// checkContract looks whether every selected cluster is on the new version.
func (c Campaign) checkContract(selected []fleet.Cluster, add adder) {
	var cells, version named
	for _, cl := range selected {
		switch {
		case len(cl.Cells) != 1:
			cells.add(fmt.Sprintf("%s (%d)", cl.Ref(), len(cl.Cells)))
		case !fleet.HasVersion(cl.Cells[0].Version, c.To):
			version.add(cl.Ref().String() + " (" + cl.Cells[0].Version + ")")
		}
	}
	if cells.n > 0 {
		add("clusters", config.CodeContradiction, "put all nodes into one cell in the fleet, or exclude these clusters", "%s another number of cells than one: %s", have(cells.n), &cells)
	}
	if version.n > 0 {
		add("to", config.CodeContradiction, "end the upgrade to "+c.To+" first, or exclude these clusters", "%s another version than %s: %s", have(version.n), c.To, &version)
	}
}

// contractFacts are the plan's lines of a contract campaign.
func (c Campaign) contractFacts(t *planText) {
	t.fact("takes away", strings.Join([]string{"what only " + c.From + " used, by the migrations that are marked for it", "every node has to serve on " + c.To, "its features have to be open for " + human(c.Contract.Window)}, "; "))
}
