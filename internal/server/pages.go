package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/server/web"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

func (s *Server) pages() (http.Handler, error) {
	p := pages{s}
	return web.New(web.Config{Source: p, Operator: p, Auth: p, Log: s.cfg.Log, Now: s.cfg.Now, OpenReads: s.cfg.OpenReads, Secure: s.cfg.TLS != nil})
}

// pages gives the dashboard what it shows, from the same reads as the API.
type pages struct{ s *Server }

// clusterStatus gathers all that is known of a cluster. Its place in a campaign is read first and its inventory last: whoever is told that it has arrived is never told
// of the inventory before that.
func (s *Server) clusterStatus(ctx context.Context, ref fleet.ClusterRef) (api.ClusterStatus, error) {
	out := api.ClusterStatus{}
	err := s.inCampaign(ctx, ref, &out)
	if err != nil {
		return out, err
	}
	if out.Actions, err = s.cfg.Store.Actions(ctx, ref, 20); err != nil {
		return out, err
	}
	o, err := s.cfg.Store.LastObservation(ctx, ref)
	switch {
	case err == nil:
		out.Observation = &o
	case !errors.Is(err, state.ErrNotFound):
		return out, err
	}
	out.Cluster, err = s.cfg.Store.Cluster(ctx, ref)
	if errors.Is(err, state.ErrNotFound) {
		out.Cluster, out.Forgotten, err = s.cfg.Store.Forgotten(ctx, ref) // its history stays readable
	}
	return out, err
}

// inCampaign says where the cluster is in its campaign, and what is decided about it now.
func (s *Server) inCampaign(ctx context.Context, ref fleet.ClusterRef, out *api.ClusterStatus) error {
	infos, err := s.cfg.Store.Campaigns(ctx)
	if err != nil {
		return err
	}
	for _, info := range infos {
		snap, err := s.cfg.Store.Snapshot(ctx, info.Campaign.Name)
		if err != nil {
			return err
		}
		for i, p := range snap.Clusters {
			if p.Ref != ref {
				continue
			}
			out.Campaign, out.Progress = snap.Campaign.Name, &snap.Clusters[i]
			for _, d := range s.cfg.Decide(snap, s.cfg.Now()) {
				if d.Ref == ref {
					out.Decision = &d
				}
			}
			return nil
		}
	}
	return nil
}

func heads(c campaign.Campaign) []web.StageHead {
	st, _ := strategy.ByName(c.Strategy)
	out := make([]web.StageHead, len(st.Stages))
	for i, stage := range st.Stages {
		limits := map[string]int{}
		for _, e := range c.Environments {
			limits[e] = c.Limits.Of(e, stage.Name)
		}
		out[i] = web.StageHead{Name: stage.Name, Summary: stage.Summary, PointOfNoReturn: stage.PointOfNoReturn, Limits: limits, Soak: c.Soak.Stages[stage.Name]}
	}
	return out
}

// row draws one cluster's line of the board.
func row(st strategy.Strategy, p campaign.Progress, d campaign.Decision) web.Row {
	r := web.Row{Ref: p.Ref, Version: p.Version, Boxes: make([]web.Box, len(st.Stages))}
	_, at := st.Stage(p.Stage)
	for i := range st.Stages {
		switch {
		case i <= at:
			r.Boxes[i] = web.Box{State: web.StateDone, Detail: "completed"}
		case i == at+1:
			r.Boxes[i] = web.Box{State: web.StateNext}
		default:
			r.Boxes[i] = web.Box{State: web.StateFar}
		}
	}
	mark := func(stage string, b web.Box) {
		if _, i := st.Stage(stage); i >= 0 {
			r.Boxes[i] = b
		}
	}
	switch {
	case p.Action != nil && p.Action.Direction == string(strategy.Back):
		mark(p.Action.Stage, web.Box{State: web.StateBack, Detail: p.Action.Message})
		r.Note = p.Action.Message
	case p.Action != nil && p.Action.Message != "":
		mark(p.Action.Stage, web.Box{State: web.StateWaiting, Detail: p.Action.Message})
		r.Note = p.Action.Message
	case p.Action != nil:
		mark(p.Action.Stage, web.Box{State: web.StateRunning, Text: p.Action.Step, Detail: "running"})
	case p.Failure != nil:
		mark(p.Failure.Stage, web.Box{State: web.StateFailed, Detail: p.Failure.Message})
		r.Note = "failed in " + p.Failure.Stage + ": " + p.Failure.Message
	case d.Hold != nil && len(d.Hold.Reasons) > 0:
		first := d.Hold.Reasons[0]
		mark(d.Hold.Next, web.Box{State: web.StateHeld, Text: first.Code, Detail: first.Message})
		r.Note = first.Message
	}
	return r
}

