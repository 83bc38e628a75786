package rolling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// errNotHealthy means that a node was started and did not get well in its time.
var errNotHealthy = errors.New("it does not get healthy")

// status is all that a step has to remember: the group that it took out, and for which version. What became of each node is seen, but for one
// thing: a node that was started on the other version and says that it runs this one is not believed.
type status struct {
	Out []string `json:"out,omitempty"`
	For string   `json:"for,omitempty"`
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

// lower brings every node back to the old version, and lowerNodes all but the canary, in reverse order.
func (h handlers) lower(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.From, 0, 0)
}

func (h handlers) lowerNodes(ctx context.Context, c *engine.Call) (engine.Result, error) {
	return h.bring(ctx, c, c.Campaign.From, -1, 0)
}

// bring brings nodes to a version, group by group. upTo says how many nodes of the cell are on it then: 0 all, 1 one, -1 all but one. size is
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
		first, text := size == 1, ""
		if version == c.Campaign.To && !first && count(all, func(s seen) bool { return s.whole(version) }) == 0 {
			first, text = true, ", one alone, for no node serves on "+version // the canary fell ill in its soak, or is gone
		}
		if first {
			n = 1
		}
		want := len(all)
		switch upTo {
		case 1:
			want = 1
		case -1:
			want = len(all) - 1
		}
		group, wait, err := choose(c, all, st, version, want, n, least)
		if err != nil {
			return engine.Result{}, err
		}
		if wait != "" {
			return engine.Result{Wait: true, Status: engine.Status(st), Progress: progress(all, version, want), Message: wait}, nil
		}
		if len(group) == 0 {
			return engine.Result{Status: engine.Status(status{}), Progress: 1}, nil
		}
		if !slices.Contains(st.Out, group[0].Name) {
			st.For = version // a group that nobody has touched
		}
		st = status{Out: names(group), For: or(st.For, version)}
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
			return engine.Result{Wait: true, RetryAfter: 15 * time.Second, Status: engine.Status(st), Progress: progress(all, version, want),
				Message: fmt.Sprintf("%v. The others go on serving; nothing more is taken out. Mend it, or abort: then every group goes back", err)}, nil
		}
		st = status{}
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

