package state

import (
	"errors"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// What a refused rollback says is gone is what the strategy's last stage took away.
func TestBehindThePointOfNoReturn(t *testing.T) {
	for name, want := range map[string]string{"bluegreen": "its old cell", "inplace": "its last node of the old version", "rolling": "the features of 2.0 are open", "contract": "what only the old version used is dropped"} {
		st, ok := strategy.ByName(name)
		if !ok {
			t.Fatalf("no strategy %s", name)
		}
		last := st.Stages[len(st.Stages)-1].Name
		err := RollbackAllowed(campaign.Campaign{Strategy: name, To: "2.0"}, campaign.Progress{Ref: fleet.ClusterRef{Env: "qa", Name: "a"}, Stage: last}, "")
		var refused *Refused
		if !errors.As(err, &refused) || !strings.Contains(refused.What, want) {
			t.Errorf("%s: %v, want %q in it", name, err, want)
		}
	}
}