func byRef(ds []campaign.Decision) map[fleet.ClusterRef]campaign.Decision {
	m := make(map[fleet.ClusterRef]campaign.Decision, len(ds))
	for _, d := range ds {
		m[d.Ref] = d
	}
	return m
}

func (p pages) head(snap campaign.Snapshot, applied int64) web.CampaignHead {
	c := snap.Campaign
	h := web.CampaignHead{Name: c.Name, Strategy: c.Strategy, Product: c.Product, From: c.From, To: c.To, Status: snap.Status, Total: len(snap.Clusters), Started: time.UnixMicro(applied)}
	st, _ := strategy.ByName(c.Strategy)
	for _, one := range snap.Clusters {
		if _, at := st.Stage(one.Stage); at == len(st.Stages)-1 {
			h.Arrived++
		}
	}
	return h
}

// Overview reads the board.
func (p pages) Overview(ctx context.Context, name string) (web.Overview, error) {
	store := p.s.cfg.Store
	out := web.Overview{At: p.s.cfg.Now()}
	infos, err := store.Campaigns(ctx)
	if err != nil {
		return out, err
	}
	out.Warnings = p.warnings(ctx)
	var chosen *state.CampaignInfo
	for i, info := range infos {
		if chosen == nil && (name == "" || info.Campaign.Name == name) {
			chosen = &infos[i]
			continue
		}
		out.Others = append(out.Others, info.Campaign.Name)
	}
	if chosen == nil && name != "" {
		return out, web.ErrNotFound
	}
	if out.Events, err = p.events(ctx, state.EventFilter{Newest: true, Limit: 15}); err != nil || chosen == nil {
		return out, err
	}
	snap, err := store.Snapshot(ctx, chosen.Campaign.Name)
	if err != nil {
		return out, err
	}
	h := p.head(snap, chosen.AppliedAt)
	out.Campaign, out.Stages = &h, heads(snap.Campaign)
	st, _ := strategy.ByName(snap.Campaign.Strategy)
	decisions := byRef(p.s.cfg.Decide(snap, out.At))
	boards := map[string]*web.Board{}
	for _, e := range snap.Campaign.Environments {
		boards[e] = &web.Board{Env: e}
	}
	for _, one := range snap.Clusters {
		b := boards[one.Ref.Env]
		if b == nil {
			continue
		}
		d := decisions[one.Ref]
		b.Total++
		switch {
		case d.Arrived:
			b.Arrived++
		case one.Action != nil:
			b.Running++
		case one.Failure != nil:
			b.Failed++
		case d.Hold != nil:
			b.Held++
		}
		b.Rows = append(b.Rows, row(st, one, d))
	}
	for _, e := range snap.Campaign.Environments {
		out.Envs = append(out.Envs, *boards[e])
	}
	return out, nil
}

// warnings tells of sinks of events that are behind. That they can't be read is a warning too.
func (p pages) warnings(ctx context.Context) []string {
	if p.s.cfg.Notifications == nil {
		return nil
	}
	sinks, err := p.s.cfg.Notifications.Status(ctx)
	if err != nil {
		return []string{"It is not known whether notifications are delivered: " + err.Error()}
	}
	var all []string
	for _, s := range sinks {
		if !s.Behind && (s.Trouble == nil || !s.Trouble.Wrong) {
			continue
		}
		text := fmt.Sprintf("Notifications to %s are behind: %d events wait.", s.Name, s.Pending)
		if s.Trouble != nil {
			text += " " + s.Trouble.Error
		}
		all = append(all, text)
	}
	return all
}

