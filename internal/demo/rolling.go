package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/examples/jobs/programs"
	product "github.com/windlass-db/windlass/examples/rolling"
	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/demo/jobs"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// RollingOptions are the flags of the demo of a rolling upgrade.
type RollingOptions struct {
	Once     bool   // lines instead of a table that is drawn over itself, and exit at the end
	Report   string // file for the report; empty: none
	Database jobs.Kind
	Dir      string        // folder; empty: a temporary one that is removed
	Listen   string        // of the server
	Limit    time.Duration // after which the demo gives up
	Programs string        // folder with the programs of examples/jobs; where they are not they are built, if that can be done here
	Out      io.Writer
}

const (
	rollingNodes = 6
	rollingEnv   = "prod"
	// leastServing is the share of nodes that have to serve, in percent; rollingGroup is of two.
	leastServing = 60
	rollingGroup = "33%"
)

// rollingCampaign is the demo's campaign: every stage, with soaks of seconds.
const rollingCampaign = `kind: Campaign
version: 1
name: jobs-1-1
strategy: rolling
product: jobs
policy: jobs.yaml
from: 1.0
to: 1.1
environments: [prod]
soak:
  stages: {expand-schema: 1s, canary: 2s, nodes: 2s}
schedule: {always: true, every: 1s}
budget: {campaign: 0, environment: 0, stage: 0}
rolling: {group: 33%, least_serving: 60%, drain_within: 30s, healthy_within: 1m, slow_start: 2s, watch: 2s}
`

// rollingPlace is where the demo keeps its things, and what it has made of them.
type rollingPlace struct {
	control
	site  *jobs.Site
	load  *jobs.Load
	watch *jobs.Watch
}

// Rolling raises six nodes of examples/jobs, behind HAProxy over one database, to the next version, under load. The error names why the
// demo failed; the report is written in any case.
func Rolling(ctx context.Context, o RollingOptions) (rep RollingReport, err error) {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	if !terminal(o.Out) {
		o.Once = true
	}
	self, err := os.Executable()
	if err != nil {
		return rep, err
	}
	p := &rollingPlace{control: control{dir: o.Dir}}
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp("", "windlass-demo-"); err != nil {
			return rep, err
		}
	} else if p.dir, err = filepath.Abs(p.dir); err != nil {
		return rep, err
	}
	say := func(s string) { fmt.Fprintf(o.Out, "  %s\n", s) }
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		fmt.Fprintln(o.Out, "Stopping everything that the demo started.")
		stopped := p.control.stop(end) // the supervisor first: it would start nodes again
		if p.site != nil {
			stopped = errors.Join(stopped, p.site.Stop(end))
		}
		err = errors.Join(err, stopped)
		if o.Dir == "" && err == nil {
			err = os.RemoveAll(p.dir)
		} else {
			fmt.Fprintln(o.Out, "Data, files and logs are in", p.dir)
		}
	}()

	fmt.Fprintln(o.Out, "Fetching servers, the first time only.")
	for _, name := range o.Database.Builds() {
		b, err := builds.Fetch(ctx, name, builds.Options{Progress: say})
		if err != nil {
			return rep, err
		}
		say(fmt.Sprintf("%s is version %s", name, b.Version))
	}
	if err := p.findPrograms(ctx, &o); err != nil {
		return rep, err
	}
	fmt.Fprintln(o.Out, "Starting the engine: a database, six nodes, a load balancer.")
	if err := os.MkdirAll(filepath.Join(p.dir, "secrets"), 0o700); err != nil {
		return rep, err
	}
	var ports takenPorts
	if p.site, err = jobs.Start(ctx, jobs.Config{Dir: p.dir, Ref: fleet.ClusterRef{Env: rollingEnv, Name: "jobs"}, Database: o.Database, Nodes: rollingNodes, Programs: o.Programs, Port: ports.next, Progress: say}); err != nil {
		return rep, err
	}
	fmt.Fprintln(o.Out, "Starting the server and a supervisor.")
	client, err := p.startControl(ctx, self, o.Listen, []string{rollingEnv}, p.writeFiles)
	if err != nil {
		return rep, err
	}
	fmt.Fprintf(o.Out, "The dashboard is at http://%s\n", o.Listen)
	rep, err = p.raise(ctx, client, o)
	if err == nil && !o.Once {
		fmt.Fprintf(o.Out, "The engine stays up for you to look at: http://%s and http://%s. Ctrl-C stops everything.\n", o.Listen, p.site.Balancer.Front)
		<-whole.Done()
	}
	return rep, err
}

