// Package engines drives the engines of a supervisor's file: from its words it makes the ports of the rolling strategy, and sends each cluster
// to what belongs to its product.
//
// Nothing is opened before it is used. Secrets are read from their files when they are needed, so that one that was changed is taken up: a pool
// is opened anew when its data source name has changed.
package engines

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/haproxy"
	"github.com/windlass-db/windlass/internal/driver/nginx"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/schema"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

// Engines are the engines of one supervisor.
type Engines struct {
	by map[string]*site // by product

	mu    sync.Mutex
	pools map[fleet.ClusterRef]pool
}

type pool struct {
	db         *sql.DB
	dataSource string
}

// site is what belongs to one product.
type site struct {
	settings.Engine
	nodes  *service.Driver
	schema *schema.Expander
}

// NotDrivenError means that the supervisor's file says nothing of a product.
type NotDrivenError struct{ Product string }

// Error names the product.
func (e *NotDrivenError) Error() string {
	return fmt.Sprintf("this supervisor's file says nothing of the engine %q", e.Product)
}

// ErrorHint says what to do.
func (e *NotDrivenError) ErrorHint() string {
	return "add an entry with \"product: " + e.Product + "\" to engines in the file of every supervisor of the environment"
}

// New makes the drivers. What is wrong with the files that the settings name, such as a folder of migrations, is told here.
func New(all []settings.Engine) (*Engines, error) {
	x := &Engines{by: map[string]*site{}, pools: map[fleet.ClusterRef]pool{}}
	for _, e := range all {
		s, err := x.site(e)
		if err != nil {
			return nil, fmt.Errorf("the engine %s: %w", e.Product, err)
		}
		x.by[e.Product] = s
	}
	return x, nil
}

func (x *Engines) site(e settings.Engine) (*site, error) {
	s := &site{Engine: e}
	var err error
	if s.nodes, err = service.New(service.Config{Versions: versions(e), Health: probe(e.Health), Version: probe(e.Version), StartWithin: e.Run.StartWithin, StopWithin: e.Run.StopWithin, Runner: runner(e.Run)}); err != nil {
		return nil, err
	}
	cfg := schema.ExpanderConfig{Dialect: schema.Dialect(e.Database.Dialect), Folders: map[string]string{}, Statements: map[string]string{}, Allow: e.Database.Allow,
		LockTimeout: e.Database.LockTimeout, Tries: e.Database.Tries,
		Database: func(c fleet.Cluster) (string, error) { return s.dataSource(c.Ref()) }}
	for _, v := range e.Versions {
		cfg.Folders[v.Version] = v.Migrations
		if v.Statements != "" {
			cfg.Statements[v.Version] = v.Statements
		}
	}
	if e.Database.DevDSNFile != "" {
		if cfg.Dev, err = settings.Secret(e.Database.DevDSNFile); err != nil {
			return nil, err
		}
	}
	s.schema, err = schema.NewExpander(cfg)
	return s, err
}

// dataSource is the data source name of a cluster's database.
func (s *site) dataSource(c fleet.ClusterRef) (string, error) {
	return settings.Secret(service.Text(s.Database.DSNFile, c))
}

func versions(e settings.Engine) (all []service.Version) {
	for _, v := range e.Versions {
		one := service.Version{Version: v.Version, Command: v.Command, Env: v.Env}
		if len(v.SecretEnv) > 0 {
			one.Secrets = func(c fleet.ClusterRef) (map[string]string, error) {
				values := make(map[string]string, len(v.SecretEnv))
				for name, file := range v.SecretEnv {
					value, err := settings.Secret(service.Text(file, c))
					if err != nil {
						return nil, err
					}
					values[name] = value
				}
				return values, nil
			}
		}
		all = append(all, one)
	}
	return all
}

func runner(r settings.EngineRun) service.Runner {
	switch {
	case r.Local != nil:
		return service.Local{Root: r.Local.Root, PIDFile: r.Local.PIDFile}
	case r.Systemd != nil:
		return service.Systemd{Unit: r.Systemd.Unit, Any: r.Systemd.Any, SSH: r.Systemd.SSH}
	}
	return service.Commands{IsRunning: r.Commands.Running, StartWith: r.Commands.Start, StopWith: r.Commands.Stop}
}

func probe(p settings.Probe) service.Probe {
	return service.Probe{HTTP: p.HTTP, GRPC: p.GRPC, TCP: p.TCP, Command: p.Command, JSON: p.JSON, Says: p.Says, Timeout: p.Timeout}
}

