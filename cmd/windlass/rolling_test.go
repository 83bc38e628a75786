package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// TestAnEngineGoesToTheNextVersion is C1 to C7 as a user does it: three files, a server, a supervisor that has nothing but engines. Every stage
// runs on real nodes under load, back to the beginning and forth again; what the commands say beside it is true.
func TestAnEngineGoesToTheNextVersion(t *testing.T) {
	t.Parallel()
	s := newEngineSite(t, engineKind{nodes: 4})
	campaign := s.campaignFile(t, "approve: [nodes, finalize]\n")
	plan := windlass(t, "plan", "-f", campaign, "-f", s.fleetFile)
	if <-plan.done; plan.code != 0 {
		t.Fatalf("plan exits with %d: %s", plan.code, plan.text())
	}
	for _, want := range []string{"1. canary: jobs-1 (a)", "2. jobs-3 (b), jobs-2 (a)", "3. jobs-4 (b)", "from the beginning of finalize on", "schema stays, and 1.0 works on it"} {
		if !strings.Contains(plan.text(), want) {
			t.Errorf("the plan does not say %q: %s", want, plan.text())
		}
	}
	s.ran(t, 0, "apply", "-f", s.fleetFile, "-f", campaign)
	agent := windlass(t, "supervisor", "--config", s.supervisorFile)
	on := s.on(t)
	s.losesItsCanary(t, agent)
	end := s.ask(t)
	s.ran(t, 0, "resume", "qa/jobs", "--why", "the test goes on", "--yes")
	s.ran(t, 0, "approve", "qa/jobs", "--stage", "nodes", "--why", "the test looked", "--yes")
	s.until(t, agent, "every node is on the new version", func(st api.ClusterStatus) bool { return on(st, strategy.StageNodes, "1.1.0") })
	if why := s.ran(t, 3, "why", "qa/jobs"); !strings.Contains(why, "finalize") || !strings.Contains(why, "approv") {
		t.Errorf("why says %s", why)
	}

	if file := s.ran(t, 0, "fleet", "export"); !strings.HasPrefix(file, "# qa/jobs: the inventory says 1.0, and at ") || !strings.Contains(file, " its nodes were seen on 1.1.0; ") {
		t.Errorf("the exported fleet says: %s", file)
	}
	s.ran(t, 0, "rollback", "qa/jobs", "--why", "the test goes back", "--yes")
	st := s.until(t, agent, "every node is back on the old version", func(st api.ClusterStatus) bool { return on(st, "", "1.0.0") })
	column, open := 0, 0
	if err := s.db.QueryRow("SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'job' AND column_name = 'priority'").Scan(&column); err != nil || column != 1 {
		t.Errorf("the expanded schema: %d, %v", column, err)
	}
	if st.Cluster.Cells[0].Version != "1.0" {
		t.Errorf("the inventory says %+v", st.Cluster.Cells[0])
	}

	s.ran(t, 0, "resume", "qa/jobs", "--why", "the test goes on", "--yes")
	s.until(t, agent, "every node is on the new version again", func(st api.ClusterStatus) bool { return on(st, strategy.StageNodes, "1.1.0") })
	if err := s.db.QueryRow("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'windlass_features'").Scan(&open); err != nil || open != 0 {
		t.Errorf("features were opened early: %d, %v", open, err)
	}
	if _, err := s.db.Exec("UPDATE job SET priority = 7 WHERE id = (SELECT MIN(id) FROM job)"); err != nil { // as a new node that does not ask would
		t.Fatal(err)
	}
	s.ran(t, 0, "approve", "qa/jobs", "--stage", "finalize", "--why", "the test looked", "--yes")
	st = s.until(t, agent, "the campaign has arrived", func(st api.ClusterStatus) bool { return on(st, strategy.StageFinalize, "1.1.0") })
	if st.Cluster.Cells[0].Version != "1.1" {
		t.Errorf("the inventory says %+v", st.Cluster.Cells[0])
	}
	if err := s.db.QueryRow("SELECT COUNT(*) FROM windlass_features WHERE version = '1.1'").Scan(&open); err != nil || open != 1 {
		t.Errorf("the features are open: %d, %v", open, err)
	}
	if early := "features of 1.1 are in use before they are open: priorities (1)"; !told(st, early) || !strings.Contains(agent.text(), "features are used early") {
		t.Errorf("nobody is told of a feature that is used early: %+v; the supervisor said %s", st.Actions, agent.text())
	}
	if file := s.ran(t, 0, "fleet", "export"); strings.Contains(file, "#") || !strings.Contains(file, "version: 1.1") && !strings.Contains(file, `version: "1.1"`) {
		t.Errorf("the exported fleet says, at the end: %s", file)
	}
	if events := s.ran(t, 0, "events", "--cluster", "qa/jobs"); !strings.Contains(events, "features-early") {
		t.Errorf("no event says so: %s", events)
	}
	n, failed := end()
	if n == 0 || len(failed) > 0 {
		t.Errorf("of %d requests %d failed: %v", n, len(failed), failed)
	}
	t.Logf("%d requests", n)
	b, err := os.ReadFile(filepath.Join(s.dir, "jobs.dsn"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(agent.text(), string(b)) {
		t.Error("the supervisor tells the data source name")
	}
	s.contracts(t, agent)
}

// losesItsCanary ends the first node's process while its stage is over and nobody acts: it goes back by itself, and waits for a person.
func (s *engineSite) losesItsCanary(t *testing.T, agent *program) {
	t.Helper()
	on := s.on(t)
	s.until(t, agent, "the first node serves on the new version", func(st api.ClusterStatus) bool {
		return st.Progress != nil && st.Progress.Stage == strategy.StageCanary && st.Progress.Action == nil && slices.Contains(served(st), "1.1.0")
	})
	if err := (service.Local{Root: filepath.Join(s.dir, "nodes")}).Process(s.cluster.Ref(), s.cluster.Cells[0].Nodes[0]).Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := s.until(t, agent, "it is back on the old version", func(st api.ClusterStatus) bool { return on(st, strategy.StageExpandSchema, "1.0.0") })
	if !strings.Contains(st.Progress.Attention, "rolled back to expand-schema") {
		t.Errorf("it waits for %q", st.Progress.Attention)
	}
	if events := s.ran(t, 0, "events", "--cluster", "qa/jobs"); !strings.Contains(events, "the first node does not serve on 1.1 any more: jobs-1 does not run") {
		t.Errorf("no event says why: %s", events)
	}
}

// on tells whether the cluster is behind a stage, and every node serves on the version.
func (s *engineSite) on(t *testing.T) func(st api.ClusterStatus, stage, version string) bool {
	return func(st api.ClusterStatus, stage, version string) bool {
		p := st.Progress
		if p != nil && p.Failure != nil {
			t.Fatalf("it stops: %+v", p.Failure)
		}
		return p != nil && p.Stage == stage && p.Action == nil && slices.Equal(served(st), slices.Repeat([]string{version}, s.kind.nodes))
	}
}

// told tells whether a check of any step of the cluster's actions says something.
func told(st api.ClusterStatus, text string) bool {
	return slices.ContainsFunc(st.Actions, func(a state.ActionInfo) bool {
		return slices.ContainsFunc(a.Steps, func(r engine.StepRecord) bool {
			return strings.Contains(r.Message, text) || slices.ContainsFunc(r.Checks, func(c check.Result) bool { return strings.Contains(c.Detail, text) })
		})
	})
}

// contracts takes away what only the old version used, as a user does it when the upgrade is over: not while a node is back on the old version, not
// before the rollback window is over, and then from the real database. (C2)
func (s *engineSite) contracts(t *testing.T, agent *program) {
	t.Helper()
	indexes := func() (n int) {
		t.Helper()
		if err := s.db.QueryRow("SELECT COUNT(*) FROM pg_indexes WHERE indexname = 'job_due'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	turn := func(version string) {
		t.Helper()
		const over = 1 << 40 // a hand that no supervisor knows of
		n := s.cluster.Cells[0].Nodes[0]
		if err := errors.Join(s.nodes.Stop(t.Context(), s.cluster, n, over), s.nodes.Start(t.Context(), s.cluster, n, version, over)); err != nil {
			t.Fatal(err)
		}
	}
	turn("1.0")
	s.until(t, agent, "an old node is seen", func(st api.ClusterStatus) bool { return slices.Contains(served(st), "1.0.0") })
	s.ran(t, 0, "apply", "-f", put(t, 0o644, `kind: Campaign
version: 1
name: contract
strategy: contract
product: jobs
policy: jobs.yaml
from: 1.0
to: 1.1
environments: [qa]
schedule: {always: true, every: 1s}
contract: {window: 1h}
`, s.dir, "contract.yaml"))
	s.until(t, agent, "it is held for the old node", func(st api.ClusterStatus) bool {
		d := st.Decision
		return st.Campaign == "contract" && d != nil && d.Hold != nil && slices.ContainsFunc(d.Hold.Reasons, func(r campaign.Reason) bool {
			return strings.Contains(r.Message, "a node serves on 1.0")
		})
	})
	turn("1.1")
	s.until(t, agent, "it waits for the rollback window", func(st api.ClusterStatus) bool { return told(st, "the rollback window of 1h0m0s ends at") })
	if indexes() != 1 {
		t.Error("something was taken away before the rollback window was over")
	}
	if _, err := s.db.Exec("UPDATE windlass_features SET opened_at = opened_at - INTERVAL '2 hours'"); err != nil {
		t.Fatal(err)
	}
	s.until(t, agent, "the contract campaign has arrived", func(st api.ClusterStatus) bool {
		return st.Campaign == "contract" && s.on(t)(st, strategy.StageContract, "1.1.0")
	})
	if indexes() != 0 {
		t.Error("what only 1.0 used is still there")
	}
}

// TestAnEngineBehindNginx is the same behind nginx, with nodes that are asked for their health by gRPC, and told to open their features.
func TestAnEngineBehindNginx(t *testing.T) {
	t.Parallel()
	s := newEngineSite(t, engineKind{nodes: 2, nginx: true, grpc: true, gates: true})
	s.ran(t, 0, "apply", "-f", s.fleetFile, "-f", s.campaignFile(t, ""))
	end := s.ask(t)
	agent := windlass(t, "supervisor", "--config", s.supervisorFile)
	st := s.until(t, agent, "the campaign has arrived", func(st api.ClusterStatus) bool { return s.on(t)(st, strategy.StageFinalize, "1.1.0") })
	if told(st, "are in use before") || told(st, "is not known") || !told(st, "no feature of 1.1 is in use yet") {
		t.Errorf("nothing is used early, and that is known: %+v", st.Actions)
	}
	for _, n := range s.cluster.Cells[0].Nodes {
		resp, err := http.Get("http://" + n.Address + "/priorities")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers what is open now with %s", n.Name, resp.Status)
		}
	}
	n, failed := end()
	if n == 0 || len(failed) > 0 {
		t.Errorf("of %d requests %d failed: %v", n, len(failed), failed)
	}
	t.Logf("%d requests", n)
}
