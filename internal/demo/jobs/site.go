// Package jobs runs the engine of examples/jobs on this machine as a user would: nodes behind a HAProxy over one database, each a process
// of its own. It puts clients before it, watches it, and holds what was promised to the clients against what the database has.
//
// The demo raises it through the control plane, the tests of faults through the strategy's handlers. Nothing here takes part in an
// upgrade: Watch and Load only look.
package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/examples/jobs/migrations"
	"github.com/windlass-db/windlass/examples/jobs/programs"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/schema"
)

// The versions between which the site is raised, and what is told of them by the nodes.
const (
	Old = "1.0"
	New = "1.1"
)

// Config says what is run.
type Config struct {
	Dir      string           // everything lies below it
	Ref      fleet.ClusterRef // of the cluster
	Database Kind
	Nodes    int
	Programs string              // folder with the engine's program of each version
	Port     func() (int, error) // a free port of 127.0.0.1, never one twice
	Progress func(string)        // told what is fetched and started; may be nil
}

// Site is a running engine.
type Site struct {
	cfg      Config
	Cluster  fleet.Cluster
	Database *Database
	Balancer *Balancer
	DB       *sql.DB // the engine's database, as the administrator
	nodes    *service.Driver
}

// Start starts a database with the schema of the old version, the nodes on it, and the load balancer before them. What was started is
// stopped by Stop, also after an error.
func Start(ctx context.Context, cfg Config) (s *Site, err error) {
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	s = &Site{cfg: cfg}
	port := func() (p int) {
		if err == nil {
			p, err = cfg.Port()
		}
		return p
	}
	cell := fleet.Cell{Name: "main", Version: Old}
	for i := range cfg.Nodes {
		cell.Nodes = append(cell.Nodes, fleet.Node{Name: fmt.Sprintf("n%d", i+1), Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port())), Zone: string(rune('a' + i%3))})
	}
	s.Cluster = fleet.Cluster{Env: cfg.Ref.Env, Name: cfg.Ref.Name, Product: "jobs", Cells: []fleet.Cell{cell}}
	database, front := port(), net.JoinHostPort("127.0.0.1", strconv.Itoa(port()))
	if err != nil {
		return s, err
	}
	if s.Database, err = startDatabase(ctx, cfg.Database, filepath.Join(cfg.Dir, "database"), database, cfg.Progress); err != nil {
		return s, fmt.Errorf("start the database: %w", err)
	}
	cfg.Progress(fmt.Sprintf("%s %s runs", s.Database.Build.Name, s.Database.Build.Version))
	if s.DB, err = s.Database.Open(); err != nil {
		return s, err
	}
	if err := s.migrate(ctx); err != nil {
		return s, err
	}
	if s.nodes, err = service.New(s.Nodes()); err != nil {
		return s, err
	}
	g, run := errgroup.WithContext(ctx)
	for _, n := range cell.Nodes {
		g.Go(func() error { return s.startNode(run, n) })
	}
	if err := g.Wait(); err != nil {
		return s, err
	}
	cfg.Progress(fmt.Sprintf("%d nodes run %s", len(cell.Nodes), Old))
	if s.Balancer, err = startBalancer(ctx, filepath.Join(cfg.Dir, "haproxy"), front, cell.Nodes, cfg.Progress); err != nil {
		return s, fmt.Errorf("start HAProxy: %w", err)
	}
	if err := s.untilAllServe(ctx); err != nil {
		return s, err
	}
	cfg.Progress(fmt.Sprintf("haproxy %s gives them requests at http://%s", s.Balancer.Build.Version, front))
	return s, nil
}

// migrate writes the folders of migrations, and brings the database to the old version.
func (s *Site) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations.Files, string(s.cfg.Database))
	if err != nil {
		return err
	}
	for _, v := range []string{Old, New} {
		if err := os.MkdirAll(s.Migrations(v), 0o700); err != nil {
			return err
		}
		names, err := fs.Glob(files, path.Join(v, "*.sql"))
		if err != nil {
			return err
		}
		for _, name := range names {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(s.Migrations(v), path.Base(name)), text, 0o600); err != nil {
				return err
			}
		}
	}
	return schema.Apply(ctx, schema.ApplyOptions{Dialect: schema.Dialect(s.cfg.Database.Dialect()), Target: s.Database.AdminDSN(), Folder: s.Migrations(Old), Term: 0})
}

