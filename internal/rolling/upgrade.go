package rolling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// status is all that a step has to remember: the group that it took out, for which version, whether it was the first one then, and who was up. What became of
// each node is seen, but for one thing: a node that was started on the other version and says that it runs this one is not believed.
type status struct {
	Out   []string `json:"out,omitempty"`
	For   string   `json:"for,omitempty"`
	First bool     `json:"first,omitempty"` // no node was on the version when it was chosen: if it does not come, it goes back
	// Up are the nodes that were seen to serve on the new version since the step began: one of them that does not any more has failed after its turn.
	Up []string `json:"up,omitempty"`
	// Why the group that is out did not come when it was tried last: whoever looks while it is tried again sees that it holds.
	Why string `json:"why,omitempty"`
}

// raiseCanary brings the first node to the new version.
func (h handlers) raiseCanary(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.To, 1, 1)
}

// raiseNodes brings all nodes to the new version. A node that does not get healthy holds here, for it is not the first one. If no node serves on
// the new version, for the canary fell ill since, one goes first again.
func (h handlers) raiseNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.To, 0, 0)
}

// lower brings every node back to the old version, and lowerNodes all but the canary, one after the other in reverse order.
func (h handlers) lower(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.From, 0, 0)
}

func (h handlers) lowerNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.From, -1, 0)
}

// bring brings nodes to a version, group by group, and back node by node. upTo says how many nodes of the cell are on it then: 0 all, 1 one, -1 all but one. size is
// the group's, 0 the campaign's.
func (h handlers) bring(ctx context.Context, c *engine.Call, version string, upTo, size int) (engine.Result, error) {
	st, err := engine.StatusOf[status](c)
	if err != nil {
		return engine.Result{}, err
	}
	for {
		all, err := h.look(ctx, c)
		if err != nil {
			return engine.Result{}, err
		}
		n, least, err := settings(c, len(all))
		if err != nil {
			return engine.Result{}, err
		}
		forward, taken := version == c.Campaign.To, slices.ContainsFunc(all, func(s seen) bool { return st.took(c, s, version) })
		first, text := size == 1, ""
		st.Up = st.up(c, all, version)
		fallen := st.fallen(c, all)
		switch {
		case first && len(fallen) > 0 && !taken:
			return engine.Result{}, engine.Refuse("the first node fell ill after its watch: %s", strings.Join(fallen, "; "))
		case !forward || first:
		case taken: // as it was chosen: that the nodes before it have fallen ill meanwhile makes it no first one
			first = st.First
		case count(all, seen.serves) == 0:
			return engine.Result{Wait: true, Status: engine.Status(st), Progress: progress(all, version, len(all)), Message: tooFew(all, 0, least) + ": none is taken out"}, nil
		case len(fallen) > 0: // a version of which a node fails after its turn is brought to no other one before a person has looked
			return engine.Result{Wait: true, Held: true, RetryAfter: 5 * time.Second, Status: engine.Status(st), Progress: progress(all, version, len(all)),
				Message: strings.Join(fallen, "; ") + ". It served on " + version + " before. The others go on serving; nothing more is taken out. Mend it, or abort: then every node goes back"}, nil
		case count(all, func(s seen) bool { return s.whole(version) }) == 0:
			first, text = true, ", one alone, for no node serves on "+version // the canary fell ill in its soak, or is gone
		}
		if first || !forward { // the way back goes node by node
			n = 1
		}
		want := len(all)
		switch upTo {
		case 1:
			want = 1
		case -1:
			want = len(all) - 1
		}
		group, wait, held := choose(c, all, st, version, want, n, least)
		if wait != "" {
			return engine.Result{Wait: true, Held: held, Status: engine.Status(st), Progress: progress(all, version, want), Message: wait}, nil
		}
		if len(group) == 0 {
			return engine.Result{Status: engine.Status(status{Up: st.Up}), Progress: 1}, nil
		}
		if !slices.Contains(st.Out, group[0].Name) {
			st.For, st.Why = version, "" // a group that nobody has touched
		}
		if st.For != version {
			st.Why = "" // it was to be brought elsewhere
		}
		if st = (status{Out: names(group), For: cmp.Or(st.For, version), First: first, Up: st.Up, Why: st.Why}); st.Why != "" {
			text += ", once more: " + st.Why
		}
		if err := c.Save(ctx, st, progress(all, version, want), strings.Join(st.Out, ", ")+": out, to be brought to "+version+text); err != nil {
			return engine.Result{}, err
		}
		c.Point("group-chosen")
		if err := h.replace(ctx, c, group, version, st.For != version); err != nil {
			if errors.Is(err, errShare) && !errors.Is(err, engine.ErrFenced) { // who is still out is brought on, and a group chosen anew
				return engine.Result{Wait: true, RetryAfter: 2 * time.Second, Status: engine.Status(st), Progress: progress(all, version, want), Message: err.Error()}, nil
			}
			if !errors.Is(err, errNotHealthy) {
				return engine.Result{}, err
			}
			if first {
				return engine.Result{}, &engine.Refusal{Err: err} // it goes back
			}
			st.Why = fmt.Sprintf("%v. The others go on serving; nothing more is taken out. Mend it, or abort: then every node goes back", err)
			return engine.Result{Wait: true, Held: true, RetryAfter: 15 * time.Second, Status: engine.Status(st), Progress: progress(all, version, want), Message: st.Why}, nil
		}
		st = status{Up: append(st.Up, names(group)...)}
		if err := c.Save(ctx, st, progress(all, version, want), strings.Join(names(group), ", ")+" serves on "+version+h.earlyText(ctx, c)); err != nil {
			return engine.Result{}, err
		}
	}
}

