package seed

import (
	"context"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// TestSeedUnderLoad copies while the primary is written to, starts replication from the copy's position and finds both
// versions equal. trap 33
func TestSeedUnderLoad(t *testing.T) {
	w := newWorld(t, true)
	stop := load(t, w.primary)
	s := w.seeder(t, nil)
	saves := 0
	err := s.Seed(t.Context(), w.request(), nil, func(_ context.Context, st any, progress float64, msg string) error {
		saves++
		t.Logf("%.2f %s", progress, msg)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	done, res, err := s.Seeded(t.Context(), w.request())
	if err != nil || !done || !res.OK() {
		t.Fatalf("seeded: %v %v %v", done, res, err)
	}
	t.Log(res)
	if got := one(t, w.green.Admin, "SELECT @@global.gtid_binlog_pos"); got != "" {
		t.Errorf("the copy has transactions of its own: %s", got)
	}
	follow(t, w.green, w.primary)
	n := stop()
	w.green.CatchUp(t, w.primary)
	t.Logf("%d statements meanwhile, %d saves", n, saves)
	sameRows(t, w.primary, w.green)
	_ = processtest.AppUser
}
