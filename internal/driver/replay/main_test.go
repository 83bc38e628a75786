package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
)

// theGateway is the capture's part of a gateway's admin API.
type theGateway struct {
	mu     sync.Mutex
	status adminapi.CaptureStatus
	none   bool // its file has no capture
	starts int
	term   int64
}

// under tells whether the request's term is not over.
func (g *theGateway) under(w http.ResponseWriter, term int64) bool {
	if term < g.term {
		refuse(w, &adminapi.TermError{Given: term, Seen: g.term})
		return false
	}
	g.term = term
	return true
}

func refuse(w http.ResponseWriter, err error) {
	p, code := adminapi.NewProblem(err)
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(p)
}

func (g *theGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case adminapi.PathCaptureStart:
		var ask adminapi.CaptureRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || !g.under(w, ask.Term) {
			return
		}
		if !g.status.On {
			g.status.On, g.status.Since, g.status.By, g.starts = true, time.Now(), ask.By, g.starts+1
		}
	case adminapi.PathCaptureStop:
		var ask adminapi.CaptureStopRequest
		if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || !g.under(w, ask.Term) {
			return
		}
		if g.status.On && ask.By != g.status.By {
			refuse(w, adminapi.ErrOtherCapture)
			return
		}
		g.status.On = false
	}
	_ = json.NewEncoder(w).Encode(g.status)
}

func (g *theGateway) set(f func(s *adminapi.CaptureStatus)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.status)
}

// theBuckets is an S3 API in memory with the buckets of captures and of what is counted. It tells of each request that writes.
type theBuckets struct {
	url    string
	mu     sync.Mutex
	writes []string       // method and path
	seen   func(r string) // called behind each; may be nil
}

func newBuckets(t *testing.T) *theBuckets {
	t.Helper()
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "the-secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
	backend := s3mem.New()
	for _, name := range []string{"captures", "results"} {
		if err := backend.CreateBucket(name); err != nil {
			t.Fatal(err)
		}
	}
	api, b := gofakes3.New(backend).Server(), &theBuckets{}
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		api.ServeHTTP(w, r)
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return
		}
		b.mu.Lock()
		b.writes = append(b.writes, r.Method+" "+r.URL.RequestURI())
		seen := b.seen
		b.mu.Unlock()
		if seen != nil {
			seen(r.Method + " " + r.URL.Path)
		}
	}))
	t.Cleanup(served.Close)
	b.url = "?region=us-east-1&use_path_style=true&response_checksum_validation=when_required&endpoint=" + served.URL // it keeps no checksum of what came in parts
	return b
}

// at calls for each write, until the returned function is called.
func (b *theBuckets) at(f func(r string)) (end func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = f
	return func() { b.mu.Lock(); defer b.mu.Unlock(); b.seen = nil }
}

const replaySecret = "replay-secret"

// site is a cluster of a primary and three replicas, two of them of the new version.
type site struct {
	servers map[string]*processtest.Server // by node
	gateway *theGateway
	roles   map[string]fleet.Role
	request bluegreen.ReplayRequest
	driver  *Driver
	spool   string
	buckets *theBuckets
	account mysql.Config
}