func progress(all []seen, version string, want int) float64 {
	return min(float64(count(all, func(s seen) bool { return s.whole(version) }))/float64(max(want, 1)), 1)
}

func count(all []seen, ok func(seen) bool) int {
	n := 0
	for _, s := range all {
		if ok(s) {
			n++
		}
	}
	return n
}

func names(nodes []fleet.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

// up are those that were up, and those that are now. On the way back it is asked of nobody.
func (st status) up(c *engine.Call, all []seen, version string) (up []string) {
	if version != c.Campaign.To {
		return nil
	}
	for _, s := range all {
		if slices.Contains(st.Up, s.Name) || s.whole(version) {
			up = append(up, s.Name)
		}
	}
	return up
}

// fallen says who was up and is ill, or gone. One that serves on the old version was brought back by somebody, and has its turn again.
func (st status) fallen(c *engine.Call, all []seen) (fallen []string) {
	for _, s := range all {
		if slices.Contains(st.Up, s.Name) && !s.whole(c.Campaign.To) && !s.whole(c.Campaign.From) {
			fallen = append(fallen, s.String())
		}
	}
	return fallen
}

// took tells whether a node is of the group that was chosen, and is to be brought on. One that still serves as before is not out yet: the others may
// have fallen ill since. One that serves on a third version is: nobody but us started it.
func (st status) took(c *engine.Call, s seen, version string) bool {
	return slices.Contains(st.Out, s.Name) && (!s.serves() || fleet.HasVersion(s.is.Version, version) || stray(c, s))
}

// stray tells whether a node says that it runs neither of the campaign's versions.
func stray(c *engine.Call, s seen) bool {
	return s.is.Version != "" && !fleet.HasVersion(s.is.Version, c.Campaign.From) && !fleet.HasVersion(s.is.Version, c.Campaign.To)
}

// choose takes up the group that is out, or picks the next one. wait says why none may be taken out now, and held that a person has to mend it.
func choose(c *engine.Call, all []seen, st status, version string, want, size, least int) (group []fleet.Node, wait string, held bool) {
	var todo []fleet.Node
	out := map[string]bool{}
	done, serving := 0, count(all, seen.serves)
	var strays []string
	for _, s := range all {
		switch {
		case st.took(c, s, version):
			group = append(group, s.Node)
		case stray(c, s):
			strays = append(strays, fmt.Sprintf("%s runs %s, which is neither %s nor %s: somebody changed it by hand", s.Name, s.is.Version, c.Campaign.From, c.Campaign.To))
		case s.whole(version):
			done++
		default:
			todo = append(todo, s.Node)
			// A silent one may serve: it costs nobody anything only if the others are enough without it.
			out[s.Name] = !s.serves() && (serving >= least || version == c.Campaign.From || !s.silent())
		}
	}
	if len(group) > 0 {
		return group, "", false
	}
	if len(strays) > 0 { // a person can mend it; an action that turned round for it would meet it on its way back, too
		return nil, strings.Join(strays, "; ") + ". Nothing more is taken out until it is mended", true
	}
	if version == c.Campaign.From {
		slices.Reverse(todo) // the way back goes in reverse order
	}
	left := want - done
	if left <= 0 || len(todo) == 0 {
		return nil, "", false
	}
	if group = campaign.NextGroup(todo, out, min(size, left), serving, least); len(group) > 0 {
		return group, "", false
	}
	return nil, tooFew(all, serving, least) + ": none is taken out", false
}

// tooFew counts, and says who is out.
func tooFew(all []seen, serving, least int) string {
	var out []string
	for _, s := range all {
		if !s.serves() {
			out = append(out, s.String())
		}
	}
	return fmt.Sprintf("%d of %d nodes serve, and %d have to; %s", serving, len(all), least, strings.Join(out, "; "))
}
