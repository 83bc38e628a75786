package supervisor_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/driver/mysql"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// trap 39, on real servers: somebody upgraded the primary by hand, and its old replica follows it. No step begins; the row names the pair, the rule and
// its source. When the replica is taken out, the step begins by itself.
func TestAStepWaitsWhileRealServersAreOnVersionsThatMayNotMeet(t *testing.T) {
	primary, replica := processtest.Pair(t, "11.8", "10.11", processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2"))
	d, err := mysql.New(mysql.Config{
		Admin: mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)}, Replication: mysql.Account{User: processtest.AdminUser, Password: mysql.Fixed(processtest.AdminPassword)},
		WithoutGateways: true, BootsReadOnly: func(context.Context, fleet.Node) (bool, error) { return true, nil }, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := campaign.Defaults()
	c.Name, c.Product, c.From, c.To = "up", "mariadb", "10.11", "11.8"
	journal := enginetest.NewMemory(time.Now)
	journal.Add(engine.Assignment{ActionID: 1, LeaseTTL: time.Minute, Campaign: c,
		Cluster: fleet.Cluster{Env: "qa", Name: "orders", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "blue-1", Address: primary.Address()}, {Name: "blue-2", Address: replica.Address()}}}}},
		Plan:    strategy.Plan{Strategy: "bluegreen", Stage: strategy.StageCreate, Direction: strategy.Forward, Steps: []strategy.Step{{Kind: strategy.ProvisionNodes, Version: 1, Does: "start empty nodes", Undoes: "delete them", Deadline: time.Minute}}}})
	made := false
	hs, err := engine.NewHandlers(engine.Handler{Kind: strategy.ProvisionNodes, Version: 1, Forward: engine.Act{
		Observe: func(context.Context, *engine.Call) (engine.Observation, error) {
			return engine.Observation{There: made}, nil
		},
		Do: func(context.Context, *engine.Call) (engine.Result, error) { made = true; return engine.Result{}, nil },
	}})
	if err != nil {
		t.Fatal(err)
	}
	a, ok := journal.Lease(1)
	if !ok {
		t.Fatal("not leased")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := engine.Run(ctx, journal, hs, a, engine.Options{RetryMin: 50 * time.Millisecond, RetryMax: 200 * time.Millisecond, LeasedAt: time.Now(),
			Gate: supervisor.Guard{Storage: d, Now: time.Now}.Before})
		ended <- err
	}()
	processtest.Until(t, time.Minute, "the step is held", func() bool { return len(journal.Rows()) > 0 })
	first := journal.Rows()[0].Record
	for _, part := range []string{"held before it begins: versions-by-policy (fail): versions that may not run side by side were seen: replica 10.11.", " may not meet source 11.8.", "replica is never older than source (newer[0]: MariaDB documentation", "is brought to one that the policy allows, or taken out of the cluster"} {
		if !first.Held || !strings.Contains(first.Message, part) {
			t.Errorf("held %v: %q lacks %q", first.Held, first.Message, part)
		}
	}
	replica.Exec(t, "STOP SLAVE")
	replica.Exec(t, "RESET SLAVE ALL") // the way on
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if outcome, message := journal.Ended(1); outcome != engine.Completed || !made {
		t.Errorf("%s: %s", outcome, message)
	}
	for _, r := range journal.Rows() {
		if r.Record.Held && r.Record.Phase != engine.Waiting {
			t.Errorf("%+v", r.Record)
		}
	}
}
