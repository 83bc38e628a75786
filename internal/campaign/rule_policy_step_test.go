package campaign

import (
	"cmp"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

func stepOf(t *testing.T, stage string, kind strategy.Kind, dir strategy.Direction) (strategy.Plan, int) {
	t.Helper()
	p, ok := strategy.BlueGreen().Expand(stage, dir)
	if !ok {
		t.Fatal(stage)
	}
	for i, s := range p.Steps {
		if s.Kind == kind {
			return p, i
		}
	}
	t.Fatal(kind)
	return p, 0
}

// What is seen before each step is judged as it is, and as the step would leave it (V5; traps 18 and 39).
func TestBeforeStep(t *testing.T) {
	blue := func(role fleet.Role, version string) fleet.NodeObservation {
		return fleet.NodeObservation{Cell: "blue", Node: "b" + version, Role: role, Version: version}
	}
	green := func(role fleet.Role, version string) fleet.NodeObservation {
		return fleet.NodeObservation{Cell: "green", Node: "g" + version, Role: role, Version: version}
	}
	const old, new = "10.11.19-MariaDB", "11.8.6-MariaDB"
	primary, replica, detached := fleet.RolePrimary, fleet.RoleReplica, fleet.RoleDetached
	lost := fleet.NodeObservation{Cell: "blue", Node: "b2", Role: fleet.RoleUnknown, Error: "connection refused"}
	for name, c := range map[string]struct {
		stage   string
		kind    strategy.Kind
		to      string
		nodes   []fleet.NodeObservation
		verdict check.Verdict // "": not judged
		want    string
	}{
		"all is as planned": {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(primary, old), blue(replica, old), green(replica, new)}, verdict: check.Pass},
		"trap 39: the primary was upgraded by hand": {stage: strategy.StageCreate, kind: strategy.StartReplication, nodes: []fleet.NodeObservation{blue(primary, new), blue(replica, old)}, verdict: check.Fail,
			want: "replica 10.11.19-MariaDB may not meet source 11.8.6-MariaDB: replica is never older than source (newer[0]: MariaDB documentation"},
		"trap 39: a node came back far too old, which the switch would make illegal": {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(primary, "10.5.2"), blue(replica, "10.5.2"), green(replica, new)}, verdict: check.Fail,
			want: "promote, release, and replicate back: versions that may not run side by side were seen: replica 10.5.2 may not meet source 11.8.6-MariaDB"},
		"and the preflight says so before":                          {stage: strategy.StageSwitchStorage, kind: strategy.Preflight, nodes: []fleet.NodeObservation{blue(primary, "10.5.2"), green(replica, new)}, verdict: check.Fail, want: "at most 2 newer"},
		"the new nodes would be older than their source":            {stage: strategy.StageCreate, kind: strategy.ProvisionNodes, nodes: []fleet.NodeObservation{blue(primary, "10.11.19")}, verdict: check.Pass},
		"a source that is as new as what is made":                   {stage: strategy.StageCreate, kind: strategy.SeedNodes, nodes: []fleet.NodeObservation{blue(primary, "11.8.6")}, verdict: check.Pass},
		"a source that is newer than what is made":                  {stage: strategy.StageCreate, kind: strategy.SeedNodes, to: "11.4", nodes: []fleet.NodeObservation{blue(primary, "11.8.6")}, verdict: check.Fail, want: "replica 11.4 may not meet source 11.8.6"},
		"a switch that was broken off behind its promotion":         {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(replica, old), green(primary, new)}, verdict: check.Pass},
		"and with further new nodes":                                {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(replica, "10.5.2"), green(primary, "10.6.1"), green(replica, new)}, verdict: check.Pass},
		"a version of no release":                                   {stage: strategy.StageCreate, kind: strategy.SeedNodes, nodes: []fleet.NodeObservation{blue(primary, "12.9.1")}, verdict: check.Fail, want: "of no release of mariadb"},
		"trap 18: the way back, which is open after the switch":     {stage: strategy.StageSwitchGateway, kind: strategy.SwitchRecord, nodes: []fleet.NodeObservation{blue(replica, old), green(primary, new)}, verdict: check.Pass},
		"trap 18: before the switch it is no way back":              {stage: strategy.StageVerify, kind: strategy.VerifyData, nodes: []fleet.NodeObservation{blue(replica, old), green(primary, new)}, verdict: check.Fail, want: "never older"},
		"a switch that was broken off is not judged by what it was": {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(detached, old), blue(replica, old), green(replica, new)}, verdict: check.Pass},
		"unknown holds what touches traffic":                        {stage: strategy.StageSwitchStorage, kind: strategy.SwitchStorage, nodes: []fleet.NodeObservation{blue(primary, old), lost, green(replica, new)}, verdict: check.Unknown, want: "blue/b2: connection refused"},
		"and nothing else":                                          {stage: strategy.StageCreate, kind: strategy.SeedNodes, nodes: []fleet.NodeObservation{blue(primary, old), lost}, verdict: check.Pass},
		"what proves the switch is not held":                        {stage: strategy.StageSwitchStorage, kind: strategy.ProveWrites},
		"nor what watches it":                                       {stage: strategy.StageSwitchStorage, kind: strategy.WatchWayBack},
		"nor the drain of clients that were moved":                  {stage: strategy.StageSwitchGateway, kind: strategy.DrainGateway},
		"tear-down is judged":                                       {stage: strategy.StageTearDown, kind: strategy.RemoveNodes, nodes: []fleet.NodeObservation{blue(replica, "10.5.2"), green(primary, new)}, verdict: check.Fail, want: "at most 2 newer"},
	} {
		t.Run(name, func(t *testing.T) {
			camp := Defaults()
			camp.Product, camp.From, camp.To = "mariadb", "10.11", cmp.Or(c.to, "11.8")
			p, i := stepOf(t, c.stage, c.kind, strategy.Forward)
			if judged := camp.GuardsStep(p, i); judged != (c.verdict != "") {
				t.Fatalf("judged: %v", judged)
			}
			if c.verdict == "" {
				return
			}
			cs := camp.BeforeStep(p, i, fleet.Observation{At: time.Unix(1, 0), Nodes: c.nodes})
			if len(cs) != 1 || cs[0].Verdict != c.verdict || !strings.Contains(cs[0].Detail, c.want) || c.verdict != check.Pass && cs[0].Remedy == "" || cs[0].At.IsZero() {
				t.Errorf("got %+v, want %s %q", cs, c.verdict, c.want)
			}
			back, j := stepOf(t, c.stage, c.kind, strategy.Back)
			if camp.GuardsStep(back, j) {
				t.Error("a way back is held")
			}
		})
	}
	camp := Defaults()
	camp.Product = "something"
	p, i := stepOf(t, strategy.StageSwitchStorage, strategy.SwitchStorage, strategy.Forward)
	if camp.GuardsStep(p, i) {
		t.Error("a product without a policy is judged")
	}
}
