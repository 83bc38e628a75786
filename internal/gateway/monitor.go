package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/wire"
)

// monitor asks every server for its role, each on a connection of its own.
type monitor struct {
	dial     wire.Dial // without an address
	interval time.Duration
	timeout  time.Duration
	log      *slog.Logger
	changed  func() // called after every observation

	mu     sync.Mutex
	probes map[string]*probe
	run    context.Context // nil until Run; bounds the probes' goroutines
	wg     sync.WaitGroup
}

// probe polls one server.
type probe struct {
	srv  *server
	stop context.CancelFunc
	ask  chan chan struct{} // asks for a poll now; the channel is closed after it
}

// set makes the probed servers be exactly these.
func (m *monitor) set(servers []*server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := map[string]bool{}
	for _, s := range servers {
		keep[s.address] = true
		if m.probes[s.address] == nil {
			p := &probe{srv: s, ask: make(chan chan struct{})}
			m.probes[s.address] = p
			if m.run != nil {
				m.start(p)
			}
		}
	}
	for address, p := range m.probes {
		if !keep[address] {
			delete(m.probes, address)
			if p.stop != nil {
				p.stop()
			}
		}
	}
}

func (m *monitor) start(p *probe) {
	ctx, stop := context.WithCancel(m.run)
	p.stop = stop
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		m.poll(ctx, p)
	}()
}

// Run polls until the context ends.
func (m *monitor) Run(ctx context.Context) error {
	m.mu.Lock()
	m.run = ctx
	for _, p := range m.probes {
		m.start(p)
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock() // after this no probe is started
	m.run = nil
	m.mu.Unlock()
	m.wg.Wait()
	return nil
}

// pollNow asks every server everything at once and waits for the answers, or for the context. Servers that did not answer in time
// keep their last observation.
func (m *monitor) pollNow(ctx context.Context) {
	var group errgroup.Group
	for _, p := range m.all() {
		group.Go(func() error { return p.pollNow(ctx) })
	}
	_ = group.Wait() // who did not answer has no new observation
}

func (m *monitor) all() (list []*probe) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.probes {
		list = append(list, p)
	}
	return list
}

// pollNow waits for a poll that begins now.
func (p *probe) pollNow(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case p.ask <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rolesNow asks every server for its role alone, and waits for the answers, or for the context. It waits for no poll that is under way: what else
// a poll asks can take long while replication is changed.
func (m *monitor) rolesNow(ctx context.Context, by *inspector) {
	var group errgroup.Group
	for _, p := range m.all() {
		group.Go(func() error {
			asked := time.Now()
			if o := p.srv.seen.Load(); o == nil || o.good.IsZero() {
				return p.pollNow(ctx) // nothing is known of it yet
			}
			var readOnly bool
			err := by.with(ctx, p.srv.address, func(b *wire.Backend) error {
				res, err := b.Query(askRole)
				if err == nil {
					readOnly, err = roleOf(res)
				}
				return err
			})
			if err != nil && !isTimeout(err) && p.pollNow(ctx) == nil {
				return nil // a server that takes no more connections still has that of the polls
			}
			before, now := p.srv.saw(asked, func(known observation) observation {
				if err != nil {
					return known.unanswered(err)
				}
				known.good, known.err, known.slow, known.readOnly = asked, nil, false, readOnly
				return known
			})
			m.report(p.srv, before, now)
			return nil
		})
	}
	_ = group.Wait()
	m.changed()
}

// askRole touches no table (trap 4).
const askRole = "SELECT @@global.read_only"

func roleOf(res wire.Result) (readOnly bool, err error) {
	switch v := res.Value(0, 0); v {
	case "0", "1":
		return v == "1", nil
	default:
		return false, fmt.Errorf("read_only is %q", v)
	}
}

// poll is the life of one probe.
func (m *monitor) poll(ctx context.Context, p *probe) {
	var conn *wire.Backend
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	once := func() {
		hadConn, asked := conn != nil, time.Now()
		o, err := m.observe(ctx, p.srv, &conn)
		if err != nil && hadConn && !isTimeout(err) { // the connection may have died since the last poll: once more on a new one
			o, err = m.observe(ctx, p.srv, &conn)
		}
		if ctx.Err() != nil {
			return
		}
		before, now := p.srv.saw(asked, func(known observation) observation {
			if err != nil {
				return known.unanswered(err)
			}
			return o
		})
		m.report(p.srv, before, now)
		m.changed()
	}
	tick := time.NewTicker(m.interval)
	defer tick.Stop()
	for {
		once()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case done := <-p.ask:
			once()
			close(done)
		}
	}
}

// isTimeout tells an answer that is late from a server that is gone.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

func (m *monitor) report(s *server, before, now *observation) {
	switch {
	case now.err != nil && (before == nil || before.err == nil):
		m.log.Warn("server does not answer", "server", s.address, "err", now.err)
	case now.err == nil && (before == nil || before.err != nil || before.good.IsZero() || before.readOnly != now.readOnly || before.uuid != now.uuid):
		m.log.Info("server observed", "server", s.address, "read_only", now.readOnly, "version", now.version, "uuid", now.uuid)
	}
}

// observe asks one server. The role is read by a query of its own that touches no table (trap 4). After a failure conn is nil.
func (m *monitor) observe(ctx context.Context, s *server, conn **wire.Backend) (o observation, err error) {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	defer func() {
		if err != nil && *conn != nil {
			(*conn).Close()
			*conn = nil
		}
	}()
	if *conn == nil {
		d := m.dial
		d.Address = s.address
		if *conn, err = d.Connect(ctx); err != nil {
			*conn = nil
			return o, err
		}
	}
	b := *conn
	release := b.Bound(ctx)
	defer release()
	o = observation{good: time.Now(), lag: -1}
	uuid, replication := "SELECT @@global.server_uuid", "SHOW REPLICA STATUS"
	if isMariaDB(b.Greeting) {
		uuid, replication = "SELECT @@global.server_uid", "SHOW ALL SLAVES STATUS"
	}
	res, refused, err := b.QueryMany(askRole, "SELECT @@global.server_id, @@version", uuid, replication)
	if err != nil {
		return o, err
	}
	if refused[0] != nil {
		return o, refused[0]
	}
	if o.readOnly, err = roleOf(res[0]); err != nil {
		return o, err
	}
	id, _ := strconv.ParseUint(res[1].Value(0, 0), 10, 32)
	o.serverID, o.version, o.uuid = uint32(id), res[1].Value(0, 1), res[2].Value(0, 0)
	o.greeting, o.monitorID = b.Greeting, b.Greeting.ThreadID
	if refused[3] == nil {
		o.replica, o.lag = len(res[3].Rows) > 0, lagOf(res[3])
	}
	return o, nil
}

// lagOf is the largest lag of the replica's channels, and -1 if any of them does not know.
func lagOf(channels wire.Result) time.Duration {
	lag := time.Duration(-1)
	for i := range channels.Rows {
		text, ok := channels.Named(i, "Seconds_Behind_Master")
		if !ok {
			text, ok = channels.Named(i, "Seconds_Behind_Source")
		}
		seconds, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return -1
		}
		lag = max(lag, time.Duration(seconds)*time.Second)
	}
	return lag
}
