package web

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// fixture is a small fleet in every state that a page can show.
type fixture struct {
	mu         sync.Mutex
	seq        int64
	changed    chan struct{}
	stage      string
	operations []Operation
	refuse     error
	status     string        // of the campaign, on a cluster's page; "": running
	foretell   chan struct{} // a forecast waits until it is closed; nil: it is there at once
	foretold   int           // how many forecasts were worked out
	big        int           // clusters of qa; 0: the five of rows
}

func newFixture() *fixture {
	return &fixture{seq: 1, changed: make(chan struct{}), stage: "seed-nodes"}
}

func (f *fixture) move(stage string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stage = stage
	f.seq++
	close(f.changed)
	f.changed = make(chan struct{})
}

// drift moves without an event, as ages and lags do.
func (f *fixture) drift(stage string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stage = stage
}

var stages = []StageHead{
	{Name: "create", Summary: "Make the green cell.", Limits: map[string]int{"qa": 2}},
	{Name: "verify", Summary: "Compare every row."},
	{Name: "switch-storage", Summary: "Make a green node the primary.", Soak: 48 * time.Hour},
	{Name: "switch-gateway", Summary: "Point the record at the green gateway."},
	{Name: "tear-down", Summary: "Remove the blue cell.", PointOfNoReturn: true},
}

func (f *fixture) head() *CampaignHead {
	h := head()
	if f.status != "" {
		h.Status = f.status
	}
	return h
}

func head() *CampaignHead {
	return &CampaignHead{Name: "mariadb-11.8", Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Status: "running", Arrived: 1, Total: 5, Started: noon.Add(-26 * time.Hour)}
}

// many are n clusters, in turn in every state that there is.
func many(n int) []Row {
	done, far := Box{State: StateDone, Detail: "completed"}, Box{State: StateFar}
	kinds := [][]Box{
		{done, done, done, done, done},
		{{State: StateRunning, Text: "seed-nodes", Detail: "running"}, far, far, far, far},
		{{State: StateHeld, Text: campaign.CodeLimit, Detail: "enough clusters are in the stage"}, far, far, far, far},
		{{State: StateHeld, Text: campaign.CodeLimit, Detail: "enough clusters are in the stage"}, far, far, far, far},
		{done, done, done, {State: StateHeld, Text: campaign.CodeSoak, Detail: "soaking"}, far},
		{done, done, done, done, {State: StateHeld, Text: campaign.CodeApproval, Detail: "tear-down waits for a person's approval"}},
		{done, done, {State: StateWaiting, Detail: "replication lag of 7 s"}, far, far},
	}
	rows := make([]Row, n)
	for i := range rows {
		boxes := kinds[i%len(kinds)]
		if i == 777 {
			boxes = []Box{done, {State: StateFailed, Detail: "chunk 7 differs"}, far, far, far}
		}
		rows[i] = Row{Ref: fleet.ClusterRef{Env: "qa", Name: fmt.Sprintf("shard-%04d", i)}, Version: "10.11.18-MariaDB", Boxes: boxes}
		if _, b := rows[i].Now(); b.State != StateArrived {
			rows[i].Note = b.Detail
		}
	}
	return rows
}

func (f *fixture) rows() []Row {
	done := Box{State: StateDone, Detail: "completed"}
	far := Box{State: StateFar}
	return []Row{
		{Ref: fleet.ClusterRef{Env: "qa", Name: "orders"}, Version: "11.8.6", Boxes: []Box{done, done, done, done, done}},
		{Ref: fleet.ClusterRef{Env: "qa", Name: "billing"}, Version: "10.11.18", Boxes: []Box{{State: StateRunning, Text: f.stage, Detail: "copying 3 of 9 tables", Progress: 0.4}, far, far, far, far}},
		{Ref: fleet.ClusterRef{Env: "qa", Name: "search<b>"}, Version: "11.8.6", Boxes: []Box{done, done, done, {State: StateHeld, Text: "soak", Detail: "soak"}, far}, Note: "soaking after switch-storage until 15:00"},
		{Ref: fleet.ClusterRef{Env: "qa", Name: "stock"}, Version: "10.11.18", Boxes: []Box{done, done, {State: StateFailed, Text: "preflight", Detail: "errant GTID"}, far, far}, Note: "failed in switch-storage: errant GTID 0-7-12 on stock-green-1"},
		{Ref: fleet.ClusterRef{Env: "qa", Name: "users"}, Version: "", Boxes: []Box{done, done, {State: StateBack, Text: "switch-storage", Detail: "going back"}, far, far}},
	}
}

