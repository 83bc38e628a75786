// Package demo runs a fleet of real servers on this machine, puts load on it, raises it, and tells what the clients noticed.
//
// Nothing in it is a shortcut: the fleet is written into the same files, applied through the same API and raised by the
// same processes as anybody's. The demo's own part is the starting, the load, the ledger and the ending.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/demo/load"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Options are the demo's flags.
type Options struct {
	Once        bool          // lines instead of a table that is drawn over itself, and exit at the end
	Report      string        // file for the report; empty: none
	RollbackOne bool          // take one prod cluster back after its storage switch, and forward again
	Dir         string        // folder; empty: a temporary one, which is removed unless the demo fails
	Listen      string        // of the server
	Limit       time.Duration // after which the demo gives up
	Writers     int           // connections that write, for each cluster
	Readers     int
	Out         io.Writer
}

// BlueGreen raises the demo's fleet from MariaDB 10.11 to 11.8. The error names why the demo failed; the report is written in
// any case.
func BlueGreen(ctx context.Context, o Options) (rep Report, err error) {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, o.Limit)
	defer cancel()
	if !terminal(o.Out) {
		o.Once = true
	}
	if err := o.usable(); err != nil {
		return rep, err
	}
	self, err := os.Executable()
	if err != nil {
		return rep, err
	}
	p := &place{control: control{dir: o.Dir}, gateway: filepath.Join(filepath.Dir(self), "windlass-gateway"), port: freePort()}
	if _, err := os.Stat(p.gateway); err != nil {
		return rep, fmt.Errorf("windlass-gateway is not beside %s: build both with `go build -o bin/ ./cmd/...`: %w", self, err)
	}
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
		stopped := p.stop(end)
		ended := err == nil || errors.Is(whole.Err(), context.Canceled) // by a person: nothing failed that the logs would tell of
		err = errors.Join(err, stopped)
		if o.Dir == "" && ended && stopped == nil {
			err = errors.Join(err, os.RemoveAll(p.dir))
		} else {
			fmt.Fprintln(o.Out, "Data, files and logs are in", p.dir)
		}
	}()

	fmt.Fprintln(o.Out, "Fetching servers, the first time only.")
	for _, name := range []string{"mariadb-10.11", "mariadb-11.8", "bind9"} {
		b, err := builds.Fetch(ctx, name, builds.Options{Progress: say})
		if err != nil {
			return rep, err
		}
		say(fmt.Sprintf("%s is version %s", name, b.Version))
	}
	if err := p.prepare(say); err != nil {
		return rep, err
	}
	fmt.Fprintln(o.Out, "Starting the fleet.")
	if err := p.startFleet(ctx, say); err != nil {
		return rep, err
	}
	fmt.Fprintln(o.Out, "Starting the server and a supervisor for each environment.")
	client, err := p.startControl(ctx, self, o.Listen, environments, p.writeFiles)
	if err != nil {
		return rep, err
	}
	fmt.Fprintf(o.Out, "The dashboard is at http://%s\n", o.Listen)
	rep, err = p.raise(ctx, client, o)
	if err == nil && !o.Once {
		fmt.Fprintf(o.Out, "The fleet stays up for you to look at: http://%s. Ctrl-C stops everything.\n", o.Listen)
		<-whole.Done()
	}
	return rep, err
}

// usable looks whether the server can listen and the report can be written, before minutes of work are done for nothing.
func (o Options) usable() error {
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("the dashboard can't be served on %s (another --listen may be free): %w", o.Listen, err)
	}
	err = l.Close()
	if o.Report != "" {
		f, ferr := os.OpenFile(o.Report, os.O_WRONLY|os.O_CREATE, 0o644)
		if ferr != nil {
			return errors.Join(err, fmt.Errorf("the report can't be written: %w", ferr))
		}
		err = errors.Join(err, f.Close())
	}
	return err
}

// raise puts the load on, applies the campaign, waits until every cluster has arrived, and verifies.
func (p *place) raise(ctx context.Context, client *api.Client, o Options) (Report, error) {
	rep := Report{Clusters: len(p.clusters)}
	began := time.Now()
	loading, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	g := new(errgroup.Group)
	for _, c := range p.clusters {
		var also []string
		if c.Ref() == oddCluster {
			also = oddQueries
		}
		c.load = load.New(load.Config{Also: also, Name: c.Ref().String(), Resolve: p.resolver(c.Record), User: appUser, Password: p.app, Schema: schema, Readers: o.Readers, Writers: o.Writers, Pause: 20 * time.Millisecond})
		g.Go(func() error { return c.load.Run(loading) })
	}
	err := p.campaign(ctx, client, o, &rep)
	stopLoad()
	err = errors.Join(err, g.Wait())
	rep.DurationS = time.Since(began).Seconds()

	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err = errors.Join(err, p.gather(end, client, &rep))
	if o.Report != "" {
		err = errors.Join(err, writeReport(o.Report, rep))
	}
	if perr := rep.Print(o.Out); perr != nil {
		err = errors.Join(err, perr)
	}
	if errors.Is(ctx.Err(), context.Canceled) { // a person ended it: that clusters are on their way is no problem
		return rep, err
	}
	for _, problem := range rep.Problems() {
		err = errors.Join(err, errors.New(problem))
	}
	for _, c := range p.clusters {
		if first := c.load.Report().FirstError; first != "" {
			err = errors.Join(err, fmt.Errorf("first error of a client: %s", first))
			break
		}
	}
	return rep, err
}

