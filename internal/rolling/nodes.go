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
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// seen is one node as node and load balancer say.
type seen struct {
	fleet.Node
	is NodeState
	lb Backend
}

// serves tells whether requests reach the node and it is fit for them.
func (s seen) serves() bool { return s.is.Healthy && s.lb.Up && s.lb.Admitted && s.lb.Weight > 0 }

// mute tells whether a node that runs answers us nothing at all: whether it is well is not known.
func (s seen) mute() bool { return s.is.Running && !s.is.Healthy && s.is.Version == "" }

// silent tells whether the load balancer gives such a node requests. It may serve as well as any: it is we who can't reach it.
func (s seen) silent() bool {
	return s.mute() && s.lb.Up && s.lb.Admitted && s.lb.Weight > 0
}

// whole tells whether the node serves its full share on that version.
func (s seen) whole(version string) bool {
	return s.serves() && s.lb.Weight >= 100 && fleet.HasVersion(s.is.Version, version)
}

func (s seen) String() string {
	var parts []string
	switch {
	case !s.is.Running:
		parts = append(parts, "does not run")
	case s.silent():
		parts = append(parts, "does not answer, and the load balancer gives it requests")
	case !s.is.Healthy:
		parts = append(parts, "is not healthy")
	}
	if s.is.Version != "" {
		parts = append(parts, "is on "+s.is.Version)
	}
	switch {
	case !s.lb.Admitted:
		parts = append(parts, fmt.Sprintf("is drained with %d sessions", s.lb.Sessions))
	case s.lb.Weight < 100:
		parts = append(parts, fmt.Sprintf("has %d %% of its weight", s.lb.Weight))
	}
	if s.is.Running && !s.lb.Up {
		parts = append(parts, "is down for the load balancer")
	}
	if s.is.Detail != "" {
		parts = append(parts, "("+s.is.Detail+")")
	}
	return s.Name + " " + strings.Join(parts, ", ")
}

// look asks every node and the load balancer. An error means that something is not known, which holds.
func (h handlers) look(ctx context.Context, c *engine.Call) ([]seen, error) {
	all, _, err := h.lookAround(ctx, c)
	return all, err
}