func event(seq int64, loud bool, kind, msg string) Event {
	return Event{Seq: seq, At: noon.Add(-time.Duration(10-seq) * time.Minute), Kind: kind, Ref: fleet.ClusterRef{Env: "qa", Name: "stock"}, Stage: "switch-storage", Step: "preflight", Message: msg, Loud: loud}
}

func (f *fixture) Overview(context.Context, string) (Overview, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.big > 0 {
		rows := many(f.big)
		b := Board{Env: "qa", Total: len(rows), Rows: rows}
		for _, r := range rows {
			switch _, now := r.Now(); now.State {
			case StateArrived:
				b.Arrived++
			case StateHeld:
				b.Held++
			case StateFailed:
				b.Failed++
			default:
				b.Running++
			}
		}
		return Overview{At: noon, Campaign: head(), Stages: stages, Envs: []Board{b, {Env: "prod", Total: 5, Rows: f.rows()}}}, nil
	}
	return Overview{At: noon, Campaign: head(), Stages: stages, Envs: []Board{{Env: "qa", Total: 5, Arrived: 1, Running: 2, Held: 1, Failed: 1, Rows: f.rows()}},
		Events: []Event{event(9, true, "way-back-broken", "replication to 10.11 stopped: Error 1062"), event(8, false, "step-done", "<script>document.title='owned'</script>")}}, nil
}