// findPrograms sees that both versions of the engine are where they should be, and builds them into the demo's folder if they are not.
func (p *rollingPlace) findPrograms(ctx context.Context, o *RollingOptions) error {
	there := true
	for _, v := range []string{jobs.Old, jobs.New} {
		_, err := os.Stat(programs.Path(o.Programs, v))
		there = there && err == nil
	}
	if there {
		return nil
	}
	fmt.Fprintf(o.Out, "The two versions of the engine are not in %s: building them.\n", o.Programs)
	beside := o.Programs
	o.Programs = filepath.Join(p.dir, "programs")
	if err := os.MkdirAll(o.Programs, 0o700); err != nil {
		return err
	}
	if err := programs.Build(ctx, o.Programs); err != nil {
		return fmt.Errorf("%s and %s are not in %s, where windlass is, and can't be built here; `make build` puts them there: %w", filepath.Base(programs.Path("", jobs.Old)), filepath.Base(programs.Path("", jobs.New)), beside, err)
	}
	return nil
}

// takenPorts are free ports of 127.0.0.1, none of them twice: the kernel may give one again of which the server has not started yet.
type takenPorts struct{ given []int }

func (t *takenPorts) next() (int, error) {
	for range 100 {
		port := freePort()
		if port != 0 && !slices.Contains(t.given, port) {
			t.given = append(t.given, port)
			return port, nil
		}
	}
	return 0, errors.New("the kernel gives no free port of 127.0.0.1")
}

// raise puts the load on, applies the campaign, waits until the cluster has arrived, and judges.
func (p *rollingPlace) raise(ctx context.Context, client *api.Client, o RollingOptions) (RollingReport, error) {
	p.load, p.watch = jobs.NewLoad(p.site.Balancer.Front), jobs.NewWatch(p.site)
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	var all sync.WaitGroup
	all.Go(func() { p.load.Run(loading) })
	all.Go(func() { p.watch.Run(loading) })
	began := time.Now()
	rep := RollingReport{Database: p.site.Database.Build.Name, From: jobs.Old, To: jobs.New}
	applied, err := p.campaign(ctx, client, o)
	ended := time.Now()
	stopLoad()
	all.Wait()
	rep.DurationS = ended.Sub(began).Seconds()

	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	err = errors.Join(err, p.gather(end, &rep, began, applied))
	told, eventsErr := client.Events(end, state.EventFilter{Newest: true, Limit: 1000})
	if err = errors.Join(err, eventsErr); rep.Early == "" {
		rep.Early = earlyEvent(told)
	}
	rep.FeaturesAfterLast = rep.FeaturesAfterLast && rep.Early == ""
	if o.Report != "" {
		err = errors.Join(err, writeReport(o.Report, rep))
	}
	err = errors.Join(err, rep.Print(o.Out))
	for _, problem := range rep.Problems() {
		err = errors.Join(err, errors.New(problem))
	}
	return rep, err
}

// before is how long the clients are watched before anything is raised, so that there is something to compare with.
const before = 5 * time.Second

