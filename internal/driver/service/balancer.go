package service

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Balancer is a load balancer of another kind, by commands of the user's own. Look may name the cluster, the others the node and {term}, and
// Give {percent} of the node's weight. All end with 0 when it is done; those that change something end with Fenced if they have seen a higher
// term. It is a rolling.Balancer.
//
// Look writes an object of JSON to its standard output, with every field for every node of the cluster:
//
//	{"nodes": [{"node": "n1", "up": true, "admitted": true, "weight": 100, "sessions": 3}]}
//
// A field or a node that is missing is not known, and never zero. A node that the cluster does not have is one that nobody upgrades.
type Balancer struct {
	Look, DrainWith, CutWith, Give []string
	Timeout                        time.Duration // of one command; 0: 30 s
}

// backend is what Look says of one node.
type backend struct {
	Node     *string `json:"node"`
	Up       *bool   `json:"up"`
	Admitted *bool   `json:"admitted"`
	Weight   *int    `json:"weight"`
	Sessions *int    `json:"sessions"`
}

// checked is what the strategy is told; what is missing or can't be is an error.
func (b backend) checked() (rolling.Backend, error) {
	switch {
	case b.Node == nil:
		return rolling.Backend{}, fmt.Errorf("one of the nodes has no \"node\", which is its name")
	case b.Up == nil || b.Admitted == nil || b.Weight == nil || b.Sessions == nil:
		return rolling.Backend{}, fmt.Errorf("%s lacks one of up, admitted, weight and sessions", *b.Node)
	case *b.Weight < 0 || *b.Weight > 100:
		return rolling.Backend{}, fmt.Errorf("the weight of %s is %d, which is no percentage", *b.Node, *b.Weight)
	case *b.Sessions < 0:
		return rolling.Backend{}, fmt.Errorf("%s has %d sessions", *b.Node, *b.Sessions)
	}
	return rolling.Backend{Node: *b.Node, Up: *b.Up, Admitted: *b.Admitted, Weight: *b.Weight, Sessions: *b.Sessions}, nil
}

func (l Balancer) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if l.Timeout == 0 {
		l.Timeout = 30 * time.Second
	}
	return within(ctx, l.Timeout, "balancer.commands.timeout")
}

// Observe tells of every node of the cluster, and after them of others that are given requests.
func (l Balancer) Observe(ctx context.Context, c fleet.Cluster) ([]rolling.Backend, error) {
	ctx, cancel := l.within(ctx)
	defer cancel()
	var argv []string
	for _, text := range l.Look {
		argv = append(argv, Text(text, c.Ref()))
	}
	out, said := &limited{most: mostAnswer}, &limited{most: mostAnswer}
	code, err := runTo(ctx, argv, nil, out, said)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, fmt.Errorf("%s ends with %d: %s", strings.Join(argv, " "), code, short(append(said.b.Bytes(), out.b.Bytes()...)))
	}
	known, err := backends(out.b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the answer of %s: %w", argv[0], err)
	}
	var all []rolling.Backend
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			b, ok := known[n.Name]
			if !ok {
				return nil, fmt.Errorf("the answer of %s has nothing of %s", argv[0], n.Name)
			}
			all = append(all, b)
			delete(known, n.Name)
		}
	}
	for _, other := range slices.Sorted(maps.Keys(known)) {
		if known[other].Admitted {
			all = append(all, known[other])
		}
	}
	return all, nil
}

func backends(answer []byte) (map[string]rolling.Backend, error) {
	var said struct {
		Nodes []backend `json:"nodes"`
	}
	if err := json.Unmarshal(answer, &said); err != nil {
		return nil, fmt.Errorf("it is not the JSON that was asked for (%w): %s", err, short(answer))
	}
	known := map[string]rolling.Backend{}
	for _, one := range said.Nodes {
		b, err := one.checked()
		if err != nil {
			return nil, err
		}
		if _, twice := known[b.Node]; twice {
			return nil, fmt.Errorf("%s is there twice", b.Node)
		}
		known[b.Node] = b
	}
	return known, nil
}

// Drain sends the node nothing new.
func (l Balancer) Drain(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	return l.change(ctx, l.DrainWith, Unit{Ref: c.Ref(), Node: n, Term: term})
}

// Cut ends what is on the node.
func (l Balancer) Cut(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	return l.change(ctx, l.CutWith, Unit{Ref: c.Ref(), Node: n, Term: term})
}

// Admit gives the node requests, with that share of its weight.
func (l Balancer) Admit(ctx context.Context, c fleet.Cluster, n fleet.Node, percent int, term int64) error {
	return l.change(ctx, l.Give, Unit{Ref: c.Ref(), Node: n, Term: term, percent: strconv.Itoa(percent)})
}

func (l Balancer) change(ctx context.Context, argv []string, u Unit) error {
	ctx, cancel := l.within(ctx)
	defer cancel()
	argv, err := expanded(argv, u)
	if err != nil {
		return err
	}
	return do(ctx, argv, u)
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Balancer = Balancer{}