func (f *fixture) Cluster(_ context.Context, ref fleet.ClusterRef) (Cluster, error) {
	if ref.Name == "jobs" {
		return Cluster{At: noon, Campaign: head(), Ref: ref, Product: "jobs", Row: f.rows()[0], Stages: stages, Observed: noon, Cells: []Cell{{Name: "main", Version: "1.0", Nodes: []fleet.NodeObservation{
			{Node: "jobs-1", Address: "10.1.4.1:8080", Role: fleet.RoleServing, Version: "1.1.0"},
			{Node: "jobs-2", Address: "10.1.4.2:8080", Role: fleet.RoleOut, Version: "1.0.3", Detail: "jobs-2 is on 1.0.3, is drained with 2 sessions"},
			{Node: "jobs-3", Address: "10.1.4.3:8080", Role: fleet.RoleUnknown, Lag: -1, Error: "connection refused"}}}}}, nil
	}
	if ref.Name != "stock" {
		return Cluster{}, ErrNotFound
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	row := f.rows()[3]
	c := Cluster{
		At: noon, Campaign: f.head(), Ref: row.Ref, Product: "mariadb", Record: "stock.qa.windlass.test.", Row: row, Stages: stages, RecordNow: "127.0.10.4",
		Cells: []Cell{
			{Name: "blue", Version: "10.11", Nodes: []fleet.NodeObservation{{Node: "stock-blue-1", Address: "127.0.0.1:3301", Version: "10.11.18-MariaDB", Role: fleet.RolePrimary}, {Node: "stock-blue-2", Address: "127.0.0.1:3302", Version: "10.11.18-MariaDB", Role: fleet.RoleReplica, Source: "127.0.0.1:3301", Lag: 0}}, Gateways: []fleet.GatewayObservation{{Gateway: "stock-blue", Sessions: 42, Primary: "127.0.0.1:3301"}}},
			{Name: "green", Version: "11.8", Owner: "mariadb-11.8", Nodes: []fleet.NodeObservation{{Node: "stock-green-1", Address: "127.0.0.1:3303", Version: "11.8.6-MariaDB", Role: fleet.RoleReplica, Source: "127.0.0.1:3301", Lag: 3 * time.Second}, {Node: "stock-green-2", Address: "127.0.0.1:3304", Role: fleet.RoleUnknown, Lag: -1, Error: "dial tcp: connection refused"}}},
		},
		WayBack:  &fleet.WayBack{Open: false, Detail: "10.11 stopped on Error 1062", Risks: []string{"table shop.emoji has collation uca1400_ai_ci"}},
		Hold:     &campaign.Hold{Next: "switch-storage", Earliest: noon.Add(3 * time.Hour), Reasons: []campaign.Reason{{Code: "failed", Message: "preflight failed", Release: "windlass resume qa/stock"}, {Code: "window", Message: "outside the workday", Release: "09:00 on Monday", Until: noon.Add(3 * time.Hour)}}},
		Failure:  &campaign.Failure{Stage: "switch-storage", Message: "errant GTID 0-7-12", At: noon.Add(-time.Hour)},
		Action:   &Action{ID: 7, Stage: "switch-storage", Direction: "forward", Status: "waiting", Holder: "supervisor-qa-1", Term: 4, Started: noon.Add(-2 * time.Hour), Steps: []Step{{Kind: "preflight", Does: "looks at every safety rule", Phase: "waiting", Message: "1 of 22 checks fails", Checks: check.Results{check.Passed("one-primary", "stock-blue-1", noon), check.Failed("errant-gtid", "0-7-12 on stock-green-1", "seed it again", noon)}}, {Kind: "switch-storage", Does: "moves the primary", Phase: "pending"}}},
		Events:   []Event{event(9, true, "way-back-broken", "replication to 10.11 stopped")},
		Observed: noon.Add(-4 * time.Second), CanRollback: true, CanAbort: true, RollbackTo: []string{"", "create"},
	}
	if f.stage != "seed-nodes" { // something has happened since
		c.Events = append([]Event{event(10, false, "step-done", f.stage)}, c.Events...)
		c.Action.Steps[0].Message = f.stage
	}
	if f.stage == "mended" {
		c.Failure, c.Hold, c.Action.Steps[1].Checks = nil, nil, check.Results{check.Passed("way-back", "open", noon)}
		c.Cells = c.Cells[1:]
	}
	return c, nil
}

func (f *fixture) Campaign(_ context.Context, name string) (Campaign, error) {
	if name != "mariadb-11.8" {
		return Campaign{}, ErrNotFound
	}
	c := Campaign{At: noon, Head: *head(), Envs: []string{"qa", "prod"}, Next: noon.Add(20 * time.Hour), Failures: []FailedCluster{{fleet.ClusterRef{Env: "qa", Name: "stock"}, campaign.Failure{Stage: "switch-storage", Message: "errant GTID"}}},
		Pauses:    []campaign.Pause{{Env: "prod", Stage: "tear-down", Who: "mira", Why: "quarter's end", At: noon.Add(-time.Hour)}},
		Freezes:   []campaign.Freeze{{From: noon, To: noon.Add(time.Hour), Reason: "audit", Who: "mira", Environments: []string{"qa", "prod"}}},
		Overrides: []campaign.Override{{Rule: campaign.CodeApproval, Env: "prod", Stage: "tear-down", Who: "noor", Why: "a week without a complaint", Expires: noon.Add(time.Hour)}}, Events: []Event{event(9, false, "launched", "3 clusters started")}}
	for _, s := range stages {
		c.Stages = append(c.Stages, CampaignStage{s, []StageCount{{Done: 4, Live: 1, Limit: 2, Total: 5}, {Total: 5, Limit: 2}}})
	}
	c.ForecastDue = noon // each page wants a newer one
	f.mu.Lock()
	defer f.mu.Unlock()
	c.Events[0].Message += ", " + f.stage
	if f.foretold > 0 {
		c.Forecast = &campaign.Prediction{From: noon.Add(-time.Minute), End: noon.Add(47 * time.Hour)}
	}
	return c, nil
}

// Forecast takes until the test lets it.
func (f *fixture) Forecast(ctx context.Context, name string) (campaign.Prediction, error) {
	if name != head().Name {
		return campaign.Prediction{}, ErrNotFound
	}
	f.mu.Lock()
	wait := f.foretell
	f.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return campaign.Prediction{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.foretold++
	return campaign.Prediction{From: noon, End: noon.Add(49 * time.Hour), Environments: []campaign.StageForecast{{Env: "qa", Stage: "create", First: noon, Last: noon.Add(time.Hour), Count: 3}},
		Stuck: nil}, nil
}

func (f *fixture) Events(context.Context, int64, int) ([]Event, error) {
	return []Event{event(9, false, "launched", "3 clusters started")}, nil
}

func (f *fixture) Changed(ctx context.Context, seq int64) (int64, error) {
	f.mu.Lock()
	now, wake := f.seq, f.changed
	f.mu.Unlock()
	if now != seq {
		return now, nil
	}
	select {
	case <-wake:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.seq, nil
	case <-ctx.Done():
		return seq, ctx.Err()
	}
}

func (f *fixture) Operate(_ context.Context, op Operation) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return f.refuse
	}
	f.operations = append(f.operations, op)
	return nil
}

func (f *fixture) Role(_ context.Context, token string) (string, string, error) {
	switch token {
	case "op-token":
		return "operator", "mira", nil
	case "view-token":
		return "viewer", "noor", nil
	case "broken":
		return "", "", errors.New("state is away")
	}
	return "", "", nil
}
