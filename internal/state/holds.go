package state

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Holds are no transitions: Decide finds them anew at every look. So that a person hears of those that only a person ends, the first
// look that sees one writes an event, and the table holds remembers what was told. Clusters of one environment that are held before one
// stage for one reason share an event, so a look over 10,000 clusters writes a handful.

const (
	// unsure is how long what comes from a look at the servers must hold before it is told: one failed look is no news.
	unsure = time.Minute
	// again is how long the same hold of the same cluster is not told again after it has come and gone.
	again = time.Hour
	// gather is how long clusters that come to a hold that was told for others already wait, to be told together.
	gather = 10 * time.Minute
	// examples is how many clusters an event names.
	examples = 3
)

// fromLooks are the holds that a look at the servers makes and ends.
var fromLooks = []string{campaign.CodeUnknown, campaign.CodeVersion, campaign.CodePolicy, campaign.CodeWayBack}

// hold is what is kept of a cluster that needs, or needed, a person.
type hold struct {
	ref         fleet.ClusterRef
	stage, code string // of now; no code: nothing that needs a person
	since       time.Time
	toldStage   string
	toldCode    string
	toldAt      time.Time
	earlier     string // []telling as JSON: those before it, of other stages or codes, that are not to be told again yet
}

// telling is what was told of a cluster, and when.
type telling struct {
	Stage string    `json:"stage"`
	Code  string    `json:"code"`
	At    time.Time `json:"at"`
}

// tellings are all that are remembered: a cluster that goes to and fro between two reasons is told of each once in a while, not at each turn.
func (h hold) tellings() ([]telling, error) {
	var all []telling
	if h.earlier != "" {
		var err error
		if all, err = decode[[]telling](h.earlier); err != nil {
			return nil, err
		}
	}
	if h.toldCode != "" {
		all = append(all, telling{h.toldStage, h.toldCode, h.toldAt})
	}
	return all, nil
}

// tell takes what holds now as told.
func (h *hold) tell(before []telling, now time.Time) {
	before = slices.DeleteFunc(before, func(t telling) bool { return t.Stage == h.stage && t.Code == h.code || now.Sub(t.At) >= again })
	if h.earlier = ""; len(before) > 0 {
		h.earlier = text(before)
	}
	h.toldStage, h.toldCode, h.toldAt = h.stage, h.code, now
}

func (h hold) told() bool {
	return h.code != "" && h.stage == h.toldStage && h.code == h.toldCode && !h.toldAt.Before(h.since)
}

// due tells whether the hold is to be told now, after what was told before.
func (h hold) due(before []telling, now time.Time) bool {
	switch {
	case h.code == "" || h.told():
		return false
	case slices.Contains(fromLooks, h.code) && now.Sub(h.since) < unsure:
		return false
	}
	return !slices.ContainsFunc(before, func(t telling) bool { return t.Stage == h.stage && t.Code == h.code && now.Sub(t.At) < again })
}

// TellHolds writes an event for each hold that needs a person and that nobody was told of yet, and one when it is over. It may be called
// as often as one likes: nothing is written when nothing has changed.
func (s *Store) TellHolds(ctx context.Context, name string, decide DecideFunc) error {
	changed := false
	if err := s.view(ctx, func(tx *sql.Tx) error {
		snap, err := s.snapshot(ctx, tx, name)
		if err != nil || snap.Status != campaign.StatusRunning {
			return err
		}
		now := s.Now()
		news, err := holdNews(ctx, tx, snap, decide(snap, now), now)
		changed = len(news.rows)+len(news.events) > 0
		return err
	}); err != nil || !changed {
		return err
	}
	return s.update(ctx, func(tx *sql.Tx) error { // on what holds now: another server may have told meanwhile
		snap, err := s.snapshot(ctx, tx, name)
		if err != nil || snap.Status != campaign.StatusRunning {
			return err
		}
		now := s.Now()
		return s.tellHolds(ctx, tx, snap, decide(snap, now), now)
	})
}

// tellHolds is TellHolds in the caller's transaction.
func (s *Store) tellHolds(ctx context.Context, tx *sql.Tx, snap campaign.Snapshot, decisions []campaign.Decision, now time.Time) error {
	news, err := holdNews(ctx, tx, snap, decisions, now)
	if err != nil || len(news.rows)+len(news.events) == 0 {
		return err
	}
	put := make([][]any, 0, len(news.rows))
	for _, h := range news.rows {
		put = append(put, []any{snap.Campaign.Name, h.ref.Env, h.ref.Name, h.stage, h.code, micros(h.since), h.toldStage, h.toldCode, micros(h.toldAt), h.earlier})
	}
	if _, err := s.putMany(ctx, tx, `INSERT INTO holds (campaign, env, cluster, stage, code, since, told_stage, told_code, told_at, earlier)`,
		`ON CONFLICT (campaign, env, cluster) DO UPDATE SET stage = excluded.stage, code = excluded.code, since = excluded.since, told_stage = excluded.told_stage, told_code = excluded.told_code, told_at = excluded.told_at, earlier = excluded.earlier`, put); err != nil {
		return err
	}
	for _, e := range news.events {
		if err := s.event(ctx, tx, e); err != nil {
			return err
		}
	}
	return nil
}

