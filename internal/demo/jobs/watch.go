package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Watch looks at the site from outside while it is raised: how many nodes serve, which version each says, and whether a feature of the new
// version is open before the last node is there.
type Watch struct {
	site *Site

	mu     sync.Mutex
	fewest int
	looks  int
	nodes  map[string]Seen
	early  string
	old    time.Time // when the last look began that saw an old node
}

// Seen is what was seen of a node last.
type Seen struct {
	Version string // "" if it did not answer
	Feature bool
	Backend rolling.Backend
}

// Serves tells whether requests reach it.
func (s Seen) Serves() bool { return s.Backend.Up && s.Backend.Admitted && s.Backend.Weight > 0 }

// NewWatch makes a watch of a site.
func NewWatch(s *Site) *Watch {
	return &Watch{site: s, fewest: s.cfg.Nodes, nodes: map[string]Seen{}}
}

// Run watches until the context ends.
func (w *Watch) Run(ctx context.Context) {
	lb := w.site.Balancer.driver()
	for turn := 0; pause(ctx, 25*time.Millisecond); turn++ {
		if turn%8 == 0 {
			w.ask(ctx)
		}
		all, err := lb.Observe(ctx, w.site.Cluster)
		if err != nil {
			continue // a load balancer that is away says nothing of its nodes; its clients see it
		}
		w.balancer(all)
	}
}

func (w *Watch) balancer(all []rolling.Backend) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	n := 0
	for _, b := range all {
		s := w.nodes[b.Node]
		s.Backend = b
		w.nodes[b.Node] = s
		if s.Serves() {
			n++
		}
	}
	w.fewest = min(w.fewest, n)
}

// ask asks every node. Features are asked for first and versions then: a node that says that a feature is open while another says after it
// that it is old has it early, without doubt.
func (w *Watch) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	nodes := w.site.Cluster.Cells[0].Nodes
	features := each(nodes, func(n fleet.Node) (open bool) {
		var f map[string]bool
		return get(ctx, n, "/features", &f) == nil && f["priorities"]
	})
	began := time.Now()
	versions := each(nodes, func(n fleet.Node) string {
		var v struct{ Version string }
		if err := get(ctx, n, "/version", &v); err != nil {
			return ""
		}
		return v.Version
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	var who, old []string
	for i, n := range nodes {
		s := w.nodes[n.Name]
		s.Version, s.Feature = versions[i], features[i]
		w.nodes[n.Name] = s
		if s.Feature {
			who = append(who, n.Name)
		}
		if s.Version != "" && !fleet.HasVersion(s.Version, New) {
			old = append(old, n.Name)
		}
	}
	if len(old) > 0 {
		w.old = began
	}
	if len(who) > 0 && len(old) > 0 && w.early == "" {
		w.early = fmt.Sprintf("a feature of %s was open on %s while %s was old", New, strings.Join(who, ", "), strings.Join(old, ", "))
	}
}

func each[T any](nodes []fleet.Node, f func(fleet.Node) T) []T {
	out := make([]T, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { out[i] = f(n) })
	}
	all.Wait()
	return out
}

// get asks a node itself, on a connection of its own: one that was kept would be a session that a drained node never gets rid of.
func get(ctx context.Context, n fleet.Node, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Address+path, nil)
	if err != nil {
		return err
	}
	t := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: t}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}

// Look looks at every node once, and at the load balancer.
func (s *Site) Look(ctx context.Context) (map[string]Seen, error) {
	w := NewWatch(s)
	w.ask(ctx)
	all, err := s.Balancer.driver().Observe(ctx, s.Cluster)
	if err != nil {
		return nil, err
	}
	w.balancer(all)
	return w.Seen(), nil
}

// Seen is what was seen of each node last, by name.
func (w *Watch) Seen() map[string]Seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := map[string]Seen{}
	for name, s := range w.nodes {
		all[name] = s
	}
	return all
}

// Fewest is how many nodes served when the fewest did, and how often it was looked.
func (w *Watch) Fewest() (n, looks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fewest, w.looks
}

// Early says which feature was open, or given to a client of the load, before the last node was there; "" if none was. given is when the first client
// was given it; zero if none was. Whoever is given it before a look begins that sees an old node has it early, without doubt.
func (w *Watch) Early(given time.Time) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.early == "" && !given.IsZero() && given.Before(w.old) {
		return fmt.Sprintf("a client was given a feature of %s, and %v later a node was old still", New, w.old.Sub(given).Round(time.Millisecond))
	}
	return w.early
}
