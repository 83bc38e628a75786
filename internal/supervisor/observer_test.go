package supervisor_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/supervisor"
)

// seen is every capability that Looks asks, each with an answer that the test sets. What is not set here can't be called.
type seen struct {
	bluegreen.Storage
	bluegreen.Switcher
	bluegreen.Gateways
	bluegreen.Records
	storage, gateways, records, wayBack error
}

var errDown = errors.New("connection refused")

type storage struct{ *seen }

func (s storage) Observe(context.Context, fleet.Cluster) (fleet.Observation, error) {
	return fleet.Observation{Nodes: []fleet.NodeObservation{{Cell: "blue", Node: "blue-1", Role: fleet.RolePrimary, Version: "10.11.18-MariaDB"}}}, s.seen.storage
}

type gateways struct{ *seen }

func (s gateways) Observe(context.Context, fleet.Cluster) ([]fleet.GatewayObservation, error) {
	return []fleet.GatewayObservation{{Cell: "blue", Gateway: "blue-gateway", Sessions: 7}}, s.seen.gateways
}

func (s *seen) Lookup(context.Context, string, string) (string, error) { return "127.0.0.9", s.records }

func (s *seen) WayBack(context.Context, fleet.Cluster, string) (fleet.WayBack, check.Results, error) {
	return fleet.WayBack{Open: true}, nil, s.wayBack
}

func (s *seen) looks() supervisor.Looks {
	return supervisor.Looks{Storage: storage{s}, Switcher: s, Gateways: gateways{s}, Records: s, Now: time.Now}
}

// What can't be read is told as unknown, with its cause, and never as absent; what could be read is told all the same.
func TestAReadThatFailedIsUnknown(t *testing.T) {
	w := api.Watched{OldCell: "blue", Cluster: fleet.Cluster{Env: "qa", Name: "c00", Record: "c00.qa.", Cells: []fleet.Cell{{Name: "blue", Nodes: []fleet.Node{{Name: "blue-1"}}, Gateway: &fleet.Gateway{Name: "blue-gateway"}}}}}
	for name, x := range map[string]struct {
		seen seen
		want string
	}{
		"everything is read":         {seen{}, ""},
		"nodes":                      {seen{storage: errDown}, "node blue-1: connection refused"},
		"gateways":                   {seen{gateways: errDown}, "gateway blue-gateway: connection refused"},
		"the record":                 {seen{records: errDown}, "record c00.qa.: connection refused"},
		"the way back":               {seen{wayBack: errDown}, "replication to cell blue: connection refused"},
		"nothing at all can be read": {seen{storage: errDown, gateways: errDown, records: errDown, wayBack: errDown}, "node blue-1: connection refused; gateway blue-gateway: connection refused; record c00.qa.: connection refused; replication to cell blue: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			o := x.seen.looks().Observe(ctx, w)
			if o.Unknown() != x.want {
				t.Errorf("unknown: %q\nwant     %q", o.Unknown(), x.want)
			}
			if len(o.Nodes) != 1 || len(o.Gateways) != 1 {
				t.Errorf("nodes and gateways are absent: %+v", o)
			}
			_, primary := o.Primary()
			if primary != (x.seen.storage == nil) || (o.Record == "") != (x.seen.records != nil) || (o.WayBack == nil) != (x.seen.wayBack != nil) || (o.Gateways[0].Sessions == 7) != (x.seen.gateways == nil) {
				t.Errorf("what was read is lost, or what was not is told: %+v", o)
			}
		})
	}
}

// lookFunc is an Observer.
type lookFunc func(ctx context.Context, w api.Watched) fleet.Observation

func (f lookFunc) Observe(ctx context.Context, w api.Watched) fleet.Observation { return f(ctx, w) }

// Through server, state and Decide: while a cluster can't be read, nothing starts on it, and its status says why. Looks that
// hang and looks that panic are failed reads, and keep no other cluster from being looked at.
func TestAClusterThatCantBeReadIsHeld(t *testing.T) {
	w := newWorld(t, 3, 15*time.Second, time.Now)
	good := (&seen{}).looks()
	var ill atomic.Bool
	ill.Store(true)
	s := supervisor.New(supervisor.Config{
		Name: "qa-1", Env: "qa", Server: w.agent("qa"), Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Poll: time.Hour, WatchEvery: 20 * time.Millisecond, LookTimeout: 100 * time.Millisecond,
		Observer: lookFunc(func(ctx context.Context, c api.Watched) fleet.Observation {
			switch {
			case ill.Load() && c.Cluster.Name == "c00":
				panic("a defect")
			case ill.Load() && c.Cluster.Name == "c01":
				<-ctx.Done()
				bad := &seen{storage: ctx.Err()}
				return bad.looks().Observe(ctx, c)
			}
			return good.Observe(ctx, c)
		}),
	})
	run, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(run) }()
	defer func() { stop(); must(t, <-done) }()

	of := func(name string) (campaign.Progress, campaign.Decision) {
		snap, err := w.store.Snapshot(ctx, "c")
		must(t, err)
		for i, p := range snap.Clusters {
			if p.Ref.Env == "qa" && p.Ref.Name == name {
				for _, d := range campaign.Decide(snap, time.Now()) {
					if d.Ref == p.Ref {
						return snap.Clusters[i], d
					}
				}
			}
		}
		t.Fatal(name)
		panic("unreachable")
	}
	held := func(name, why string) func() bool {
		return func() bool {
			p, d := of(name)
			return d.Hold != nil && d.Hold.Reasons[0].Code == campaign.CodeUnknown && strings.Contains(p.Unknown, why) && strings.Contains(d.Hold.Reasons[0].Message, why)
		}
	}
	eventually(t, "the panic is told as unknown", held("c00", "a defect"))
	eventually(t, "the look that hangs is told as unknown", held("c01", "deadline"))
	free := func(name string) func() bool {
		return func() bool {
			p, d := of(name)
			return d.Start != "" && p.Version == "10.11.18-MariaDB"
		}
	}
	eventually(t, "the third is seen", free("c02"))
	ill.Store(false)
	eventually(t, "the first is seen", free("c00"))
	eventually(t, "the second is seen", free("c01"))
}