// of is what drives the cluster.
func (x *Engines) of(c fleet.Cluster) (*site, error) {
	if s, ok := x.by[c.Product]; ok {
		return s, nil
	}
	return nil, &NotDrivenError{c.Product}
}

// Drives tells whether the supervisor's file has the cluster's product.
func (x *Engines) Drives(c fleet.Cluster) bool { return x.by[c.Product] != nil }

// Ports are the capabilities of the rolling strategy.
func (x *Engines) Ports() rolling.Ports {
	return rolling.Ports{Nodes: nodes{x}, Balancer: balancer{x}, Connections: connections{x}, Schema: expander{x}, Features: features{x}, Contracting: contracting{x}}
}

// Close closes what was opened.
func (x *Engines) Close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for ref, p := range x.pools {
		p.db.Close()
		delete(x.pools, ref)
	}
}

// database is the pool of a cluster's database.
func (x *Engines) database(ctx context.Context, s *site, c fleet.ClusterRef) (*sql.DB, error) {
	dataSource, err := s.dataSource(c)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	have, ok := x.pools[c]
	x.mu.Unlock()
	if ok && have.dataSource == dataSource {
		return have.db, nil
	}
	db, err := schema.Open(ctx, schema.Dialect(s.Database.Dialect), "the database of "+c.String(), dataSource) // without the lock: it may take its time
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if have, ok := x.pools[c]; ok {
		if have.dataSource == dataSource { // somebody was faster
			db.Close()
			return have.db, nil
		}
		have.db.Close()
	}
	x.pools[c] = pool{db, dataSource}
	return db, nil
}

type nodes struct{ *Engines }

func (x nodes) Observe(ctx context.Context, c fleet.Cluster, n fleet.Node) (rolling.NodeState, error) {
	s, err := x.of(c)
	if err != nil {
		return rolling.NodeState{}, err
	}
	return s.nodes.Observe(ctx, c, n)
}

func (x nodes) Stop(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	s, err := x.of(c)
	if err != nil {
		return err
	}
	return s.nodes.Stop(ctx, c, n, term)
}

func (x nodes) Start(ctx context.Context, c fleet.Cluster, n fleet.Node, version string, term int64) error {
	s, err := x.of(c)
	if err != nil {
		return err
	}
	return s.nodes.Start(ctx, c, n, version, term)
}

type balancer struct{ *Engines }

// at is the cluster's load balancer.
func (x balancer) at(c fleet.Cluster) (rolling.Balancer, error) {
	s, err := x.of(c)
	if err != nil {
		return nil, err
	}
	if n := s.Balancer.Nginx; n != nil {
		return nginx.New(nginx.Config{File: service.Text(n.File, c.Ref()), Upstream: service.Text(n.Upstream, c.Ref()), PIDFile: service.Text(n.PIDFile, c.Ref()), Test: n.Test, Reload: n.Reload, Timeout: n.Timeout}), nil
	}
	if b := s.Balancer.Commands; b != nil {
		return service.Balancer{Look: b.Observe, DrainWith: b.Drain, CutWith: b.Cut, Give: b.Admit, Timeout: b.Timeout}, nil
	}
	h := s.Balancer.HAProxy
	network, address, err := haproxy.ParseAddress(service.Text(h.Socket, c.Ref()))
	if err != nil {
		return nil, err
	}
	return haproxy.New(haproxy.Config{Network: network, Address: address, Backend: service.Text(h.Backend, c.Ref()), Timeout: h.Timeout, ReloadWithin: h.ReloadWithin}), nil
}

func (x balancer) Observe(ctx context.Context, c fleet.Cluster) ([]rolling.Backend, error) {
	b, err := x.at(c)
	if err != nil {
		return nil, err
	}
	return b.Observe(ctx, c)
}

func (x balancer) Drain(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	b, err := x.at(c)
	if err != nil {
		return err
	}
	return b.Drain(ctx, c, n, term)
}

func (x balancer) Cut(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	b, err := x.at(c)
	if err != nil {
		return err
	}
	return b.Cut(ctx, c, n, term)
}

func (x balancer) Admit(ctx context.Context, c fleet.Cluster, n fleet.Node, percent int, term int64) error {
	b, err := x.at(c)
	if err != nil {
		return err
	}
	return b.Admit(ctx, c, n, percent, term)
}

type connections struct{ *Engines }