// choose takes up the group that is out, or picks the next one. wait says why none may be taken out now. A node of the group that was
// chosen and still serves as before is not out yet: the others may have fallen ill since.
func choose(c *engine.Call, all []seen, st status, version string, want, size, least int) (group []fleet.Node, wait string, err error) {
	var todo []fleet.Node
	out := map[string]bool{}
	done := 0
	for _, s := range all {
		switch {
		case s.is.Version != "" && !fleet.HasVersion(s.is.Version, c.Campaign.From) && !fleet.HasVersion(s.is.Version, c.Campaign.To):
			return nil, "", engine.Refuse("%s runs %s, which is neither %s nor %s: somebody changed it by hand", s.Name, s.is.Version, c.Campaign.From, c.Campaign.To)
		case slices.Contains(st.Out, s.Name) && (!s.serves() || fleet.HasVersion(s.is.Version, version)):
			group = append(group, s.Node)
		case s.whole(version):
			done++
		default:
			todo = append(todo, s.Node)
			out[s.Name] = !s.serves()
		}
	}
	if len(group) > 0 {
		return group, "", nil
	}
	if version == c.Campaign.From {
		slices.Reverse(todo) // the way back goes in reverse order
	}
	left := want - done
	if left <= 0 || len(todo) == 0 {
		return nil, "", nil
	}
	serving := count(all, seen.serves)
	if group = campaign.NextGroup(todo, out, min(size, left), serving, least); len(group) > 0 {
		return group, "", nil
	}
	return nil, tooFew(all, serving, least) + ": none is taken out", nil
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

// replace takes a group through the whole of it, all nodes of it at once. It goes on from wherever each node is: one that runs the version
// already, and was never started on another since it was taken out, is only put back.
func (h handlers) replace(ctx context.Context, c *engine.Call, group []fleet.Node, version string, turned bool) error {
	if err := h.schemaThere(ctx, c, version); err != nil { // before anything is taken out
		return err
	}
	all, err := h.look(ctx, c)
	if err != nil {
		return err
	}
	var change []fleet.Node
	for _, s := range all {
		if slices.ContainsFunc(group, func(n fleet.Node) bool { return n.Name == s.Name }) && (turned && !s.serves() || !s.is.Running || !fleet.HasVersion(s.is.Version, version)) {
			change = append(change, s.Node)
		}
	}
	for _, phase := range []struct {
		nodes []fleet.Node
		do    func(context.Context, *engine.Call, fleet.Node) error
		point string
	}{
		{change, h.takeOut, "drained"},
		{change, h.empty, "left"},
		{change, h.stop, "stopped"},
		{change, h.disconnected, "disconnected"},
		{change, func(ctx context.Context, c *engine.Call, n fleet.Node) error { return h.start(ctx, c, n, version) }, "started"},
	} {
		if err := each(ctx, phase.nodes, func(ctx context.Context, n fleet.Node) error { return phase.do(ctx, c, n) }); err != nil {
			return err
		}
		c.Point(phase.point)
	}
	well, ill := h.healthy(ctx, c, group, version)
	c.Point("healthy")
	if err := h.admit(ctx, c, well, version); err != nil {
		return errors.Join(ill, err)
	}
	c.Point("admitted")
	if ill != nil {
		return ill
	}
	return h.watch(ctx, c, group, version)
}

// each does it for all nodes at once, to the end, and gives every error.
func each(ctx context.Context, nodes []fleet.Node, f func(context.Context, fleet.Node) error) error {
	errs := make([]error, len(nodes))
	var g errgroup.Group
	for i, n := range nodes {
		g.Go(func() error { errs[i] = f(ctx, n); return nil })
	}
	_ = g.Wait() // every error is in errs
	return errors.Join(errs...)
}

func (h handlers) drain(ctx context.Context, c *engine.Call, n fleet.Node) error {
	if err := h.Balancer.Drain(ctx, c.Cluster, n, c.Term); err != nil {
		return fmt.Errorf("drain %s: %w", n.Name, err)
	}
	return nil
}

// empty waits until the load balancer has nothing on the node. What does not end in time is cut off. A node that is given requests again is
// drained again: a load balancer that was started anew has forgotten who is out.
func (h handlers) empty(ctx context.Context, c *engine.Call, n fleet.Node) error {
	admitted := false
	left := func() (string, error) {
		bs, err := h.Balancer.Observe(ctx, c.Cluster)
		if err != nil {
			return "", fmt.Errorf("ask the load balancer: %w", err)
		}
		i := slices.IndexFunc(bs, func(b Backend) bool { return b.Node == n.Name })
		if i < 0 {
			return "", fmt.Errorf("the load balancer does not know %s any more", n.Name)
		}
		admitted = bs[i].Admitted
		switch {
		case admitted:
			return n.Name + " is given requests again: the load balancer was started anew, or somebody admitted it", h.takeOut(ctx, c, n)
		case bs[i].Sessions > 0:
			return fmt.Sprintf("%d sessions are on %s", bs[i].Sessions, n.Name), nil
		}
		return "", nil
	}
	missing, err := h.until(ctx, c, c.Campaign.Rolling.DrainWithin, left)
	if err == nil && missing != "" && !admitted {
		c.Log.Warn("sessions are cut off", "node", n.Name, "left", missing)
		if err := h.Balancer.Cut(ctx, c.Cluster, n, c.Term); err != nil {
			return fmt.Errorf("cut the sessions on %s: %w", n.Name, err)
		}
		missing, err = h.until(ctx, c, 5*time.Second, left)
	}
	return isolated(n, missing, err)
}

func isolated(n fleet.Node, missing string, err error) error {
	if err == nil && missing != "" {
		err = errors.New(missing)
	}
	if err != nil {
		return fmt.Errorf("isolate %s: %w", n.Name, err)
	}
	return nil
}

func (h handlers) stop(ctx context.Context, c *engine.Call, n fleet.Node) error {
	if err := h.empty(ctx, c, n); err != nil { // seen a moment ago is not enough for what can't be taken back
		return err
	}
	if err := h.spare(ctx, c, n); err != nil {
		return err
	}
	if err := h.Nodes.Stop(ctx, c.Cluster, n, c.Term); err != nil {
		return fmt.Errorf("stop %s: %w", n.Name, err)
	}
	return nil
}

// disconnected sees that the database has none of the node's connections left.
func (h handlers) disconnected(ctx context.Context, c *engine.Call, n fleet.Node) error {
	missing, err := h.until(ctx, c, 30*time.Second, func() (string, error) {
		left, what, err := h.Connections.Of(ctx, c.Cluster, n)
		if err != nil || left == 0 {
			return "", err
		}
		return fmt.Sprintf("it is stopped, and the database still has %d connections of it: %s", left, what), nil
	})
	return isolated(n, missing, err)
}

// start starts a node. That it could not be is no end yet: it is tried again while its health is waited for.
func (h handlers) start(ctx context.Context, c *engine.Call, n fleet.Node, version string) error {
	tried, err := h.launch(ctx, c, n, version)
	if err != nil {
		return err
	}
	if tried != nil {
		c.Log.Warn("a node does not start", "node", n.Name, "version", version, "err", tried)
	}
	return nil
}

// launch starts a node, on the schema that it needs, that the load balancer gives nothing: one that was started anew since has forgotten who is out, and would give it all of its
// share before its health and version are proved. tried is why it did not start; err why it may not be tried.
func (h handlers) launch(ctx context.Context, c *engine.Call, n fleet.Node, version string) (tried, err error) {
	if err := h.schemaThere(ctx, c, version); err != nil {
		return nil, err
	}
	if err := h.drain(ctx, c, n); err != nil {
		return nil, err
	}
	tried = h.Nodes.Start(ctx, c.Cluster, n, version, c.Term)
	if errors.Is(tried, engine.ErrFenced) || tried != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("start %s on %s: %w", n.Name, version, tried)
	}
	return tried, nil
}

