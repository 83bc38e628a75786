package campaign

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
)

const example = "../../examples/campaign.yaml"

func TestEveryKeyWrong(t *testing.T) { configtest.EveryKeyWrong(t, "testdata", Kind()) }

func TestEveryKeyMisspelt(t *testing.T) {
	configtest.EveryKeyMisspelt(t, example, Kind(), "../../examples/rolling/campaign.yaml", "../../examples/rolling/contract.yaml", "testdata/replay-skip.yaml")
}

func parseFile(t *testing.T, name string) Campaign {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(config.Source{Name: name, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	ny, err := time.LoadLocation("America/New_York")
	if err != nil {
		t.Fatal(err)
	}
	want := Campaign{
		Name: "mariadb-11-8", Strategy: "bluegreen", Product: "mariadb", From: "10.11", To: "11.8", Environments: []string{"qa", "prod"}, Order: OrderStage,
		Clusters: []string{"*/*"}, Exclude: []string{"*/legacy-*"}, FromCell: "blue", ToCell: "green", Approve: []string{"tear-down"}, Rehearse: "switch-storage", SeenWithin: 5 * time.Minute,
		Limits: Limits{PerStage: 10, PerLaunch: 25, Stages: map[string]int{"create": 20}, Environments: map[string]map[string]int{"prod": {"*": 5, "switch-storage": 2}}},
		Soak:   Soak{Stages: map[string]time.Duration{"switch-storage": 24 * time.Hour, "switch-gateway": 48 * time.Hour}, Environments: 24 * time.Hour},
		Schedule: Schedule{TimeZone: "America/New_York", Start: "09:00", End: "16:00", Workdays: []string{"mon", "tue", "wed", "thu"},
			Holidays: []string{"2026-12-24", "2026-12-31"}, Calendar: "us"},
		Freezes: []Freeze{{From: time.Date(2026, 12, 18, 17, 0, 0, 0, ny), To: time.Date(2027, 1, 4, 9, 0, 0, 0, ny), Reason: "end of year", Environments: []string{"prod"}}},
		Budget:  Budget{Campaign: 3, Environment: 2, Stage: 1},
		Switch: Switch{HoldTTL: 10 * time.Second, Drain: time.Second, Tries: 3, OnOpenTransaction: "call-off", MaxLag: 5 * time.Second,
			Timeout: 300 * time.Second, MinInterval: 10 * time.Minute},
		Verify: Verify{ChunkRows: 1000, MaxLag: 5 * time.Second, Pause: 10 * time.Millisecond},
		Replay: Replay{MinTime: 48 * time.Hour, MinCoverage: 90, MinSample: 100, Delay: time.Minute, Latency: ReplayLatency{Factor: 1.2, Budget: 10 * time.Second, Pairs: 15, Timed: 80}, Leeway: 0.001, Ignore: []ReplayIgnore{
			{Fingerprint: "5f0c7e2a91d3b846", Kinds: []string{"content"}, Reason: "from_unixtime() after 2038 is right in 11.8", By: "mira", Until: time.Date(2027, 3, 1, 0, 0, 0, 0, ny)},
			{Like: "select conv(%", Reason: "nobody stores base 62", By: "mira"},
		}},
		Drain: Drain{TTL: time.Minute},
	}
	if diff := cmp.Diff(want, parseFile(t, example)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestDemoCampaign(t *testing.T) {
	c := parseFile(t, "../../examples/demo-campaign.yaml")
	if !c.Schedule.Always || c.Schedule.Every != time.Second || c.Soak.Environments != 5*time.Second || c.Switch.MinInterval != 0 {
		t.Errorf("got %+v", c)
	}
}

// A file that says nothing but what is required is what Defaults says.
func TestDefaults(t *testing.T) {
	c, err := Parse(config.Source{Name: "c.yaml", Text: []byte("kind: Campaign\nversion: 1\nname: a\nproduct: mariadb\nfrom: 10.11\nto: 11.8\nenvironments: [qa]\n")})
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.SeenWithin = DefaultSeenWithin // only a file has it
	want.Name, want.Product, want.From, want.To, want.Environments = "a", "mariadb", "10.11", "11.8", []string{"qa"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A default gives way to what the file says, instead of contradicting it.
func TestBudgetDefaultsGiveWay(t *testing.T) {
	for text, want := range map[string]Budget{
		"{campaign: 0}":                    {0, 0, 0},
		"{campaign: none}":                 {-1, 2, 1},
		"{environment: 0}":                 {3, 0, 0},
		"{campaign: 1}":                    {1, 1, 1},
		"{campaign: 9, environment: none}": {9, -1, 1},
	} {
		c, err := Parse(config.Source{Name: "c.yaml", Text: []byte("kind: Campaign\nversion: 1\nname: a\nproduct: mariadb\nfrom: 10.11\nto: 11.8\nenvironments: [qa]\nbudget: " + text + "\n")})
		if err != nil || c.Budget != want {
			t.Errorf("%s: got %+v, want %+v (%v)", text, c.Budget, want, err)
		}
	}
}