// at is who tells of the cluster's database who is connected.
func (x connections) at(ctx context.Context, c fleet.Cluster) (service.Connections, error) {
	s, err := x.of(c)
	if err != nil {
		return service.Connections{}, err
	}
	db, err := x.database(ctx, s, c.Ref())
	by := s.Database.Connections
	return service.Connections{DB: db, Dialect: service.Dialect(s.Database.Dialect), By: service.By(by.By), Value: by.Value}, err
}

func (x connections) Of(ctx context.Context, c fleet.Cluster, n fleet.Node) (int, string, error) {
	k, err := x.at(ctx, c)
	if err != nil {
		return 0, "", err
	}
	return k.Of(ctx, c, n)
}

func (x connections) Others(ctx context.Context, c fleet.Cluster) ([]string, error) {
	k, err := x.at(ctx, c)
	if err != nil {
		return nil, err
	}
	return k.Others(ctx, c)
}

type expander struct{ *Engines }

func (x expander) Check(ctx context.Context, c fleet.Cluster, version string) (check.Results, error) {
	s, err := x.of(c)
	if err != nil {
		return nil, err
	}
	return s.schema.Check(ctx, c, version)
}

func (x expander) Expanded(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error) {
	s, err := x.of(c)
	if err != nil {
		return false, nil, err
	}
	return s.schema.Expanded(ctx, c, version)
}

func (x expander) Expand(ctx context.Context, c fleet.Cluster, version string, term int64, status json.RawMessage, save rolling.Save) error {
	s, err := x.of(c)
	if err != nil {
		return err
	}
	return s.schema.Expand(ctx, c, version, term, status, save)
}

type contracting struct{ *Engines }

func (x contracting) CheckContract(ctx context.Context, c fleet.Cluster, version string) (check.Results, error) {
	s, err := x.of(c)
	if err != nil {
		return nil, err
	}
	return s.schema.CheckContract(ctx, c, version)
}

func (x contracting) Contracted(ctx context.Context, c fleet.Cluster, version string) (bool, check.Results, error) {
	s, err := x.of(c)
	if err != nil {
		return false, nil, err
	}
	return s.schema.Contracted(ctx, c, version)
}

func (x contracting) Contract(ctx context.Context, c fleet.Cluster, version string, term int64, status json.RawMessage, save rolling.Save) error {
	s, err := x.of(c)
	if err != nil {
		return err
	}
	return s.schema.Contract(ctx, c, version, term, status, save)
}

type features struct{ *Engines }

// opener is what tells of features, and opens them.
type opener interface {
	rolling.Features
	rolling.Opened
}

// at is the cluster's table of open features, with the queries that count uses of the version's, and the nodes' own endpoint if there is one.
func (x features) at(ctx context.Context, c fleet.Cluster, version string) (opener, error) {
	s, err := x.of(c)
	if err != nil {
		return nil, err
	}
	db, err := x.database(ctx, s, c.Ref())
	if err != nil {
		return nil, err
	}
	f := service.Features{DB: db, Dialect: service.Dialect(s.Database.Dialect)}
	for _, v := range s.Versions {
		if v.Version == version || strings.HasPrefix(version, v.Version+".") {
			f.Used = v.Features
		}
	}
	if g := s.Features; g != nil {
		f.Nodes, f.Timeout = g.Nodes, g.Timeout
		if g.HTTP != "" {
			return service.Gates{Features: f, URL: g.HTTP}, nil
		}
	}
	return f, nil
}

func (x features) Open(ctx context.Context, c fleet.Cluster, version string, named []policy.Feature) (open bool, used []string, err error) {
	f, err := x.at(ctx, c, version)
	if err != nil {
		return false, nil, err
	}
	return f.Open(ctx, c, version, named)
}

func (x features) OpenedAt(ctx context.Context, c fleet.Cluster, version string) (at time.Time, open bool, err error) {
	f, err := x.at(ctx, c, version)
	if err != nil {
		return time.Time{}, false, err
	}
	opened, ok := f.(rolling.Opened)
	if !ok {
		return time.Time{}, false, fmt.Errorf("the engine %s does not say since when its features are open", c.Product)
	}
	return opened.OpenedAt(ctx, c, version)
}

func (x features) SetOpen(ctx context.Context, c fleet.Cluster, version string, term int64) error {
	f, err := x.at(ctx, c, version)
	if err != nil {
		return err
	}
	return f.SetOpen(ctx, c, version, term)
}