// Cluster reads a cluster's page.
func (p pages) Cluster(ctx context.Context, ref fleet.ClusterRef) (web.Cluster, error) {
	c, err := p.s.clusterStatus(ctx, ref)
	if errors.Is(err, state.ErrNotFound) {
		return web.Cluster{}, web.ErrNotFound
	}
	if err != nil {
		return web.Cluster{}, err
	}
	out := web.Cluster{At: p.s.cfg.Now(), Ref: ref, Forgotten: c.Forgotten, Product: c.Cluster.Product, Record: c.Cluster.Record}
	for _, cell := range c.Cluster.Cells {
		wc := web.Cell{Name: cell.Name, Version: cell.Version, Owner: cell.Owner}
		if c.Observation != nil {
			for _, n := range c.Observation.Nodes {
				if n.Cell == cell.Name {
					wc.Nodes = append(wc.Nodes, n)
				}
			}
			for _, g := range c.Observation.Gateways {
				if g.Cell == cell.Name {
					wc.Gateways = append(wc.Gateways, g)
				}
			}
		}
		out.Cells = append(out.Cells, wc)
	}
	if c.Observation != nil {
		out.Observed, out.RecordNow = c.Observation.At, c.Observation.Record
	}
	if out.Events, err = p.events(ctx, state.EventFilter{Ref: ref, Newest: true, Limit: 100}); err != nil || c.Progress == nil {
		return out, err
	}
	snap, err := p.s.cfg.Store.Snapshot(ctx, c.Campaign)
	if err != nil {
		return out, err
	}
	st, _ := strategy.ByName(snap.Campaign.Strategy)
	var d campaign.Decision
	if c.Decision != nil {
		d = *c.Decision
	}
	h := p.head(snap, 0)
	out.Campaign, out.Stages, out.Row = &h, heads(snap.Campaign), row(st, *c.Progress, d)
	out.Failure, out.Attention, out.WayBack = c.Progress.Failure, c.Progress.Attention, c.Progress.WayBack
	if a := c.Progress.Action; a != nil && a.Direction == string(strategy.Forward) {
		stage, i := st.Stage(a.Stage)
		out.CanAbort = i < 0 || !stage.PointOfNoReturn
	}
	if c.Progress.Action == nil {
		out.Hold = d.Hold
		_, at := st.Stage(c.Progress.Stage)
		out.CanRollback = at >= 0 && !st.Stages[at].PointOfNoReturn
		out.RollbackTo = append([]string{""}, st.StageNames()[:max(at, 0)]...)
	}
	if len(c.Actions) > 0 {
		out.Action = action(c.Actions[0], st)
		out.Action.Replay = slices.ContainsFunc(c.Actions, func(a state.ActionInfo) bool { return a.Stage == strategy.StageReplay })
	}
	return out, nil
}

func action(a state.ActionInfo, st strategy.Strategy) *web.Action {
	out := &web.Action{ID: a.ID, Stage: a.Stage, Direction: a.Direction, Status: a.Status, Holder: a.Holder, Term: a.Term, Started: time.UnixMicro(a.CreatedAt)}
	if a.Outcome != "" {
		out.Status, out.Holder = a.Outcome, ""
	}
	does := map[strategy.Kind]string{}
	if stage, i := st.Stage(a.Stage); i >= 0 {
		for _, step := range stage.Steps {
			does[step.Kind] = step.Does
		}
	}
	for _, step := range a.Steps {
		out.Steps = append(out.Steps, web.Step{Kind: string(step.Kind), Does: does[step.Kind], Phase: string(step.Phase), Message: step.Message, Progress: step.Progress, Checks: step.Checks, Started: step.StartedAt, Finished: step.FinishedAt})
	}
	return out
}