// lookAround is the same, and tells which servers the load balancer gives requests that the fleet does not have.
func (h handlers) lookAround(ctx context.Context, c *engine.Call) (all []seen, foreign []string, err error) {
	cell, err := cellOf(c)
	if err != nil {
		return nil, nil, err
	}
	backends, err := h.Balancer.Observe(ctx, c.Cluster)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the load balancer: %w", err)
	}
	for _, b := range backends {
		if b.Admitted && b.Weight > 0 && !slices.ContainsFunc(cell.Nodes, func(n fleet.Node) bool { return n.Name == b.Node }) {
			foreign = append(foreign, b.Node)
		}
	}
	all = make([]seen, len(cell.Nodes))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, n := range cell.Nodes {
		all[i].Node = n
		at := slices.IndexFunc(backends, func(b Backend) bool { return b.Node == n.Name })
		if at < 0 {
			return nil, nil, engine.Refuse("the load balancer does not know the node %s: give it a server of that name", n.Name)
		}
		all[i].lb = backends[at]
		g.Go(func() (err error) {
			if all[i].is, err = h.Nodes.Observe(ctx, c.Cluster, n); err != nil {
				return fmt.Errorf("ask %s: %w", n.Name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return all, foreign, nil
}

// onlyOurs looks that nobody is given requests whom nobody upgrades: such a node would meet a schema and features that it does not know.
func onlyOurs(c *engine.Call, foreign []string) check.Result {
	if len(foreign) == 0 {
		return check.Passed("load-balancer", "it gives requests to the fleet's nodes alone", c.Now())
	}
	return check.Failed("load-balancer", "the load balancer gives requests to "+strings.Join(foreign, ", ")+", which the fleet does not have: nobody knows the version",
		"take it out of the load balancer (maintenance is enough), or apply a fleet that has it", c.Now())
}

// onlyOursConnected asks the database the same: a node that the load balancer does not know either, such as a worker, works on it all the same.
func (h handlers) onlyOursConnected(ctx context.Context, c *engine.Call) check.Result {
	others, err := h.Connections.Others(ctx, c.Cluster)
	const name = "database-strangers"
	switch {
	case errors.Is(err, ErrNoNames):
		return check.Warned(name, err.Error(), "let every node give a name with something that all of them share, and say so in connections.value of the engine's database in the supervisor's file", c.Now())
	case err != nil:
		return check.Unknowable(name, err, c.Now())
	case len(others) > 0:
		return check.Failed(name, "connected to the database as nodes of the engine are: "+strings.Join(others, ", ")+", which the fleet does not have: nobody knows the version",
			"stop what it is, give it a name of another kind if it is no node, or apply a fleet that has it", c.Now())
	}
	return check.Passed(name, "no node is connected to the database that the fleet does not have", c.Now())
}

func cellOf(c *engine.Call) (fleet.Cell, error) {
	if len(c.Cluster.Cells) != 1 {
		return fleet.Cell{}, engine.Refuse("cluster %s has %d cells; a rolling upgrade is of one", c.Cluster.Ref(), len(c.Cluster.Cells))
	}
	cell := c.Cluster.Cells[0]
	cell.Nodes = campaign.Spread(cell.Nodes)
	return cell, nil
}

// settings are the campaign's, with the group's size and the least serving nodes counted.
func settings(c *engine.Call, nodes int) (size, least int, err error) {
	if size, err = campaign.GroupSize(c.Campaign.Rolling.Group).Of(nodes); err != nil {
		return 0, 0, &engine.Refusal{Err: err}
	}
	least = campaign.LeastServing(nodes, c.Campaign.Rolling.LeastServing)
	if least >= nodes {
		return 0, 0, engine.Refuse("%d %% of %d nodes have to serve, so none may be taken out: lower rolling.least_serving, or add a node", c.Campaign.Rolling.LeastServing, nodes)
	}
	return size, least, nil
}

// nodesFit looks at every node before the first is touched.
func (h handlers) nodesFit(ctx context.Context, c *engine.Call) (engine.Observation, error) {
	all, foreign, err := h.lookAround(ctx, c)
	if err != nil {
		return engine.Observation{}, err
	}
	if _, _, err := settings(c, len(all)); err != nil {
		return engine.Observation{}, err
	}
	cs := check.Results{onlyOurs(c, foreign)}
	connected := false
	new := count(all, func(s seen) bool { return fleet.HasVersion(s.is.Version, c.Campaign.To) })
	for _, s := range all {
		switch {
		case new == 1 && s.whole(c.Campaign.To): // else an undo that could not bring it back would be a dead end
			cs = append(cs, check.Warned("version", s.Name+" serves on "+s.is.Version+" already", "it is taken for the first node; if no undo left it there, find out who changed it", c.Now()))
		case s.is.Version != "" && !fleet.HasVersion(s.is.Version, c.Campaign.From):
			cs = append(cs, check.Failed("version", fmt.Sprintf("%s runs %s, not %s", s.Name, s.is.Version, c.Campaign.From), "find out who changed it; bring it to "+c.Campaign.From, c.Now()))
		case !s.whole(c.Campaign.From):
			cs = append(cs, check.Failed("serves", s.String(), "mend it first: with a node out by itself there is less to spare", c.Now()))
		default:
			cs = append(cs, check.Passed("serves", s.String(), c.Now()))
		}
		n, what, err := h.Connections.Of(ctx, c.Cluster, s.Node)
		connected = connected || err != nil || n > 0
		switch {
		case err != nil:
			cs = append(cs, check.Unknowable("database-connections", err, c.Now()))
		case n == 0:
			cs = append(cs, check.Warned("database-connections", s.Name+" is seen with no connection to the database", "see that nodes can be told from one another by it: else it proves nothing that a stopped one has none", c.Now()))
		default:
			cs = append(cs, check.Passed("database-connections", fmt.Sprintf("%s has %d: %s", s.Name, n, what), c.Now()))
		}
	}
	if r := h.onlyOursConnected(ctx, c); r.Verdict == check.Fail { // it holds the features; before the first node it is said
		cs = append(cs, check.Warned(r.Name, r.Detail, r.Remedy, c.Now()))
	} else {
		cs = append(cs, r)
	}
	if !connected {
		cs = append(cs, check.Failed("database-connections", "no node is seen with a connection to the database, though they serve: that a stopped one has none would prove nothing",
			"correct how a node's connections are known, connections.by and connections.value of the engine's database in the supervisor's file", c.Now()))
	}
	ok, bad, err := h.Schema.Expanded(ctx, c.Cluster, c.Campaign.To)
	switch {
	case err != nil:
		cs = append(cs, check.Unknowable("schema", err, c.Now()))
	case !ok:
		cs = append(cs, check.Failed("schema", "the schema of "+c.Campaign.To+" is not there: "+bad.String(), "expand it first: a newer node does not go onto an older schema", c.Now()))
	default:
		cs = append(cs, check.Passed("schema", "the schema of "+c.Campaign.To+" is there", c.Now()))
	}
	cs = append(cs, h.early(ctx, c)) // whether they can be asked for at all is better known before the first node than after the last
	o := engine.Observation{There: cs.OK(), Checks: cs, Message: fmt.Sprintf("%d nodes serve on %s", len(all), c.Campaign.From)}
	if !o.There {
		o.Message = cs.Bad().String()
	}
	return o, nil
}

// schemaThere refuses a node on the new version without its schema. The old version may always be started.
func (h handlers) schemaThere(ctx context.Context, c *engine.Call, version string) error {
	if version != c.Campaign.To {
		return nil
	}
	ok, cs, err := h.Schema.Expanded(ctx, c.Cluster, version)
	if err != nil {
		return fmt.Errorf("look at the schema: %w", err)
	}
	if !ok {
		return engine.Refuse("the schema of %s is not there any more: %s", version, cs.Bad())
	}
	return nil
}

// until looks again and again until it is so, or the time is over; what tells what is missing.
func (h handlers) until(ctx context.Context, c *engine.Call, within time.Duration, look func() (missing string, err error)) (missing string, err error) {
	for stop, pause := c.Now().Add(within), 50*time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if missing, err = look(); err == nil && missing == "" {
			return "", nil
		}
		var refusal *engine.Refusal
		if errors.Is(err, engine.ErrFenced) || errors.Is(err, errShare) || errors.Is(err, errNotHealthy) || errors.As(err, &refusal) {
			return "", err
		}
		if !c.Now().Before(stop) {
			return missing, err
		}
		if err := h.Sleep(ctx, pause); err != nil {
			return "", err
		}
	}
}