// healthy waits for the nodes' own word that they are well and on the version, and tells which said so, and why the others did not. One whose
// process is gone is started again, and so is one that could not be started at all: a program that is missing is one that never gets healthy.
// Until it is proved a node is given no requests.
func (h handlers) healthy(ctx context.Context, c *engine.Call, group []fleet.Node, version string) (well []fleet.Node, ill error) {
	return h.wellOf(ctx, c, group, func(n fleet.Node) (string, error) {
		s, err := h.Nodes.Observe(ctx, c.Cluster, n)
		if err == nil && !s.Running {
			tried, err := h.launch(ctx, c, n, version)
			if err != nil {
				return "", err
			}
			if tried != nil {
				return fmt.Sprintf("%s does not start: %v", n.Name, tried), nil
			}
		}
		missing, err := proof(n, s, version, err)
		if err == nil && missing == "" {
			return "", nil
		}
		return missing, errors.Join(err, h.keepOut(ctx, c, n))
	})
}

// stillHealthy is the same for nodes that are given requests. One whose process is gone is ill: started again it would begin where it fell.
func (h handlers) stillHealthy(ctx context.Context, c *engine.Call, group []fleet.Node, version string) (well []fleet.Node, ill error) {
	return h.wellOf(ctx, c, group, func(n fleet.Node) (string, error) {
		s, err := h.Nodes.Observe(ctx, c.Cluster, n)
		return proof(n, s, version, err)
	})
}

