package demo

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// rollback is the story of --rollback-one: one prod cluster goes back after its storage switch, and forward again.
type rollback struct {
	place    *place
	client   *api.Client
	campaign string
	out      io.Writer
	rep      *Report
	wanted   bool

	ref   fleet.ClusterRef
	kept  bool // from the stage after the storage switch
	asked bool
	back  bool
	since time.Time // when the new version became the primary, as the state says
}

// onNew is how long the demo lets the new version take writes before it goes back.
const onNew = 2 * time.Second

func (r *rollback) step(ctx context.Context, s api.CampaignStatus) error {
	if !r.wanted {
		return nil
	}
	if r.ref.Name == "" {
		r.ref = fleet.ClusterRef{Env: "prod", Name: clusterNames[0]}
		r.rep.RolledBack = &RolledBack{Cluster: r.ref.Name, Env: r.ref.Env}
	}
	next := api.ScopeRequest{Env: r.ref.Env, Cluster: r.ref.Name, Stage: strategy.StageSwitchGateway, Why: "the demo shows the way back first"}
	if !r.kept { // else a slow machine would go on before the new version has taken writes for long enough
		if err := r.client.Pause(ctx, r.campaign, next); err != nil {
			return err
		}
		r.kept = true
	}
	var p *campaign.Progress
	for i := range s.Snapshot.Clusters {
		if s.Snapshot.Clusters[i].Ref == r.ref {
			p = &s.Snapshot.Clusters[i]
		}
	}
	if p == nil {
		return fmt.Errorf("the campaign has no cluster %s", r.ref)
	}
	switch {
	case !r.asked && p.Stage == strategy.StageSwitchStorage && p.Action == nil && s.At.Sub(p.Since) > onNew:
		r.since = p.Since
		if err := r.client.Rollback(ctx, r.campaign, api.RollbackRequest{Ref: r.ref, To: strategy.StageReplay, Why: "the demo shows the way back"}); err != nil {
			return err
		}
		if err := r.client.Resume(ctx, r.campaign, next); err != nil {
			return err
		}
		r.asked = true
		fmt.Fprintf(r.out, "  %s goes back to 10.11, with the writes made on 11.8.\n", r.ref)
	case r.asked && !r.back && p.Stage == strategy.StageReplay && p.Action == nil:
		if err := r.prove(ctx); err != nil {
			return err
		}
		r.back = true
		if err := r.client.Resume(ctx, r.campaign, api.ScopeRequest{Env: r.ref.Env, Cluster: r.ref.Name, Why: "the demo goes forward again"}); err != nil {
			return err
		}
		fmt.Fprintf(r.out, "  %s is back on %s: %d of %d writes made on 11.8 are there. Forward again.\n", r.ref, r.rep.RolledBack.OldVersion, r.rep.RolledBack.FoundOnOld, r.rep.RolledBack.AckedOnNew)
	case r.back && p.Stage == strategy.StageTearDown:
		r.rep.RolledBack.ForwardedAgain = true
	}
	return nil
}

// prove asks the old version's primary for every write that was acknowledged while the new version was the primary.
func (r *rollback) prove(ctx context.Context) error {
	switches, err := r.client.Switchovers(ctx, r.campaign)
	if err != nil {
		return err
	}
	var until time.Time
	for _, s := range switches {
		if s.Ref == r.ref && s.Kind == "storage" && s.At.After(r.since) {
			until = s.At
		}
	}
	if until.IsZero() {
		return fmt.Errorf("no switch back of %s is recorded", r.ref)
	}
	status, err := r.client.Cluster(ctx, r.ref)
	if err != nil {
		return err
	}
	blue, ok := status.Cluster.Cell("blue")
	if !ok {
		return fmt.Errorf("%s has no blue cell", r.ref)
	}
	out := RolledBack{Cluster: r.ref.Name, Env: r.ref.Env}
	for _, n := range blue.Nodes {
		version, writable, err := r.place.ask(ctx, n.Address)
		if err != nil || !writable {
			continue
		}
		out.OldVersion = version
		db, err := r.place.open(n.Address, "")
		if err != nil {
			return err
		}
		stored, err := load.Stored(ctx, db, schema)
		if err != nil {
			return err
		}
		if err := db.Close(); err != nil {
			return err
		}
		for _, c := range r.place.clusters {
			if c.Ref() != r.ref {
				continue
			}
			for _, id := range c.load.AckedBetween(r.since, until.Add(-time.Second)) {
				out.AckedOnNew++
				if stored[id] > 0 {
					out.FoundOnOld++
				}
			}
		}
	}
	if out.OldVersion == "" {
		return fmt.Errorf("no blue node of %s is writable after the rollback", r.ref)
	}
	r.rep.RolledBack = &out
	return nil
}