// campaign applies the files and waits for the end, showing progress. It tells when it applied them.
func (p *rollingPlace) campaign(ctx context.Context, client *api.Client, o RollingOptions) (applied time.Time, err error) {
	fmt.Fprintf(o.Out, "Watching the clients for %v before anything is raised.\n", before)
	began := time.Now()
	if err := waitFor(ctx, 200*time.Millisecond, func(context.Context) (bool, error) {
		return time.Since(began) >= before && p.load.Acked() > 10, nil
	}); err != nil {
		return time.Now(), fmt.Errorf("the load never came up: %w", err)
	}
	applied = time.Now()
	name, err := applyFiles(ctx, client, filepath.Join(p.dir, "fleet.yaml"), filepath.Join(p.dir, "campaign.yaml"))
	if err != nil {
		return applied, err
	}
	fmt.Fprintf(o.Out, "Raising %d nodes from %s to %s: schema, one node, the others in groups of %s, features. At least %d %% serve.\n", rollingNodes, jobs.Old, jobs.New, rollingGroup, leastServing)
	fmt.Fprintln(o.Out, "  Of the nodes ● serves, ◐ has a part of its share of requests, ○ is out.")
	view := newView(o.Out, !o.Once)
	view.more = p.nodesLine
	if err := waitFor(ctx, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		s, err := client.Campaign(ctx, name)
		if err != nil {
			return false, nil // the server may be away for a moment; the limit ends the wait
		}
		view.show(s)
		if failed := failures(s); len(failed) > 0 {
			return false, errors.New(strings.Join(failed, "; "))
		}
		return s.Snapshot.Status == "completed", nil
	}); err != nil {
		return applied, err
	}
	use, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := waitFor(use, 100*time.Millisecond, func(context.Context) (bool, error) { return !p.load.FeatureSince().IsZero(), nil }); err != nil {
		return applied, fmt.Errorf("no client was given the new version's feature after the campaign: %w", err)
	}
	return applied, nil
}

