package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// TestContractCampaign: a contract campaign is of clusters that have the new version already, says that there is no way back, and ends.
func TestContractCampaign(t *testing.T) {
	c := parseFile(t, "../../examples/rolling/contract.yaml")
	if !c.Contracts() || c.Rolls() || !c.OfEngines() || c.Contract.Window != 7*24*time.Hour || c.Rolling != (Rolling{}) || c.Switch != (Switch{}) {
		t.Errorf("got %+v", c)
	}
	f := rollingFleet(t)
	if p := PlanOf(c, f, planDay); len(p.Findings) != 1 || !strings.Contains(p.Findings[0].Hint, "end the upgrade to 1.1 first") {
		t.Errorf("before the upgrade: %v", p.Findings)
	}
	for i := range f.Environments {
		for k := range f.Environments[i].Clusters {
			f.Environments[i].Clusters[k].Cells[0].Version = "1.1"
		}
	}
	p := PlanOf(c, f, planDay)
	var b strings.Builder
	if err := p.WriteText(&b); err != nil || len(p.Findings) > 0 || p.NoReturn != strategy.StageContract {
		t.Errorf("after it: %v, %v", p.Findings, err)
	}
	for _, want := range []string{"what only 1.0 used", "open for 7d", "what is dropped is gone"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the plan does not say %q:\n%s", want, b.String())
		}
	}
	// An old node holds it, whatever the file of the fleet says.
	c = plain()
	c.Strategy, c.Product, c.From, c.To, c.Environments, c.FromCell, c.ToCell = "contract", "camunda", "7.20", "7.21", []string{"qa"}, "", ""
	for version, want := range map[string]string{"7.21.4": "", "7.20.9": CodeVersion} {
		w := world(c, "qa/a")
		w.Clusters[0].Seen = []Seen{{Role: fleet.RoleServing, Version: version}}
		w.Clusters[0].Looked, w.Clusters[0].Received = wednesday, wednesday
		d := Decide(w, wednesday)[0]
		if got := d.Start == strategy.StageProveUnused; got != (want == "") {
			t.Errorf("%s: %+v %+v", version, d, d.Hold)
		}
		if want != "" && (d.Hold == nil || d.Hold.Reasons[0].Code != want) {
			t.Errorf("%s: %+v %+v", version, d, d.Hold)
		}
	}
}
