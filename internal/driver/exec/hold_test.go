package exec_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// replicas is a Storage that sees a read-only replica at every address.
type replicas struct{ bluegreen.Storage }

func (replicas) Observe(_ context.Context, c fleet.Cluster) (fleet.Observation, error) {
	o := fleet.Observation{At: time.Now()}
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			o.Nodes = append(o.Nodes, fleet.NodeObservation{Cell: cell.Name, Node: n.Name, Address: n.Address, Version: "11.8.6-MariaDB", Role: fleet.RoleReplica})
		}
	}
	return o, nil
}

// TestUnknownHolds runs the step that makes nodes with a program that says nonsense: the step waits, says why, and does not act;
// once the program speaks, it goes on by itself.
func TestUnknownHolds(t *testing.T) {
	half := strings.TrimSuffix(running, "}}}")
	for name, c := range map[string]struct{ nonsense, why string }{
		"garbage":    {"echo 'Warning: region eu is slow'", "invalid character"},
		"half":       {"echo '" + half + "'", "not closed"},
		"oversized":  {"yes '" + running + "'", "more than 1048576 bytes"},
		"nothing":    {":", "wrote nothing"},
		"a failure":  {"echo 'the API does not answer' >&2; exit 1", "the API does not answer"},
		"a signal":   {"kill -9 $$", "killed"},
		"no end":     {"sleep 60", "did not end within"},
		"left open":  {"sleep 2 & exit 0", "setsid"},
		"other term": {"exit 3", "exit status 3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			// made is what create leaves; well tells whether the program speaks.
			p, _ := script(t, `read -r q; d='`+dir+`'
case $q in *'"verb":"create"'*) echo create >>"$d/creates"; [ -e "$d/well" ] && : >"$d/made";; esac
if [ ! -e "$d/well" ]; then
`+c.nonsense+`
elif [ -e "$d/made" ]; then
  t=${q##*'"term":'}; echo '`+running+`' | sed "s/\"term\":7/\"term\":${t%%[!0-9]*}/"
else
  echo '{"protocol":1,"term":0,"state":{"exists":false}}'
fi`, func(c *exec.Config) {
				if name == "no end" {
					c.Observe = 2 * time.Second
				}
			})
			handlers, err := engine.NewHandlers(bluegreen.Handlers(bluegreen.Ports{Provisioner: p, Storage: replicas{}})...)
			if err != nil {
				t.Fatal(err)
			}
			plan, ok := strategy.BlueGreen().Expand(strategy.BlueGreen().Stages[0].Name, strategy.Forward)
			if !ok || plan.Steps[0].Kind != strategy.ProvisionNodes {
				t.Fatalf("the first step is %+v", plan.Steps[0])
			}
			plan.Steps = plan.Steps[:1]
			m := enginetest.NewMemory(time.Now)
			m.Add(engine.Assignment{ActionID: 1, LeaseTTL: time.Minute, Plan: plan,
				Campaign: campaign.Campaign{Name: "raise", Product: "mariadb", From: "10.11", To: "11.8", FromCell: "blue", ToCell: "green", Nodes: 1},
				Cluster:  fleet.Cluster{Name: "orders", Env: "qa", Product: "mariadb", Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "b1", Address: "10.0.0.7:3306"}}}}}})
			a, ok := m.Lease(1)
			if !ok {
				t.Fatal("no lease")
			}
			done := make(chan error, 1)
			go func() {
				_, err := engine.Run(within(t), m, handlers, a, engine.Options{RetryMin: 10 * time.Millisecond, RetryMax: 50 * time.Millisecond})
				done <- err
			}()
			step := func() engine.StepRecord {
				a, _, _ := m.Action(1)
				if len(a.Steps) == 0 {
					return engine.StepRecord{}
				}
				return a.Steps[0]
			}
			processtest.Until(t, time.Minute, "it holds and says why", func() bool {
				return strings.HasPrefix(step().Message, "unknown, so it holds: ") && strings.Contains(step().Message, c.why)
			})
			if s := step(); s.Phase != engine.Waiting {
				t.Errorf("the step is %s", s.Phase)
			}
			if b, err := os.ReadFile(filepath.Join(dir, "creates")); err == nil {
				t.Errorf("it acted on what it does not know: %q", b)
			}
			if err := os.WriteFile(filepath.Join(dir, "well"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if outcome, message := m.Ended(1); outcome != engine.Completed {
				t.Errorf("%s: %s; %s", outcome, message, step().Message)
			}
		})
	}
}
