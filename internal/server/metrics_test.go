package server

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/notify"
	"github.com/windlass-db/windlass/internal/state"
)

// measuredWorld is a server whose fleet has gone through about everything that has a metric.
func measuredWorld(t *testing.T) (*Server, func(d time.Duration)) {
	t.Helper()
	now := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	store, err := state.Open(ctx, filepath.Join(t.TempDir(), "state.db"), state.Options{LeaseTTL: time.Second, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	sinks := notify.Config{Sinks: []notify.SinkConfig{{Name: "ops", Type: notify.TypeSlack, URLFile: filepath.Join(t.TempDir(), "no-such-file"), Events: notify.All, Timeout: time.Second}}}
	log := slog.New(slog.DiscardHandler)
	n := notify.New(notify.Options{Config: sinks, Store: store, Holder: "a", Log: log, Now: clock})
	if err := n.Start(ctx); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Store: store, Decide: campaign.Decide, Log: log, Now: clock, OpenReads: true, Notifications: n})
	if err != nil {
		t.Fatal(err)
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fl, c := demoFleet(), demoCampaign()
	ok(store.ApplyFleet(ctx, fl, "mira"))
	var refs []fleet.ClusterRef
	for _, e := range fl.Environments {
		for _, c := range e.Clusters {
			refs = append(refs, c.Ref())
		}
	}
	ok(store.ApplyCampaign(ctx, c, refs, "mira"))
	_, err = store.Launch(ctx, "c", "2026-11-23", "launcher", campaign.Decide)
	ok(err)
	lease := func() *engine.Assignment {
		t.Helper()
		a, err := store.Lease(ctx, "qa", "qa-1", kinds())
		ok(err)
		if a == nil {
			t.Fatal("nothing to lease")
		}
		return a
	}
	_ = lease()
	now = now.Add(2 * time.Second)
	a := lease() // of which one is taken over
	b := lease()
	if a.Cluster.Name == b.Cluster.Name {
		t.Fatal("one cluster twice")
	}
	now = now.Add(40 * time.Second)
	if _, err := store.Heartbeat(ctx, a.ActionID, a.Term); err != nil {
		t.Fatal(err)
	}
	ok(wrote(store.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: 0, Kind: a.Plan.Steps[0].Kind, Phase: engine.Done, Outputs: &engine.Outputs{Switchover: &engine.SwitchoverOutput{Kind: "storage", HoldMS: 120, At: now}}})))
	ok(store.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""))
	ok(store.Finish(ctx, b.ActionID, b.Term, engine.NeedsHuman, "no space left"))
	ok(store.Observe(ctx, a.Cluster.Ref(), fleet.Observation{At: now, Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "n", Role: fleet.RolePrimary, Version: "10.11.18"}}, WayBack: &fleet.WayBack{Detail: "error 1677"}}))
	ok(store.Observe(ctx, fleet.ClusterRef{Env: "prod", Name: "a"}, fleet.Observation{At: now, WayBack: &fleet.WayBack{Closed: true, Detail: "torn down"}}))
	for i := range 2 {
		ok(store.Observe(ctx, fleet.ClusterRef{Env: "prod", Name: "b"}, fleet.Observation{At: now.Add(time.Duration(i)), Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "n", Role: fleet.RoleReplica}}, Unread: []string{"record b: no answer"}}))
	}
	_, err = store.Launch(ctx, "c", "", "mira", campaign.Decide)
	ok(err)
	return s, func(d time.Duration) { now = now.Add(d) }
}