func newSite(t *testing.T) *site {
	t.Helper()
	small := processtest.With("sync-binlog=0", "innodb-flush-log-at-trx-commit=2")
	s := &site{servers: map[string]*processtest.Server{}, gateway: &theGateway{}, roles: map[string]fleet.Role{"blue-1": fleet.RolePrimary, "blue-2": fleet.RoleReplica, "green-1": fleet.RoleReplica, "green-2": fleet.RoleReplica},
		spool: t.TempDir(), buckets: newBuckets(t), account: mysql.Config{User: "replay", Passwd: replaySecret}}
	s.servers["blue-1"], s.servers["green-2"] = processtest.Pair(t, "10.11", "11.8", small)
	primary := s.servers["blue-1"]
	s.servers["blue-2"] = processtest.MariaDB(t, "10.11", small)
	s.servers["blue-2"].Follow(t, primary)
	for _, statement := range []string{
		"CREATE TABLE app.orders (id INT PRIMARY KEY, v INT NOT NULL) CHARSET=utf8mb4", "INSERT INTO app.orders SELECT seq, seq * 7 FROM app.seq_1_to_500",
		"CREATE USER 'replay'@'%' IDENTIFIED BY '" + replaySecret + "'", "GRANT SELECT, SLAVE MONITOR ON *.* TO 'replay'@'%'",
		"CREATE USER 'toomuch'@'%' IDENTIFIED BY '" + replaySecret + "'", "GRANT SELECT, INSERT ON app.* TO 'toomuch'@'%'",
	} {
		primary.Exec(t, statement)
	}
	for _, name := range []string{"blue-2", "green-2"} {
		s.servers[name].CatchUp(t, primary)
	}
	admin := httptest.NewServer(s.gateway)
	t.Cleanup(admin.Close)
	node := func(name string) fleet.Node {
		at := "127.0.0.1:1" // green-1 is never asked: nothing listens
		if sv := s.servers[name]; sv != nil {
			at = sv.Address()
		}
		return fleet.Node{Name: name, Address: at}
	}
	s.request = bluegreen.ReplayRequest{ID: "up-qa-orders-7", FromCell: "blue", ToCell: "green", From: "10.11", To: "11.8", Action: 7, Term: 2, By: "up:qa/orders", Cluster: fleet.Cluster{Env: "qa", Name: "orders", Product: "mariadb", Cells: []fleet.Cell{
		{Name: "blue", Version: "10.11", Nodes: []fleet.Node{node("blue-1"), node("blue-2")}, Gateway: &fleet.Gateway{Name: "gw", Admin: admin.URL}},
		{Name: "green", Version: "11.8", Nodes: []fleet.Node{node("green-1"), node("green-2")}},
	}}}
	s.request.Rules = campaign.DefaultReplay()
	s.request.Rules.MinTime, s.request.Rules.Delay, s.request.Rules.MinCoverage, s.request.Rules.Latency.Timed = time.Second, time.Second, 50, 0
	access := func(user, password string) func(context.Context, fleet.Node) (*mysql.Config, error) {
		return func(_ context.Context, n fleet.Node) (*mysql.Config, error) {
			return mysql.ParseDSN(processtest.DSN(n.Address, user, password, ""))
		}
	}
	d, err := New(Config{
		Store: "s3://captures/prod/{gateway}" + s.buckets.url, Results: "s3://results/replays" + s.buckets.url, Control: access(processtest.AdminUser, processtest.AdminPassword),
		Query: func(ctx context.Context, n fleet.Node) (*mysql.Config, error) {
			return access(s.account.User, s.account.Passwd)(ctx, n)
		},
		Gateway: func(g fleet.Gateway) (*adminapi.Client, error) {
			if s.gateway.none {
				return nil, adminapi.ErrNoCapture
			}
			return adminapi.NewClient(g.Admin, "a-token-of-the-test", http.DefaultClient), nil
		},
		Observe: func(_ context.Context, c fleet.Cluster) (o fleet.Observation, err error) {
			for _, cell := range c.Cells {
				for _, n := range cell.Nodes {
					o.Nodes = append(o.Nodes, fleet.NodeObservation{Cell: cell.Name, Node: n.Name, Role: s.roles[n.Name]})
				}
			}
			return o, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d.every = 50 * time.Millisecond
	s.driver = d
	return s
}

// clients ask for a while through a gateway that captures, and what they asked is in ended files.
func (s *site) clients(t *testing.T, run uint64, odd ...string) {
	t.Helper()
	rec := replaytest.NewRun(t, s.spool, "gw", run, s.servers["blue-1"].Address(), processtest.AdminUser, processtest.AdminPassword)
	one := rec.Session("app")
	for i, until := 0, time.Now().Add(1500*time.Millisecond); time.Now().Before(until); i++ {
		one.Query("SELECT v FROM orders WHERE id = " + string(rune('1'+i%9)))
		for _, q := range odd {
			one.Query(q)
		}
		time.Sleep(20 * time.Millisecond) // clients that are not in a hurry: what is judged is over more than a second
	}
	one.Close()
	rec.Close()
	s.ship(t)
}

// ship brings what was captured into the bucket.
func (s *site) ship(t *testing.T) {
	t.Helper()
	to, err := store.Open(t.Context(), "s3://captures/prod/gw"+s.buckets.url)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	if err := store.Ship(t.Context(), store.ShipConfig{Spool: s.spool, To: to, Once: true}); err != nil {
		t.Fatal(err)
	}
}

// status is what the step keeps.
type status struct{ last json.RawMessage }

func (s *status) save(_ context.Context, v any, _ float64, _ string) error {
	b, err := json.Marshal(v)
	s.last = b
	return err
}

func named(cs check.Results, name string) check.Result {
	for _, c := range cs {
		if c.Name == name {
			return c
		}
	}
	return check.Result{}
}

// One site for all: what a replay needs, a replay with a finding, the judgement of what is kept, a gateway that forgets, a retest that was killed.
func TestReplay(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := newSite(t)
	d := s.driver
	ready := func(change func(), name string) check.Result {
		t.Helper()
		change()
		cs, err := d.Ready(ctx, s.request)
		if err != nil {
			t.Fatal(err)
		}
		return named(cs, name)
	}
	t.Run("ready", func(t *testing.T) {
		cs, err := d.Ready(ctx, s.request)
		if err != nil || !cs.OK() {
			t.Fatalf("%v, %v", err, cs)
		}
		if got := named(cs, CheckTarget).Detail; !strings.HasPrefix(got, "green-2 ") {
			t.Errorf("the target is not the last of the new cell's replicas: %s", got)
		}
		if got := named(cs, CheckReference).Detail; !strings.HasPrefix(got, "blue-2 ") {
			t.Errorf("the reference is not the old cell's replica: %s", got)
		}
		if got := named(cs, CheckRetest); got.Verdict != check.Pass { // MariaDB tells the place of any snapshot
			t.Errorf("%+v", got)
		}
	})
	t.Run("a target that is to be the primary, trap 37", func(t *testing.T) {
		if c := ready(func() { s.roles["green-1"] = fleet.RoleUnknown }, CheckTarget); c.Verdict != check.Fail || !strings.Contains(c.Detail, "one of them is to be the primary") {
			t.Errorf("%+v", c)
		}
		s.roles["green-1"] = fleet.RoleReplica
	})
	t.Run("the old primary is never asked", func(t *testing.T) {
		if c := ready(func() { s.roles["blue-2"] = fleet.RoleDetached }, CheckReference); c.Verdict != check.Warn || !strings.Contains(c.Detail, "its primary is never asked") {
			t.Errorf("%+v", c)
		}
		s.roles["blue-2"] = fleet.RoleReplica
	})
	t.Run("an account that can write, trap 38", func(t *testing.T) {
		c := ready(func() { s.account.User = "toomuch" }, CheckAccount)
		if c.Verdict != check.Fail || !strings.Contains(c.Detail, "INSERT") || strings.Contains(c.Detail, "IDENTIFIED") {
			t.Errorf("%+v", c)
		}
		if c := ready(func() { s.account.User, s.account.Passwd = "replay", "wrong" }, CheckAccount); c.Verdict != check.Unknown || strings.Contains(c.Detail, "wrong") {
			t.Errorf("%+v", c)
		}
		s.account.Passwd = replaySecret
	})
	t.Run("what the gateway captures, trap 38", func(t *testing.T) {
		if c := ready(func() { s.gateway.set(func(st *adminapi.CaptureStatus) { st.Masked = true }) }, CheckCapture); c.Verdict != check.Fail || !strings.Contains(c.Detail, "masked") {
			t.Errorf("%+v", c)
		}
		if c := ready(func() { s.gateway.set(func(st *adminapi.CaptureStatus) { st.Masked, st.Sealed = false, true }) }, CheckCapture); c.Verdict != check.Fail || !strings.Contains(c.Detail, "no key") {
			t.Errorf("%+v", c)
		}
		s.gateway.set(func(st *adminapi.CaptureStatus) { st.Sealed = false })
	})

	t.Run("a sample is not the whole", func(t *testing.T) {
		if c := ready(func() { s.gateway.set(func(st *adminapi.CaptureStatus) { st.On, st.Sample = true, 0.1 }) }, CheckCapture); c.Verdict != check.Fail || !strings.Contains(c.Detail, "keeps 10 %") {
			t.Errorf("%+v", c)
		}
		s.gateway.set(func(st *adminapi.CaptureStatus) { st.On, st.Sample = false, 1 })
	})

	var st status
	t.Run("nothing was replayed", func(t *testing.T) {
		got, err := d.Judge(ctx, s.request, nil)
		if err != nil || got.Verdict != bluegreen.VerdictInsufficient || got.Enough {
			t.Errorf("%+v, %v", got, err)
		}
		if _, err := d.Replay(ctx, s.request, time.Second, nil, st.save); err == nil {
			t.Error("a replay of a gateway that does not capture began")
		}
	})
	t.Run("a finding", func(t *testing.T) {
		if err := d.StartCapture(ctx, s.request); err != nil {
			t.Fatal(err)
		}
		// The write is not replayed: that 11.8 does not understand it is seen by asking for its plan.
		s.clients(t, 11, "SELECT FROM_UNIXTIME(4000000000)", "SELECT v, CONV(255, 10, 62) FROM orders WHERE id = 3", "UPDATE orders SET v = (SELECT vector FROM (SELECT 5 AS vector) d) WHERE id = 1", "SELECT GET_LOCK('orders', 1)")
		got, err := d.Replay(ctx, s.request, time.Minute, nil, st.save)
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != bluegreen.VerdictFail || !got.Enough || got.Findings != 3 || !strings.Contains(got.Message, "select from_unixtime(?) (content)") || !strings.Contains(got.Message, "(syntax)") || strings.Contains(got.Checks.String(), "4000000000") || !strings.Contains(got.Message, "/clusters/qa/orders/replay") {
			t.Errorf("%+v", got)
		}
		// What clients do that a switch bears badly is listed, and holds nobody (H20).
		var rep judge.Report
		if err := json.Unmarshal(got.Report, &rep); err != nil || !slices.ContainsFunc(rep.Findings, func(f judge.Finding) bool {
			return f.Kind == compare.Pattern && f.Level == judge.Warn && f.Text == "select get_lock(?, ?)" && f.Count > 1 && strings.HasPrefix(f.What, "user-lock, ")
		}) {
			t.Errorf("no pattern is listed, %v: %+v", err, rep.Findings)
		}
		if c := named(got.Checks, "replay-finding"); c.Verdict != check.Fail || !strings.Contains(c.Remedy, "replay.ignore") {
			t.Errorf("%+v", c)
		}
		// The one of a table was tested again on frozen data, which is kept, too.
		if !slices.ContainsFunc(s.buckets.writes, func(w string) bool {
			return strings.HasPrefix(w, "PUT /results/") && strings.Contains(w, "/"+nameRetest)
		}) {
			t.Errorf("no retest was kept: %q", s.buckets.writes)
		}
		if at, err := cursorOf(st.last); err != nil || at.Target != "green-2" || at.Run == "" || len(at.Stopped) > 0 {
			t.Errorf("the status names %+v, %v", at, err)
		}
	})
	t.Run("judged again by another rule", func(t *testing.T) {
		r := s.request
		r.Rules.Ignore = []campaign.ReplayIgnore{{Like: "select from_unixtime(%", Kinds: []string{"content"}, Reason: "right", By: "mira"}, {Like: "select v, conv(%", Kinds: []string{"content"}, Reason: "right", By: "mira"}, {Like: "update orders%", Kinds: []string{"syntax"}, Reason: "it is gone", By: "mira"}}
		got, err := d.Judge(ctx, r, st.last)
		if err != nil || got.Verdict != bluegreen.VerdictPass || !got.Enough || !got.Checks.OK() || !strings.Contains(got.Message, "3 findings do not count") {
			t.Errorf("%+v, %v", got, err)
		}
		r.Rules.MinTime = time.Hour
		if got, err := d.Judge(ctx, r, st.last); err != nil || got.Verdict == bluegreen.VerdictPass || got.Enough {
			t.Errorf("an hour is wanted, and %+v, %v", got, err)
		}
	})
	t.Run("the evidence of another replay is none", func(t *testing.T) {
		// The control plane was set up anew: the same campaign, cluster and number of the action.
		other := encode(cursor{Run: "another", From: time.Now(), Target: "green-2"})
		if got, err := d.Judge(ctx, s.request, other); err != nil || got.Verdict != bluegreen.VerdictInsufficient || got.Enough {
			t.Errorf("%+v, %v", got, err)
		}
		at, _ := cursorOf(st.last)
		at.From = time.Now().Add(time.Hour)
		if _, err := d.Judge(ctx, s.request, encode(at)); !errors.Is(err, errOlder) {
			t.Errorf("evidence that is older than its replay: %v", err)
		}
	})
	t.Run("killed in the middle", func(t *testing.T) { killedInTheMiddle(ctx, t, s) })
	t.Run("a gateway that forgets", func(t *testing.T) {
		r := s.request
		r.ID, r.Rules.MinTime = "up-qa-orders-8", time.Hour
		s.gateway.set(func(c *adminapi.CaptureStatus) { c.On = false })
		if err := d.StartCapture(ctx, r); err != nil {
			t.Fatal(err)
		}
		before := s.gateway.starts
		var other status
		slice, end := context.WithCancel(ctx)
		defer end()
		told := 0
		_, err := d.Replay(slice, r, time.Minute, nil, func(ctx context.Context, v any, p float64, m string) error {
			s.gateway.mu.Lock()
			defer s.gateway.mu.Unlock()
			if told++; told == 2 {
				s.gateway.status.On = false // it was restarted
			}
			if s.gateway.starts > before {
				end()
			}
			return other.save(ctx, v, p, m)
		})
		if !errors.Is(err, context.Canceled) || s.gateway.starts != before+1 {
			t.Errorf("%v, started %d times", err, s.gateway.starts-before)
		}
	})
	t.Run("a retest that was killed, trap 37", func(t *testing.T) {
		green := s.servers["green-2"]
		at, _ := cursorOf(st.last)
		at.Stopped = []string{"green-2"}
		green.Exec(t, "STOP SLAVE SQL_THREAD")
		if ok, err := d.Released(ctx, s.request, encode(at)); ok || err != nil {
			t.Errorf("its applier is stopped, and released says %t, %v", ok, err)
		}
		if err := d.Release(ctx, s.request, encode(at)); err != nil {
			t.Fatal(err)
		}
		if ok, err := d.Released(ctx, s.request, encode(at)); !ok || err != nil {
			t.Errorf("after the release: %t, %v", ok, err)
		}
		s.servers["blue-1"].Exec(t, "INSERT INTO app.orders VALUES (100000, 1)")
		green.CatchUp(t, s.servers["blue-1"])
	})
	t.Run("the end of the capture", func(t *testing.T) {
		other, old := s.request, s.request
		other.By, old.Term = "another:qa/orders", s.request.Term-1
		if err := d.EndCapture(ctx, other); err != nil {
			t.Errorf("what another one began is left: %v", err)
		}
		if err := d.EndCapture(ctx, old); err == nil {
			t.Error("it was ended under an old term (trap 1)")
		}
		if is, err := d.Capturing(ctx, other); !is.On || is.Others != s.request.By || err != nil {
			t.Errorf("%+v, %v", is, err)
		}
		if err := d.EndCapture(ctx, s.request); err != nil {
			t.Fatal(err)
		}
		if is, err := d.Capturing(ctx, s.request); is.On || err != nil {
			t.Errorf("%+v, %v", is, err)
		}
	})
}

// killedInTheMiddle: who loses the lease behind the first write of what was counted leaves it whole, and the next holder goes on from it: each statement is counted once. traps 1 and 37
func killedInTheMiddle(ctx context.Context, t *testing.T, s *site) {
	r := s.request
	r.ID, r.Rules.MinTime = "up-qa-orders-9", time.Hour
	began, total := time.Now(), int64(0)
	asked := func(run uint64) {
		rec := replaytest.NewRun(t, s.spool, "gw", run, s.servers["blue-1"].Address(), processtest.AdminUser, processtest.AdminPassword)
		one := rec.Session("app")
		for i := range 3 { // as many segments
			if i > 0 {
				rec.Rotate()
			}
			for range 4 {
				one.Query("SELECT v FROM orders WHERE id = 4")
			}
		}
		one.Close()
		rec.Close()
		total += rec.Counted
		s.ship(t)
	}
	asked(12)
	s.gateway.set(func(c *adminapi.CaptureStatus) { c.On, c.Since, c.By = true, began, r.By })

	held, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	b, err := s.driver.results(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var st status
	end := s.buckets.at(func(w string) {
		name, is := strings.CutSuffix(w, "/"+nameTally)
		name, put := strings.CutPrefix(name, "PUT /results/replays/")
		if !is || !put {
			return
		}
		if part, err := (place{b, name}).counted(ctx); err != nil || part != nil && part.Captured > 0 {
			lose(errors.Join(engine.ErrLeaseLost, err))
		}
	})
	_, err = s.driver.Replay(held, r, time.Minute, nil, st.save)
	end()
	if !errors.Is(err, engine.ErrLeaseLost) {
		t.Fatal(err)
	}
	at, err := cursorOf(st.last)
	if err != nil || at.Run == "" || len(at.Stopped) > 0 {
		t.Fatalf("the status names %+v, %v", at, err)
	}
	here := at.place(b, r)
	if part, err := here.counted(ctx); err != nil || part == nil || part.Captured == 0 || part.Captured > total {
		t.Fatalf("after the kill %+v of %d are counted, %v", part, total, err)
	}
	asked(13) // what came while nobody had the lease
	next, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		_, err := s.driver.Replay(next, r, time.Minute, st.last, st.save)
		ended <- err
	}()
	processtest.Until(t, 30*time.Second, "all is counted, once", func() bool {
		whole, err := here.counted(ctx)
		return err == nil && whole.Captured == total && whole.Unaccounted() == 0
	})
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if whole, err := here.counted(ctx); err != nil || whole.Captured != total {
		t.Errorf("%d of %d are counted in the end, %v", whole.Captured, total, err)
	}
	// What is long is replaced at once as well: until its last request the one before is there.
	short, long := []byte("short"), make([]byte, 20<<20)
	if err := here.keep(ctx, "long", short); err != nil {
		t.Error(err)
	}
	parts := 0
	end = s.buckets.at(func(string) {
		got, err := here.kept(ctx, "long")
		if parts++; err != nil || !bytes.Equal(got, short) && !bytes.Equal(got, long) {
			t.Errorf("after request %d it has %d bytes, %v", parts, len(got), err)
		}
	})
	if err := here.keep(ctx, "long", long); err != nil {
		t.Error(err)
	}
	end()
	if got, err := here.kept(ctx, "long"); err != nil || !bytes.Equal(got, long) {
		t.Errorf("%d bytes were kept, %v", len(got), err)
	}
	s.buckets.mu.Lock()
	defer s.buckets.mu.Unlock()
	for _, w := range s.buckets.writes {
		if strings.Contains(w, " /results/") && !strings.HasPrefix(w, "PUT ") && !strings.Contains(w, "/long?") {
			t.Errorf("%s", w) // nothing is deleted, and nothing of usual size goes in parts
		}
	}
}
