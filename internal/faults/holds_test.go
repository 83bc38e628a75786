package faults

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/driver/dns"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/strategy"
)

// why is what `windlass why` prints of the cluster.
func (l *lane) why(ctx context.Context) (string, error) {
	var out, errs bytes.Buffer
	root := cli.New()
	root.SetArgs([]string{"why", ref.String(), "--server", l.url(), "--token-file", l.opToken})
	if code := cli.Run(ctx, root, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs}); code != cli.ExitOK && code != cli.ExitFinding {
		return "", fmt.Errorf("why exits with %d: %s", code, errs.String())
	}
	return out.String(), nil
}

// held waits until `windlass why` says all of these, in the stage, and sees that nothing has moved and no client was hurt.
func (l *lane) held(t *testing.T, stage, primary string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	var said string
	if err := until(ctx, patience, "`windlass why` gives the reason", func() error {
		var err error
		if said, err = l.why(ctx); err != nil {
			return err
		}
		for _, w := range append(want, "it is in "+stage) {
			if !strings.Contains(said, w) {
				return fmt.Errorf("%q is missing in:\n%s", w, said)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("windlass why %s:\n%s", ref, said)
	status, err := l.client.Cluster(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	if h := status.Decision.Hold; h == nil || h.Reasons[0].Code != campaign.CodeRunning || !strings.Contains(h.Reasons[0].Message, want[0]) {
		t.Errorf("the hold is %+v, not %s with %q", h, campaign.CodeRunning, want[0])
	}
	if writable, one, err := l.roles(); err != nil || one != primary {
		t.Errorf("writable are the servers of %v, not that of %s: %v", writable, primary, err)
	}
	if err := l.unhurt(); err != nil {
		t.Error(err)
	}
}

// goesOn sees that the held action ends well when its reason is gone, and takes the cluster back for the next case.
func (l *lane) goesOn(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	if _, err := l.endsAs(ctx, engine.Completed); err != nil {
		t.Fatal(err)
	}
	if _, err := l.settle(ctx, testCase{edge: engine.Edge{Direction: strategy.Forward}}); err != nil {
		t.Fatal(err)
	}
	if err := l.unhurt(); err != nil {
		t.Error(err)
	}
}

func (l *lane) launch(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.start(ctx, forward); err != nil {
		t.Fatal(err)
	}
}

func smallLag(l *lane) { l.setting = func(s *campaign.Switch) { s.MaxLag = time.Second } }

// holds brings about what must hold a switch, sees the reason as an operator does, takes it away, and sees the switch go on.
func holds(tm *template) []job {
	return []job{
		{"hold by a full disk on the green side", func(t *testing.T) { fullDisk(t, tm) }}, // the longest one first
		{"holds that can be mended", func(t *testing.T) { mendable(t, tm) }},
		{"hold by an errant GTID", func(t *testing.T) { errant(t, tm) }},
		{"hold by a stale DNS answer", func(t *testing.T) { staleName(t, tm) }},
	}
}

func mendable(t *testing.T, tm *template) {
	l := newLane(t, tm, smallLag)
	for _, c := range []struct {
		name string
		make func(t *testing.T) (mend func())
		want []string
	}{
		{"replication lag", l.lag, []string{"replica-lag (fail)", "green/green-1"}},
		{"a stopped replica", l.stopped, []string{"green/green-1: both replication threads are stopped", "replication-running (fail)", "to do: mend the cause, then start replication"}},
		{"a long transaction", l.longTransaction, []string{"long-transactions (fail)", "(app from ", "is open for", "to do: let it end, or end it"}},
		{"an expired lease that comes back", l.expiredLease, []string{"green/green-1: both replication threads are stopped"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			if err := l.prepare(ctx, forward); err != nil {
				t.Fatal(err)
			}
			mend := c.make(t)
			if c.name != "an expired lease that comes back" {
				l.launch(t)
			}
			l.held(t, strategy.StageSwitchStorage, "blue", c.want...)
			mend()
			l.goesOn(t)
		})
	}
	if err := l.finish(); err != nil {
		t.Error(err)
	}
}

func errant(t *testing.T, tm *template) {
	l := newLane(t, tm, smallLag)
	// Another domain: one of the same would stop replication at the next event.
	execAll(t, l.dbs["green"], "SET SESSION gtid_domain_id=7", "INSERT INTO "+schema+".nudge () VALUES ()")
	l.launch(t)
	l.held(t, strategy.StageSwitchStorage, "blue", "errant-gtid (fail)", "green/green-1", "7-201-")
	// Nothing mends it but a rebuilt node: a person calls the campaign off, and the action goes back without having moved anything.
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	if err := l.client.Abort(ctx, campaignName, "green has to be rebuilt"); err != nil {
		t.Fatal(err)
	}
	if err := l.ownClock(l.holder.name).pass(leaseTTL / 3); err != nil { // when it sends a heartbeat, it hears of it
		t.Fatal(err)
	}
	if _, err := l.endsAs(ctx, engine.Aborted); err != nil {
		t.Fatal(err)
	}
	if _, one, err := l.roles(); err != nil || one != "blue" {
		t.Fatalf("the primary is in %q: %v", one, err)
	}
}

func fullDisk(t *testing.T, tm *template) {
	l := newLane(t, tm, smallLag, smallDisk("green"))
	l.fillDisk(t, "green")
	l.launch(t)
	// Its receiving thread waits for room with the lock that its status needs: nothing is known of it, and that holds.
	l.held(t, strategy.StageSwitchStorage, "blue", "could not be observed: green/green-1", "as on a full disk")
}

// agent is a supervisor's client.
func (l *lane) agent() (*api.Agent, error) {
	c, err := api.NewClient(l.url(), l.token, "")
	if err != nil {
		return nil, err
	}
	return c.Agent(env), nil
}

// lag blocks the applier of green, while blue writes on.
func (l *lane) lag(t *testing.T) func() {
	c, err := l.dbs["green"].Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ExecContext(t.Context(), "LOCK TABLES "+schema+".orders READ"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := c.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (l *lane) stopped(t *testing.T) func() {
	execAll(t, l.dbs["green"], "STOP SLAVE")
	return func() { execAll(t, l.dbs["green"], "START SLAVE") }
}

// longTransaction opens one through the gateway, which has written, and waits until it is long.
func (l *lane) longTransaction(t *testing.T) func() {
	db, err := sql.Open("mysql", processtest.DSN(l.cluster.Cells[0].Gateway.Address, processtest.AppUser, processtest.AppPassword, schema))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec("INSERT INTO order_lines VALUES (-1, 1, 'slow', 1)"); err != nil {
		t.Fatal(err)
	}
	// By the server's own clock. Its list of transactions is not asked: it is made anew only when nobody has read it for 100 ms,
	// so that the test's looks would keep it from showing the transaction to the preflight.
	var begun float64
	clock := func(at *float64) error { return l.dbs["blue"].QueryRow("SELECT UNIX_TIMESTAMP(NOW(6))").Scan(at) }
	if err := clock(&begun); err != nil {
		t.Fatal(err)
	}
	if err := until(t.Context(), patience, "the transaction is long", func() error {
		var now float64
		if err := clock(&now); err != nil || now < begun+2 {
			return fmt.Errorf("it is open for %.1f s: %w", now-begun, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return func() { // the client's commit is a success, and its next statement finds the new primary without a new connection
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
		t.Cleanup(func() {
			var version string
			if err := db.QueryRow("SELECT VERSION() FROM order_lines WHERE order_id = -1 LOCK IN SHARE MODE").Scan(&version); err != nil || !strings.HasPrefix(version, versions["green"]) {
				t.Errorf("the client's next statement came to %q: %v", version, err)
			}
			execAll(t, l.dbs["green"], "DELETE FROM "+schema+".order_lines WHERE order_id = -1")
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// expiredLease pauses the supervisor of a held action until its lease is over and a second one has taken over, then wakes it.
func (l *lane) expiredLease(t *testing.T) func() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	mend := l.stopped(t)
	l.launch(t)
	l.held(t, strategy.StageSwitchStorage, "blue", "green/green-1: both replication threads are stopped")
	l.mu.Lock()
	first := l.holder
	l.mu.Unlock()
	if err := first.pause(ctx); err != nil {
		t.Fatal(err)
	}
	old, err := l.client.Cluster(ctx, ref)
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.startSupervisor()
	if err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	l.holder, l.sleeper = second, first
	l.mu.Unlock()
	id, term := old.Actions[0].ID, old.Actions[0].Term
	if err := until(ctx, patience, "the second supervisor has taken over", func() error {
		all, err := l.client.Events(ctx, state.EventFilter{Campaign: campaignName, Newest: true, Limit: 20})
		if err != nil {
			return err
		}
		for _, e := range all {
			if e.Kind == "action-taken-over" && e.Action == id && e.Term > term && e.Message == "the lease ran out; taken over by "+second.name {
				return nil
			}
		}
		if err := l.clock.pass(leaseTTL / 4); err != nil { // also over a heartbeat that was on its way
			return err
		}
		return fmt.Errorf("no event says so; the last is %q", all[0].Message)
	}); err != nil {
		t.Fatal(err)
	}
	// Whoever comes with the old term is refused, by the state and, once a step has fenced them, by the servers (trap 1).
	agent, err := l.agent()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Heartbeat(ctx, id, term); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("a heartbeat of term %d came to %v, not to %v", term, err, engine.ErrFenced)
	}
	if err := errors.Join(l.ownClock(first.name).pass(leaseTTL), first.signal(syscall.SIGCONT)); err != nil {
		t.Fatal(err)
	}
	if err := until(ctx, patience, "the sleeper says that its lease is lost", func() error { return says(first.log, "the lease is lost; nothing more is written") }); err != nil {
		t.Fatal(err)
	}
	if err := first.kill(); err != nil { // else it would work on as any other supervisor
		t.Fatal(err)
	}
	l.mu.Lock()
	l.sleeper = nil
	l.mu.Unlock()
	return func() {
		mend()
		t.Cleanup(func() { // the switch has raised the term on the servers
			d, err := l.driver()
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Fence(context.Background(), l.cluster, term); !errors.Is(err, engine.ErrFenced) {
				t.Errorf("an act under term %d came to %v, not to %v", term, err, engine.ErrFenced)
			}
		})
	}
}

// smallDisk gives a cell's server a file system of its own for its data, in a mount namespace that only its process sees.
func smallDisk(cell string) func(*lane) {
	return func(l *lane) {
		l.spec = map[string]func(process.Spec) process.Spec{cell: func(s process.Spec) process.Spec {
			data := filepath.Join(s.Dir, "data")
			const inside = `set -eu
cp -a "$0" "$0.copy"
size=$(du -sk "$0.copy" | cut -f1)
mount -t tmpfs -o size=$((size + 32768))k windlass "$0"
cp -a "$0.copy/." "$0/"
rm -r "$0.copy"
exec "$@"`
			unshare := []string{"unshare", "--mount"}
			if os.Geteuid() != 0 {
				unshare = append(unshare, "--map-root-user")
			}
			s.Argv = append(append(unshare, "sh", "-c", inside, data), s.Argv...)
			return s
		}}
	}
}

// fillDisk writes until there is no room, through the server's own view of its file system.
func (l *lane) fillDisk(t *testing.T, cell string) {
	t.Helper()
	m := l.nodes[cell]
	spec, err := m.Spec()
	if err != nil {
		t.Fatal(err)
	}
	_, pid, err := spec.Status()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(fmt.Sprintf("/proc/%d/root", pid), m.DataDir(), "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := until(t.Context(), patience, "the server notices", func() error {
		b, err := os.ReadFile(spec.LogFile())
		if err == nil && !strings.Contains(string(b), "Disk is full") && !strings.Contains(string(b), "No space left") {
			err = errors.New("its log says nothing of it")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// staleName switches the record while the clients go by an old answer: the gateway switch waits until they have left.
func staleName(t *testing.T, tm *template) {
	var stale atomic.Bool
	stale.Store(true)
	var bind process.BIND
	l := newLane(t, tm, func(l *lane) {
		bind = processtest.BIND(t, "windlass.test.", map[string]string{record: l.host})
		l.records = &dns.Server{Address: bind.Address(), Zone: bind.Zone, KeyFile: bind.KeyFile()}
		first := net.JoinHostPort(l.host, strconv.Itoa(portGateway))
		l.name = func(ctx context.Context) (string, error) {
			if stale.Load() {
				return first, nil
			}
			return lookup(ctx, bind.Address())
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	l.launch(t)
	l.goesOn(t)
	out, err := l.client.Launch(ctx, campaignName)
	if err != nil || len(out.Started) != 1 || out.Started[0].Start != strategy.StageSwitchGateway {
		t.Fatalf("the launcher started %+v: %v", out.Started, err)
	}
	l.held(t, strategy.StageSwitchGateway, "green", "drain-gateway", "blue-gateway", "127.0.0.1")
	if now, err := lookup(ctx, bind.Address()); err != nil || now != l.cluster.Cells[1].Gateway.Address {
		t.Fatalf("the name server answers %s: %v", now, err)
	}
	stale.Store(false)
	if status, err := l.endsAs(ctx, engine.Completed); err != nil || status.Progress.Stage != strategy.StageSwitchGateway {
		t.Fatalf("the cluster is at %q: %v", status.Progress.Stage, err)
	}
	if err := l.unhurt(); err != nil {
		t.Error(err)
	}
	if err := l.finish(); err != nil {
		t.Error(err)
	}
}

// lookup asks the name server for the address of the writer endpoint.
func lookup(ctx context.Context, server string) (string, error) {
	m := new(miekg.Msg)
	m.SetQuestion(record, miekg.TypeA)
	r, err := miekg.ExchangeContext(ctx, m, server)
	if err != nil {
		return "", err
	}
	for _, rr := range r.Answer {
		if a, ok := rr.(*miekg.A); ok {
			return net.JoinHostPort(a.A.String(), strconv.Itoa(portGateway)), nil
		}
	}
	return "", fmt.Errorf("%s has no address", record)
}