// Campaign reads a campaign's page.
func (p pages) Campaign(ctx context.Context, name string) (web.Campaign, error) {
	snap, err := p.s.cfg.Store.Snapshot(ctx, name)
	if errors.Is(err, state.ErrNotFound) {
		return web.Campaign{}, web.ErrNotFound
	}
	if err != nil {
		return web.Campaign{}, err
	}
	infos, err := p.s.cfg.Store.Campaigns(ctx)
	if err != nil {
		return web.Campaign{}, err
	}
	var applied int64
	for _, info := range infos {
		if info.Campaign.Name == name {
			applied = info.AppliedAt
		}
	}
	out := web.Campaign{At: p.s.cfg.Now(), Head: p.head(snap, applied), Envs: snap.Campaign.Environments, Pauses: snap.Pauses}
	for _, f := range snap.Campaign.Freezes {
		if f.Who = ""; f.To.After(out.At) {
			out.Freezes = append(out.Freezes, f)
		}
	}
	for _, f := range snap.Freezes {
		if f.To.After(out.At) {
			out.Freezes = append(out.Freezes, f)
		}
	}
	for _, o := range snap.Overrides {
		if o.Expires.After(out.At) {
			out.Overrides = append(out.Overrides, o)
		}
	}
	if snap.Status == "running" {
		out.Next = campaign.NextLaunch(snap.Campaign, out.At)
		seq, err := p.s.cfg.Store.LastEvent(ctx)
		if err != nil {
			return web.Campaign{}, err
		}
		out.ForecastDue = out.At
		if last, ok := p.s.forecasts.kept(forecastKey{campaign: name}); ok {
			out.Forecast, out.ForecastDue = &last.Prediction, last.due(seq)
		}
	}
	st, _ := strategy.ByName(snap.Campaign.Strategy)
	for i, h := range heads(snap.Campaign) {
		cs := web.CampaignStage{StageHead: h}
		for _, env := range snap.Campaign.Environments {
			n := web.StageCount{Limit: h.Limits[env]}
			for _, one := range snap.Clusters {
				if one.Ref.Env != env {
					continue
				}
				n.Total++
				if _, at := st.Stage(one.Stage); at >= i {
					n.Done++
				}
				if one.Action != nil && one.Action.Stage == h.Name {
					n.Live++
				}
			}
			cs.Counts = append(cs.Counts, n)
		}
		out.Stages = append(out.Stages, cs)
	}
	for _, one := range snap.Clusters {
		if one.Failure != nil {
			out.Failures = append(out.Failures, web.FailedCluster{Ref: one.Ref, Failure: *one.Failure})
		}
	}
	out.Events, err = p.events(ctx, state.EventFilter{Campaign: name, Newest: true, Limit: 100})
	return out, err
}

// Forecast is how a campaign goes on, worked out anew if it is time for that.
func (p pages) Forecast(ctx context.Context, name string) (campaign.Prediction, error) {
	one, err := p.s.foretold(ctx, forecastKey{campaign: name}, foretold.rests)
	if errors.Is(err, state.ErrNotFound) {
		err = web.ErrNotFound
	}
	return one.Prediction, err
}

func (p pages) events(ctx context.Context, f state.EventFilter) ([]web.Event, error) {
	all, err := p.s.cfg.Store.Events(ctx, f)
	out := make([]web.Event, len(all))
	for i, e := range all {
		out[i] = web.Event{Seq: e.Seq, At: e.At, Kind: e.Kind, Ref: e.Ref, Stage: e.Stage, Step: e.Step, Who: e.Who, Message: e.Message, Loud: e.Loud}
	}
	return out, err
}

// Events reads the feed.
func (p pages) Events(ctx context.Context, before int64, limit int) ([]web.Event, error) {
	return p.events(ctx, state.EventFilter{Before: before, Limit: limit, Newest: true})
}

// Changed waits for the next event.
func (p pages) Changed(ctx context.Context, seq int64) (int64, error) {
	return p.s.cfg.Store.Changed(ctx, seq)
}

// Role tells what a token is good for on the pages: a supervisor's is good for nothing there.
func (p pages) Role(ctx context.Context, token string) (string, string, error) {
	t, err := p.s.cfg.Store.TokenOf(ctx, token)
	if errors.Is(err, state.ErrNoToken) || (err == nil && t.Role == "supervisor") {
		return "", "", nil
	}
	return t.Role, t.Name, err
}

// Operate does what an operator confirmed.
func (p pages) Operate(ctx context.Context, op web.Operation) error {
	store := p.s.cfg.Store
	scope := campaign.Pause{Env: op.Ref.Env, Cluster: op.Ref.Name, Stage: op.Stage, Who: op.Who, Why: op.Why}
	switch op.Verb {
	case "pause":
		return store.Pause(ctx, op.Campaign, scope)
	case "resume":
		return store.Resume(ctx, op.Campaign, scope)
	case "abort":
		if op.Ref.Name != "" {
			return store.AbortCluster(ctx, op.Campaign, op.Ref, op.Who, op.Why)
		}
		return store.Abort(ctx, op.Campaign, op.Who, op.Why)
	case "thaw":
		return store.Thaw(ctx, op.Campaign, op.Envs, op.Who, op.Why)
	case "end-override":
		return store.EndOverride(ctx, op.Campaign, campaign.Override{Rule: op.Rule, Env: op.Ref.Env, Cluster: op.Ref.Name, Stage: op.Stage, Who: op.Who, Why: op.Why})
	case "rollback":
		return store.Rollback(ctx, op.Campaign, op.Ref, op.To, op.Who, op.Why)
	}
	return fmt.Errorf("no operation is called %q", op.Verb)
}
