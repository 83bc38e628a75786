package campaign

import (
	"time"

	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// DefaultLimit is how many clusters of an environment may be in one stage where the campaign says nothing: the number that
// HubSpot began with.
const DefaultLimit = 10

// DefaultSeenWithin is how lately a cluster must have been looked at before a stage of it starts, where a file says nothing: a supervisor
// looks every few seconds, so it is long for one that is busy, and short for one that is gone.
const DefaultSeenWithin = 5 * time.Minute

// Defaults is a campaign with everything set that a file may leave out.
//
// Storage soaks for a day, and the gateway for two: as long as the way back stays open before tear-down. The switch's
// timeout is the 300 s of RDS blue/green. SeenWithin is left out: only a file has DefaultSeenWithin, because whoever decides without a file has
// no supervisors either.
func Defaults() Campaign {
	return Campaign{
		Strategy: strategy.BlueGreen().Name,
		Order:    OrderStage,
		FromCell: "blue",
		ToCell:   "green",
		Limits:   Limits{PerStage: DefaultLimit},
		Soak: Soak{
			Stages:       defaultSoaks(strategy.BlueGreen().Name),
			Environments: 24 * time.Hour,
		},
		Schedule: Schedule{TimeZone: "UTC", Start: "09:00", End: "17:00", Workdays: []string{"mon", "tue", "wed", "thu", "fri"}},
		Budget:   Budget{Campaign: 3, Environment: 2, Stage: 1},
		Switch: Switch{
			HoldTTL: 10 * time.Second, Drain: time.Second, Tries: 3, OnOpenTransaction: OnOpenCallOff,
			MaxLag: 5 * time.Second, Timeout: 300 * time.Second, MinInterval: 10 * time.Minute,
		},
		Verify: Verify{ChunkRows: 1000, MaxLag: 5 * time.Second, Pause: 10 * time.Millisecond},
		Replay: DefaultReplay(),
		Drain:  Drain{TTL: time.Minute},
	}
}

// defaultSoaks are the soaks of a strategy's stages: the primary is watched for a day on the new version, and the way back with it; one node of an
// engine for an hour, and all of them for a day until features open and the way back ends.
func defaultSoaks(name string) map[string]time.Duration {
	switch name {
	case policy.InPlace:
		return map[string]time.Duration{strategy.StageSwitchPrimary: 48 * time.Hour}
	case strategy.Contract().Name:
		return map[string]time.Duration{}
	case strategy.Rolling().Name:
		return map[string]time.Duration{strategy.StageCanary: time.Hour, strategy.StageNodes: 24 * time.Hour}
	}
	return map[string]time.Duration{strategy.StageSwitchStorage: 24 * time.Hour, strategy.StageSwitchGateway: 48 * time.Hour}
}

// What a switch does with a transaction that is still open at the end of the drain.
const (
	OnOpenCallOff = "call-off" // the switch is called off and tried again later
	OnOpenFail    = "fail"     // the transaction fails with a clear error
)
