package state

import (
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// whileWriting does something, and tells the longest that another server's smallest write waited for its turn meanwhile.
func whileWriting(t *testing.T, other *Store, do func() error) (took, waited time.Duration) {
	t.Helper()
	begun, over, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		for first := true; ; first = false {
			began := time.Now()
			err := other.update(ctx, func(*sql.Tx) error { return nil })
			waited = max(waited, time.Since(began))
			if first {
				waited = 0
				close(begun)
			}
			select {
			case <-over:
				ended <- err
				return
			default:
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	<-begun
	began := time.Now()
	err := do()
	took = time.Since(began)
	close(over)
	must(t, <-ended)
	must(t, err)
	return took, waited
}

// Over a fleet of 10,000 clusters nothing that a server does by itself, and no file that is applied, keeps every other write waiting for long (trap 7).
// The figures of docs/design/state.md are this test's.
func TestNobodyWaitsLongForTheTurnToWrite_trap7(t *testing.T) {
	s, c, path := world(t, 1)
	other := openAt(t, path, c)
	env := fleet.Environment{Name: "prod"}
	codes := map[string]string{}
	var refs []fleet.ClusterRef
	for i := range 10000 {
		cl := fleet.Cluster{Name: fmt.Sprintf("n%05d", i), Env: "prod", Product: "mariadb", Record: fmt.Sprintf("n%05d.", i)}
		for j, cell := range []string{"blue", "green"} {
			at := fmt.Sprintf("10.%d.%d.%d:", j, i/250, i%250+1)
			cl.Cells = append(cl.Cells, fleet.Cell{Name: cell, Version: "10.11", Nodes: []fleet.Node{{Name: cell + "-1", Address: at + "3306"}, {Name: cell + "-2", Address: at + "3307"}},
				Gateway: &fleet.Gateway{Name: cell + "-gateway", Address: at + "4000", Admin: "http://" + at + "4002"}})
		}
		env.Clusters = append(env.Clusters, cl)
		refs = append(refs, cl.Ref())
		codes[cl.Name] = campaign.CodeApproval
	}
	big := campaign.Campaign{Name: "big", Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: []string{"prod"}, FromCell: "blue", ToCell: "green", Schedule: campaign.Schedule{Always: true}, Limits: campaign.Limits{PerStage: 50}}
	for _, x := range []struct {
		what string
		do   func() error
	}{
		{"a fleet's file is applied", func() error {
			return s.ApplyFleet(ctx, fleet.Fleet{Name: "big", Environments: []fleet.Environment{env}}, "me")
		}},
		{"a campaign is applied", func() error { return s.ApplyCampaign(ctx, big, refs, "me") }},
		{"a campaign is applied again", func() error { return s.ApplyCampaign(ctx, big, slices.Clone(refs), "me") }},
		{"a look that tells of 10,000 holds", func() error { return s.TellHolds(ctx, "big", holding(codes)) }},
		{"a look that changes nothing", func() error { return s.TellHolds(ctx, "big", holding(codes)) }},
		{"a launch that starts 50, and 10,000 holds are over", func() error {
			l, err := s.Launch(ctx, "big", "2026-11-23", "me", next(50))
			if err == nil && len(l.Started) != 50 {
				err = fmt.Errorf("%d started", len(l.Started))
			}
			return err
		}},
	} {
		took, waited := whileWriting(t, other, x.do)
		t.Logf("%-52s %6d ms, another write waited %6d ms", x.what, took.Milliseconds(), waited.Milliseconds())
	}
}