// proof is the node's own word; missing says what it did not say.
func proof(n fleet.Node, s NodeState, version string, err error) (missing string, _ error) {
	switch {
	case err != nil:
		return "", err
	case !s.Running || !s.Healthy:
		return fmt.Sprintf("%s: %s", n.Name, or(s.Detail, "it does not say that it is healthy")), nil
	case !fleet.HasVersion(s.Version, version):
		return fmt.Sprintf("%s says that it runs %s, not %s", n.Name, or(s.Version, "no version"), version), nil
	}
	return "", nil
}

// wellOf waits for every node of the group at once, for as long as the campaign gives one to be healthy.
func (h handlers) wellOf(ctx context.Context, c *engine.Call, group []fleet.Node, look func(fleet.Node) (string, error)) (well []fleet.Node, ill error) {
	ok := make([]bool, len(group))
	ill = each(ctx, group, func(ctx context.Context, n fleet.Node) error {
		missing, err := h.until(ctx, c, c.Campaign.Rolling.HealthyWithin, func() (string, error) { return look(n) })
		switch {
		case err != nil:
			return fmt.Errorf("look at %s: %w", n.Name, err)
		case missing != "":
			return fmt.Errorf("%w within %v: %s", errNotHealthy, c.Campaign.Rolling.HealthyWithin, missing)
		}
		ok[slices.IndexFunc(group, func(m fleet.Node) bool { return m.Name == n.Name })] = true
		return nil
	})
	for i, n := range group {
		if ok[i] {
			well = append(well, n)
		}
	}
	return well, ill
}

// admit gives the nodes requests, a few first, and more only while they are well.
func (h handlers) admit(ctx context.Context, c *engine.Call, nodes []fleet.Node, version string) error {
	shares := []int{10, 25, 50, 100}
	var ill []error
	for i, percent := range shares {
		if i > 0 {
			well, err := h.stillHealthy(ctx, c, nodes, version)
			nodes, ill = well, append(ill, err)
		}
		if err := each(ctx, nodes, func(ctx context.Context, n fleet.Node) error {
			if err := h.Balancer.Admit(ctx, c.Cluster, n, percent, c.Term); err != nil {
				return fmt.Errorf("admit %s: %w", n.Name, err)
			}
			return nil
		}); err != nil {
			return err
		}
		if i < len(shares)-1 && len(nodes) > 0 {
			if err := h.Sleep(ctx, c.Campaign.Rolling.SlowStart/time.Duration(len(shares)-1)); err != nil {
				return err
			}
		}
	}
	return errors.Join(ill...)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// watch sees the group serve well for the campaign's time.
func (h handlers) watch(ctx context.Context, c *engine.Call, group []fleet.Node, version string) error {
	// The load balancer's own check has its pace: a node that was just admitted may not be up for it yet.
	ill := func() (string, error) {
		all, err := h.look(ctx, c)
		if err != nil {
			return "", err
		}
		var bad []string
		for _, s := range all {
			if slices.ContainsFunc(group, func(n fleet.Node) bool { return n.Name == s.Name }) && !s.whole(version) {
				bad = append(bad, s.String())
			}
		}
		return strings.Join(bad, "; "), nil
	}
	missing, err := h.until(ctx, c, c.Campaign.Rolling.HealthyWithin, ill)
	for stop := c.Now().Add(c.Campaign.Rolling.Watch); err == nil && missing == "" && c.Now().Before(stop); {
		if err := h.Sleep(ctx, min(time.Second, stop.Sub(c.Now()))); err != nil {
			return err
		}
		if missing, err = ill(); err != nil { // one look that failed says nothing yet
			missing, err = h.until(ctx, c, 10*time.Second, ill)
		}
	}
	if err != nil {
		return err
	}
	if missing != "" {
		return fmt.Errorf("%w: %s", errNotHealthy, missing)
	}
	return nil
}