// Migrations is the folder of a version's migrations.
func (s *Site) Migrations(version string) string {
	return filepath.Join(s.cfg.Dir, "migrations", version)
}

// NodesRoot is the folder below which every node has its own.
func (s *Site) NodesRoot() string { return filepath.Join(s.cfg.Dir, "nodes") }

// Command is how a node is run on a version, with placeholders: each version is a program of its own.
func (s *Site) Command(version string) []string {
	return []string{programs.Path(s.cfg.Programs, version), "--listen", "{address}", "--node", "{node}"}
}

// The questions to a node, with placeholders.
const (
	HealthURL  = NodeURL + "/health"
	VersionURL = NodeURL + "/version"
	NodeURL    = "http://{address}"
)

// DSNVariable is the variable that tells a node its database.
const DSNVariable = "JOBS_DSN"

// Nodes is how the nodes are driven.
func (s *Site) Nodes() service.Config {
	c := service.Config{Runner: service.Local{Root: s.NodesRoot()}, StopWithin: time.Minute, Health: service.Probe{HTTP: HealthURL, Timeout: 10 * time.Second}, Version: service.Probe{HTTP: VersionURL, JSON: "version", Timeout: 10 * time.Second}}
	for _, v := range []string{Old, New} {
		c.Versions = append(c.Versions, service.Version{Version: v, Command: s.Command(v), Env: map[string]string{DSNVariable: s.Database.EngineDSN()}})
	}
	return c
}

// startWithin bounds the start of a node, and of the load balancer before all of them.
const startWithin = 2 * time.Minute

func (s *Site) startNode(ctx context.Context, n fleet.Node) error {
	if err := s.nodes.Start(ctx, s.Cluster, n, Old, 0); err != nil {
		return err
	}
	ended := errors.New("its process has ended")
	ctx, stop := context.WithTimeout(ctx, startWithin)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := until(ctx, func() (bool, string) {
		is, err := s.nodes.Observe(ctx, s.Cluster, n)
		if err == nil && !is.Running {
			cancel(ended)
		}
		return err == nil && is.Healthy, is.Detail
	})
	if err != nil {
		return fmt.Errorf("%s does not get healthy, see %s: %w", n.Name, service.Local{Root: s.NodesRoot()}.Process(s.Cluster.Ref(), n).LogFile(), err)
	}
	return nil
}

func (s *Site) untilAllServe(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, startWithin)
	defer stop()
	return until(ctx, func() (bool, string) {
		n, err := s.Serving(ctx)
		return err == nil && n == s.cfg.Nodes, fmt.Sprintf("%d of %d nodes serve, %v", n, s.cfg.Nodes, err)
	})
}

// Serving counts the nodes that the load balancer gives requests.
func (s *Site) Serving(ctx context.Context) (int, error) {
	all, err := s.Balancer.driver().Observe(ctx, s.Cluster)
	n := 0
	for _, b := range all {
		if b.Up && b.Admitted && b.Weight > 0 {
			n++
		}
	}
	return n, err
}

// until looks every few milliseconds, until it is so or the context ends.
func until(ctx context.Context, look func() (bool, string)) error {
	for {
		ok, missing := look()
		if ok {
			return nil
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return fmt.Errorf("%w: %s", context.Cause(ctx), missing)
		case <-t.C:
		}
	}
}

// Stop ends everything that was started, by its own process alone: the load balancer first, the database last.
func (s *Site) Stop(ctx context.Context) error {
	var errs []error
	if s.Balancer != nil {
		errs = append(errs, end(ctx, s.Balancer.spec))
		if s.Balancer.own != "" {
			errs = append(errs, os.RemoveAll(s.Balancer.own))
		}
	}
	local := service.Local{Root: s.NodesRoot()}
	var g errgroup.Group
	for _, n := range s.Cluster.Cells[0].Nodes {
		g.Go(func() error { return end(ctx, local.Process(s.Cluster.Ref(), n)) })
	}
	errs = append(errs, g.Wait())
	if s.DB != nil {
		errs = append(errs, s.DB.Close())
	}
	if s.Database != nil {
		errs = append(errs, end(ctx, s.Database.spec))
	}
	return errors.Join(errs...)
}

// end asks a process to end, and kills it if it does not. One that was never started is none.
func end(ctx context.Context, p process.Spec) error {
	grace, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.Stop(grace); err != nil {
		return p.Kill(ctx)
	}
	return nil
}