// An operator finds here what the fleet does, and the numbers are those of the state.
func TestMetricsTellHowItStands(t *testing.T) {
	s, pass := measuredWorld(t)
	pass(time.Minute)
	for range 2 { // read twice, nothing is counted twice
		text := scrape(t, s)
		for _, want := range []string{
			`windlass_campaign_status{campaign="c",status="running"} 1`,
			`windlass_clusters{campaign="c",env="qa",stage="create"} 1`,
			`windlass_clusters{campaign="c",env="prod",stage="none"} 2`,
			`windlass_clusters_failed{campaign="c",env="qa"} 1`,
			`windlass_clusters_failed{campaign="c",env="prod"} 0`,
			`windlass_way_back_broken{campaign="c",env="qa"} 1`,
			`windlass_way_back_broken{campaign="c",env="prod"} 0`, // closed on purpose is no alarm
			`windlass_clusters_unknown{campaign="c",env="prod"} 1`,
			`windlass_clusters_without_primary{env="qa"} 0`,
			`windlass_clusters_without_primary{env="prod"} 1`,
			`windlass_holds{campaign="c",env="qa",reason="failed"} 1`,
			`windlass_observations_oldest_timestamp_seconds{campaign="c",env="qa"} 1.763888442e+09`,
			`windlass_launcher_last_run_timestamp_seconds{campaign="c"} 1.7638884e+09`,
			`windlass_lease_expiries_total{campaign="c",env="qa"} 1`,
			`windlass_lease_expiries_total{campaign="c",env="prod"} 0`,
			`windlass_events_total{campaign="c",env="qa",kind="way-back-broken"} 1`,
			`windlass_action_duration_seconds_bucket{campaign="c",direction="forward",env="qa",outcome="completed",stage="create",le="30"} 0`,
			`windlass_action_duration_seconds_bucket{campaign="c",direction="forward",env="qa",outcome="completed",stage="create",le="60"} 1`,
			`windlass_action_duration_seconds_sum{campaign="c",direction="forward",env="qa",outcome="needs-human",stage="create"} 42`,
			`windlass_switch_hold_seconds_bucket{campaign="c",env="qa",kind="storage",le="0.1"} 0`,
			`windlass_switch_hold_seconds_bucket{campaign="c",env="qa",kind="storage",le="0.15"} 1`,
			`windlass_notify_misconfigured{sink="ops"} 1`,
			`windlass_notify_leading 0`,
			`go_goroutines`, `process_start_time_seconds`,
		} {
			want = strings.ReplaceAll(want, "1.763888", "1.795424") // 2026-11-23
			if !strings.Contains(text, want) {
				t.Errorf("there is no %s", want)
			}
		}
		if m := regexp.MustCompile(`windlass_notify_backlog_age_seconds\{sink="ops"\} (\S+)`).FindStringSubmatch(text); m == nil || m[1] != "102" {
			t.Errorf("age of the backlog: %q", m)
		}
		if t.Failed() {
			t.Log(strings.Join(regexp.MustCompile(`(?m)^windlass.*$`).FindAllString(text, -1), "\n"))
			return
		}
	}
}

func newLocal(t *testing.T, s *Server) string {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv.URL
}

func scrape(t *testing.T, s *Server) string {
	t.Helper()
	resp, err := http.Get(newLocal(t, s) + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err, string(b))
	}
	return string(b)
}

// Names, units and help are what Prometheus' own linter wants.
func TestMetricsAreLinted(t *testing.T) {
	s, _ := measuredWorld(t)
	reg, err := s.measured(ctx)
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// The page on notifications and metrics names every metric of ours, with its labels, and none that there is not.
func TestDocsHaveEveryMetric(t *testing.T) {
	s, _ := measuredWorld(t)
	reg, err := s.measured(ctx)
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{"notify_last_delivery_timestamp_seconds": "sink"} // only there after a delivery
	for _, f := range families {
		if name, ok := strings.CutPrefix(f.GetName(), "windlass_"); ok {
			var labels []string
			for _, p := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, p.GetName())
			}
			have[name] = strings.Join(labels, " ")
		}
	}
	page, err := os.ReadFile("../../docs/notifications.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(page), "| metric,")
	if !ok {
		t.Fatal("there is no table of metrics")
	}
	told := map[string]bool{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		labels := regexp.MustCompile(`[a-z]+`).FindAllString(cells[2], -1)
		slices.Sort(labels)
		for _, m := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(cells[1], -1) {
			told[m[1]] = true
			if got, ok := have[m[1]]; !ok || got != strings.Join(labels, " ") {
				t.Errorf("the page tells of windlass_%s with %v; there is %v with %q", m[1], labels, ok, got)
			}
		}
	}
	for name := range have {
		if !told[name] {
			t.Errorf("the page does not tell of windlass_%s", name)
		}
	}
}