// nodesLine shows each node: the version that it says, and whether it is given requests.
func (p *rollingPlace) nodesLine() string {
	seen := p.watch.Seen()
	var parts []string
	for _, n := range p.site.Cluster.Cells[0].Nodes {
		s := seen[n.Name]
		version, mark := s.Version, "●"
		if version == "" {
			version = "–"
		}
		switch {
		case !s.Serves():
			mark = "○"
		case s.Backend.Weight < 100:
			mark = "◐"
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", mark, n.Name, version))
	}
	return strings.Join(parts, "  ")
}

// writeFiles writes the fleet, the campaign, the product and the supervisor's file, as a user would.
func (p *rollingPlace) writeFiles(serverURL string) error {
	type doc = map[string]any
	var nodes []doc
	for _, n := range p.site.Cluster.Cells[0].Nodes {
		nodes = append(nodes, doc{"name": n.Name, "address": n.Address, "zone": n.Zone})
	}
	fleetText, err := yaml.Marshal(doc{"kind": "Fleet", "version": 1, "name": "demo", "environments": []doc{{"name": rollingEnv, "clusters": []doc{{
		"name": p.site.Cluster.Name, "product": "jobs", "cells": []doc{{"name": "main", "version": jobs.Old, "nodes": nodes}}}}}}})
	if err != nil {
		return err
	}
	dsn, err := p.secret("database", p.site.Database.AdminDSN())
	if err != nil {
		return err
	}
	engine, err := p.secret("engine-database", p.site.Database.EngineDSN())
	if err != nil {
		return err
	}
	var versions []doc
	for _, v := range []string{jobs.Old, jobs.New} {
		versions = append(versions, doc{"version": v, "command": p.site.Command(v), "secret_env": doc{jobs.DSNVariable: engine}, "migrations": p.site.Migrations(v)})
	}
	supervisor, err := yaml.Marshal(doc{
		"kind": "Supervisor", "version": 1, "name": rollingEnv + "-1", "environment": rollingEnv, "watch_every": "2s",
		"server": doc{"url": serverURL, "token_file": filepath.Join("secrets", "supervisor-"+rollingEnv)},
		"engines": []doc{{
			"product": "jobs", "versions": versions,
			"run":      doc{"local": doc{"root": p.site.NodesRoot()}, "stop_within": "30s"},
			"health":   doc{"http": jobs.HealthURL},
			"version":  doc{"http": jobs.VersionURL, "json": "version"},
			"features": doc{"nodes": jobs.NodeURL},
			"balancer": doc{"haproxy": doc{"socket": p.site.Balancer.Address(), "backend": jobs.Backend}},
			"database": doc{"dialect": string(p.site.Database.Kind.Dialect()), "dsn_file": dsn, "connections": doc{"by": "application", "value": jobs.Connections}},
		}},
	})
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"fleet.yaml": fleetText, "campaign.yaml": []byte(rollingCampaign), "jobs.yaml": product.Product, "supervisor-" + rollingEnv + ".yaml": supervisor} {
		if err := os.WriteFile(filepath.Join(p.dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// gather reads the outcome: what each node runs, what the clients saw before and since, and the ledger against the database.
func (p *rollingPlace) gather(ctx context.Context, rep *RollingReport, began, applied time.Time) error {
	var errs []error
	errs = append(errs, p.site.Finish(ctx))
	now := time.Now()
	var first []error
	rep.Requests, rep.Failed, _, first = p.load.Requests(began, now)
	for _, err := range first {
		rep.FirstFailures = append(rep.FirstFailures, err.Error())
	}
	_, _, quiet, _ := p.load.Requests(began, applied)
	_, _, during, _ := p.load.Requests(applied, now)
	rep.P99BeforeMS, rep.P99DuringMS = milliseconds(quiet), milliseconds(during)
	retried, err := p.site.Balancer.Retried(ctx)
	rep.Retried = retried
	errs = append(errs, err)
	o, err := p.site.Judge(ctx, p.load.Keys())
	errs = append(errs, err)
	rep.JobsStarted, rep.JobsDone, rep.JobsAcross = o.Started, o.Done, o.Across
	rep.JobsLost, rep.JobsDoubled = len(o.Lost), len(o.Doubled)
	fewest, looks := p.watch.Fewest()
	rep.Looks, rep.MinServingShare = looks, float64(fewest)/rollingNodes
	seen, err := p.site.Look(ctx)
	errs = append(errs, err)
	open := len(seen) > 0
	for _, n := range p.site.Cluster.Cells[0].Nodes {
		s := seen[n.Name]
		open = open && s.Feature
		rep.Nodes = append(rep.Nodes, NodeOutcome{n.Name, n.Zone, s.Version, s.Serves()})
	}
	rep.Early = p.watch.Early(p.load.FeatureSince())
	if o.Early > 0 && rep.Early == "" {
		rep.Early = strconv.Itoa(o.Early) + " jobs of the old version's time use the new version's feature"
	}
	if open {
		late, err := p.site.OldAfterOpening(ctx)
		errs = append(errs, err)
		if late > 0 && rep.Early == "" {
			rep.Early = strconv.Itoa(late) + " steps were done by old nodes after the features were opened"
		}
		used, usedErr := p.site.UsedBeforeOpening(ctx)
		if errs = append(errs, usedErr); used > 0 && rep.Early == "" {
			rep.Early = strconv.Itoa(used) + " jobs used the new version's feature before it was opened"
		}
		err = errors.Join(err, usedErr)
		rep.FeaturesAfterLast = rep.Early == "" && err == nil
	}
	return errors.Join(errs...)
}

// earlyEvent is what Windlass itself told of a feature that was used early; "" if nothing.
func earlyEvent(events []state.Event) string {
	for _, e := range events {
		if e.Kind == "features-early" {
			return e.Message
		}
	}
	return ""
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// freePort takes a port of 127.0.0.1 from the kernel; 0 if there is none, which the server then reports.
func freePort() int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