// resolver asks the demo's name server, as a client's resolver would, without any cache.
func (p *place) resolver(record string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		m := new(dns.Msg)
		m.SetQuestion(record, dns.TypeA)
		r, err := dns.ExchangeContext(ctx, m, p.dns.Address())
		if err != nil {
			return "", err
		}
		for _, rr := range r.Answer {
			if a, ok := rr.(*dns.A); ok {
				return net.JoinHostPort(a.A.String(), strconv.Itoa(p.port)), nil
			}
		}
		return "", fmt.Errorf("%s has no address", record)
	}
}

// campaign applies the files and waits for the end, showing progress.
func (p *place) campaign(ctx context.Context, client *api.Client, o Options, rep *Report) error {
	if err := waitFor(ctx, 200*time.Millisecond, func(context.Context) (bool, error) { // load first, so that it sees everything
		for _, c := range p.clusters {
			if c.load.Report().Acked < 20 {
				return false, nil
			}
		}
		return true, nil
	}); err != nil {
		return fmt.Errorf("the load never wrote: %w", err)
	}
	name, err := applyFiles(ctx, client, filepath.Join(p.dir, "fleet.yaml"), filepath.Join(p.dir, "campaign.yaml"))
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "Raising %d clusters from 10.11 to 11.8, qa before prod, two at a time in a stage.\n", len(p.clusters))
	view := newView(o.Out, !o.Once)
	back := rollback{place: p, client: client, campaign: name, out: o.Out, rep: rep, wanted: o.RollbackOne}
	odd := held{place: p, client: client, out: o.Out, rep: rep, page: "http://" + o.Listen}
	return waitFor(ctx, 300*time.Millisecond, func(ctx context.Context) (bool, error) {
		s, err := client.Campaign(ctx, name)
		if err != nil {
			return false, nil // the server may be away for a moment; the limit ends the wait
		}
		view.show(s)
		if err := errors.Join(back.step(ctx, s), odd.step(ctx, s)); err != nil {
			return false, err
		}
		if failed := failures(s); len(failed) > 0 {
			return false, errors.New(strings.Join(failed, "; "))
		}
		return s.Snapshot.Status == "completed", nil
	})
}

func failures(s api.CampaignStatus) []string {
	var all []string
	for _, p := range s.Snapshot.Clusters {
		if p.Failure != nil {
			all = append(all, fmt.Sprintf("%s failed in %s: %s", p.Ref, p.Failure.Stage, p.Failure.Message))
		}
	}
	return all
}

// gather reads the outcome: what each cluster runs, what the switches cost, and the ledgers against the tables.
func (p *place) gather(ctx context.Context, client *api.Client, rep *Report) error {
	var errs []error
	infos, err := client.Campaigns(ctx)
	if err != nil || len(infos) == 0 {
		return errors.Join(errors.New("the campaign could not be read at the end"), err)
	}
	name := infos[0].Campaign.Name
	switches, err := client.Switchovers(ctx, name)
	errs = append(errs, err)
	for _, s := range switches {
		rep.Switchovers = append(rep.Switchovers, Switchover{Cluster: s.Ref.Name, Env: s.Ref.Env, Kind: s.Kind, From: s.From, To: s.To, HoldMS: s.HoldMS})
	}
	errs = append(errs, rep.Replay.gather(ctx, client, p.clusters))
	for _, c := range p.clusters {
		out := ClusterOutcome{Cluster: c.Name, Env: c.Env}
		cs, err := client.Cluster(ctx, c.Ref())
		if err != nil {
			errs = append(errs, err)
			rep.ByCluster = append(rep.ByCluster, out)
			continue
		}
		if cs.Progress != nil {
			out.Stage = cs.Progress.Stage
		}
		report, version, err := p.verify(ctx, cs.Cluster, c)
		errs = append(errs, err)
		out.Version = version
		out.Arrived = out.Stage == strategy.StageTearDown && strings.HasPrefix(version, "11.8.")
		if out.Arrived {
			rep.Upgraded++
		}
		rep.ByCluster = append(rep.ByCluster, out)
		rep.Client.Queries += report.Queries
		rep.Client.Errors += report.Errors
		rep.Client.ForcedReconnects += report.ForcedReconnects
		rep.Client.AckedWrites += report.Acked
		rep.Client.UnknownWrites += report.Unknown
		rep.Client.LostWrites += report.Lost
		rep.Client.DuplicateWrites += report.Duplicate
		rep.Client.LongestStallMS = max(rep.Client.LongestStallMS, float64(report.LongestStall)/float64(time.Millisecond))
	}
	return errors.Join(errs...)
}

// verify finds the one writable node by asking each, and holds the cluster's ledger against its table.
func (p *place) verify(ctx context.Context, now fleet.Cluster, c *cluster) (load.Report, string, error) {
	for _, cell := range now.Cells {
		for _, n := range cell.Nodes {
			version, writable, err := p.ask(ctx, n.Address)
			if err != nil || !writable {
				continue // a node of a cell that was torn down does not answer
			}
			db, err := p.open(n.Address, "")
			if err != nil {
				return c.load.Report(), version, err
			}
			r, err := c.load.Verify(ctx, db)
			return r, version, errors.Join(err, db.Close())
		}
	}
	return c.load.Report(), "", fmt.Errorf("%s has no writable node at the end", c.Ref())
}

// ask reads a node's version and whether it may be written to.
func (p *place) ask(ctx context.Context, address string) (version string, writable bool, err error) {
	db, err := p.open(address, "")
	if err != nil {
		return "", false, err
	}
	defer db.Close()
	var readOnly bool
	if err := db.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly); err != nil {
		return "", false, err
	}
	err = db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version)
	return version, !readOnly, err
}