type alerts struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

// The example's alerts ask only for metrics, and values of labels, that there are.
func TestAlertsAskForMetricsThatThereAre(t *testing.T) {
	text, err := os.ReadFile("../../examples/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var a alerts
	if err := yaml.UnmarshalWithOptions(text, &a, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	s, _ := measuredWorld(t)
	reg, err := s.measured(ctx)
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]map[string]bool{}
	for _, f := range families {
		l := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, p := range m.GetLabel() {
				l[p.GetName()] = true
			}
		}
		labels[f.GetName()] = l
	}
	codes, err := os.ReadFile("../campaign/codes.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, g := range a.Groups {
		for _, r := range g.Rules {
			if seen[r.Alert] || r.Alert == "" || r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%q is there twice, or lacks something: %+v", r.Alert, r)
			}
			seen[r.Alert] = true
			names := regexp.MustCompile(`windlass_[a-z_]+`).FindAllString(r.Expr, -1)
			used := map[string]bool{}
			for _, n := range names {
				base := n
				if labels[base] == nil {
					base = strings.TrimSuffix(n, "_bucket")
				}
				if labels[base] == nil {
					t.Errorf("%s asks for %s, and there is no such metric", r.Alert, n)
				}
				for l := range labels[base] {
					used[l] = true
				}
			}
			if len(names) == 0 && !strings.Contains(r.Expr, "up{") {
				t.Errorf("%s asks for nothing of ours: %s", r.Alert, r.Expr)
			}
			for _, m := range regexp.MustCompile(`\$labels\.([a-z_]+)`).FindAllStringSubmatch(fmt.Sprint(r.Annotations), -1) {
				if len(names) > 0 && !used[m[1]] && m[1] != "instance" {
					t.Errorf("%s tells of the label %s, which its metrics don't have", r.Alert, m[1])
				}
			}
			if m := regexp.MustCompile(`windlass_holds\{.*reason=~?"([^"]+)"`).FindStringSubmatch(r.Expr); m != nil {
				for code := range strings.SplitSeq(m[1], "|") {
					if !strings.Contains(string(codes), `= "`+code+`"`) {
						t.Errorf("%s asks for the reason %s, which there is not", r.Alert, code)
					}
				}
			}
		}
	}
	if len(seen) < 8 {
		t.Errorf("only %d alerts", len(seen))
	}
}

func TestNotificationsAreTold(t *testing.T) {
	s, _ := measuredWorld(t)
	c, err := api.NewClient(newLocal(t, s), "", "")
	if err != nil {
		t.Fatal(err)
	}
	st, err := c.Notifications(ctx)
	if err != nil || len(st) != 1 || st[0].Trouble == nil || !st[0].Trouble.Wrong || !st[0].Behind || st[0].Pending == 0 {
		t.Errorf("%+v, %v", st, err)
	}
	page := httptest.NewRecorder()
	s.ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/", nil))
	if !strings.Contains(page.Body.String(), "Notifications to "+st[0].Name+" are behind") {
		t.Errorf("the overview does not say that the sink is behind:\n%s", page.Body)
	}
	f := start(t, true)
	if st, err := f.client("viewer").Notifications(ctx); err != nil || len(st) != 0 {
		t.Errorf("without sinks: %+v, %v", st, err)
	}
}

// wrote is the error of a record.
func wrote(_ bool, err error) error { return err }