// news is what a look at the holds changes.
type news struct {
	rows   []hold
	events []Event
}

// holdNews compares what holds now with what was told.
func holdNews(ctx context.Context, tx *sql.Tx, snap campaign.Snapshot, decisions []campaign.Decision, now time.Time) (news, error) {
	kept, err := rows(ctx, tx, func(r *sql.Rows) (h hold, err error) {
		var since, told int64
		err = r.Scan(&h.ref.Env, &h.ref.Name, &h.stage, &h.code, &since, &h.toldStage, &h.toldCode, &told, &h.earlier)
		h.since, h.toldAt = fromMicros(since), fromMicros(told)
		return h, err
	}, `SELECT env, cluster, stage, code, since, told_stage, told_code, told_at, earlier FROM holds WHERE campaign = $1`, snap.Campaign.Name)
	if err != nil {
		return news{}, err
	}
	old := make(map[fleet.ClusterRef]hold, len(kept))
	told := make(map[fleet.ClusterRef][]telling, len(kept))
	last := map[holdGroup]time.Time{} // when the group was told of last
	for _, h := range kept {
		old[h.ref] = h
		tellings, err := h.tellings()
		if err != nil {
			return news{}, err
		}
		told[h.ref] = tellings
		for _, t := range tellings {
			if g := (holdGroup{h.ref.Env, t.Stage, t.Code}); t.At.After(last[g]) {
				last[g] = t.At
			}
		}
	}
	var out news
	begun, over := holdList{campaign: snap.Campaign.Name}, holdList{campaign: snap.Campaign.Name}
	for i := range decisions {
		d := &decisions[i]
		h := old[d.Ref]
		h.ref = d.Ref
		before := h
		reason, needs := snap.Campaign.NeedsPerson(d.Hold)
		switch {
		case needs && (h.code != reason.Code || h.stage != d.Hold.Next):
			h.stage, h.code, h.since = d.Hold.Next, reason.Code, now
		case !needs:
			h.stage, h.code = "", ""
		}
		if before.told() && h.code == "" && d.Hold != nil && d.Hold.Reasons[0].Code != campaign.CodeRunning { // what starts has an event of its own
			over.add(before, campaign.Reason{Code: d.Hold.Reasons[0].Code, Message: d.Hold.Reasons[0].Message})
		}
		g := holdGroup{d.Ref.Env, h.stage, h.code}
		if h.due(told[d.Ref], now) && (last[g].IsZero() || now.Sub(last[g]) >= gather) {
			begun.add(h, reason)
			h.tell(told[d.Ref], now)
		}
		if h != before {
			out.rows = append(out.rows, h)
		}
	}
	out.events = append(begun.events("held", true), over.events("hold-over", false)...)
	return out, nil
}

// holdGroup is what shares an event.
type holdGroup struct{ env, stage, code string }

// holdList gathers clusters by what holds them, in the order in which they come.
type holdList struct {
	campaign string
	groups   []*heldClusters
	by       map[holdGroup]*heldClusters
}

type heldClusters struct {
	holdGroup
	n      int
	names  []string
	reason campaign.Reason // of the first
}

func (l *holdList) add(h hold, reason campaign.Reason) {
	g := holdGroup{h.ref.Env, h.stage, h.code}
	if l.by == nil {
		l.by = map[holdGroup]*heldClusters{}
	}
	c := l.by[g]
	if c == nil {
		c = &heldClusters{holdGroup: g, reason: reason}
		l.by[g], l.groups = c, append(l.groups, c)
	}
	if c.n < examples {
		c.names = append(c.names, h.ref.Name)
	}
	c.n++
}

// events makes one event of each group. That of a single cluster is in its timeline.
func (l *holdList) events(kind string, loud bool) []Event {
	var all []Event
	for _, c := range l.groups {
		e := Event{Kind: kind, Loud: loud, Campaign: l.campaign, Ref: fleet.ClusterRef{Env: c.env}, Stage: c.stage}
		who, of := "", ""
		switch {
		case c.n == 1:
			e.Ref.Name = c.names[0]
		default:
			who = fmt.Sprintf("%d clusters: ", c.n)
			for i, name := range c.names {
				if i > 0 {
					who += ", "
				}
				who += name
			}
			if more := c.n - len(c.names); more > 0 {
				who += fmt.Sprintf(" and %d more", more)
			}
			who += ": "
			of = ", for " + c.names[0]
		}
		if loud {
			e.Message = fmt.Sprintf("%s%s: %s. Released by%s: %s", who, c.code, c.reason.Message, of, c.reason.Release)
		} else {
			e.Message = fmt.Sprintf("%s%s holds it no more; now %s: %s", who, c.code, c.reason.Code, c.reason.Message)
		}
		all = append(all, e)
	}
	return all
}
