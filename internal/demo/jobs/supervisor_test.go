package jobs

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/rpc"
	"net/rpc/jsonrpc"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/driver/haproxy"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/engine/enginetest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/schema"
)

// asSupervisor as the first argument makes this program a supervisor that works on one action, by the settings in the file that follows, until the
// action has ended or somebody kills it. The journal is the test's, over a socket.
const asSupervisor = "jobs-supervisor"

// supervisorSettings are what a supervisor's file would say.
type supervisorSettings struct {
	Journal    string // socket
	Action     int64
	Kind       Kind
	AdminDSN   string
	EngineDSN  string
	Root       string
	HAProxy    string // socket
	Commands   map[string][]string
	Migrations map[string]string
}

func (s supervisorSettings) ports() (rolling.Ports, error) {
	driver := "pgx"
	if s.Kind == MariaDB {
		driver = "mysql"
	}
	db, err := sql.Open(driver, s.AdminDSN)
	if err != nil {
		return rolling.Ports{}, err
	}
	cfg := service.Config{Runner: service.Local{Root: s.Root}, StopWithin: time.Minute, Health: service.Probe{HTTP: HealthURL, Timeout: 10 * time.Second}, Version: service.Probe{HTTP: VersionURL, JSON: "version", Timeout: 10 * time.Second}}
	for v, command := range s.Commands {
		cfg.Versions = append(cfg.Versions, service.Version{Version: v, Command: command, Env: map[string]string{DSNVariable: s.EngineDSN}})
	}
	nodes, err := service.New(cfg)
	if err != nil {
		return rolling.Ports{}, err
	}
	x, err := schema.NewExpander(schema.ExpanderConfig{Dialect: schema.Dialect(s.Kind.Dialect()), Database: func(fleet.Cluster) (string, error) { return s.AdminDSN, nil }, Folders: s.Migrations})
	return rolling.Ports{
		Nodes:       nodes,
		Balancer:    haproxy.New(haproxy.Config{Network: "unix", Address: s.HAProxy, Backend: Backend, Timeout: 20 * time.Second}),
		Connections: service.Connections{DB: db, Dialect: s.Kind.Dialect(), By: service.ByApplication, Value: Connections},
		Schema:      x,
		Features:    service.Features{DB: db, Dialect: s.Kind.Dialect(), Nodes: NodeURL},
	}, err
}

// supervisorMain is such a supervisor.
func supervisorMain(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var s supervisorSettings
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	ports, err := s.ports()
	if err != nil {
		return err
	}
	hs, err := engine.NewHandlers(rolling.Handlers(ports)...)
	if err != nil {
		return err
	}
	c, err := jsonrpc.Dial("unix", s.Journal)
	if err != nil {
		return err
	}
	j := remote{c}
	for {
		from := time.Now()
		var l Leased
		if err := c.Call("Journal.Lease", s.Action, &l); err != nil || l.Ended {
			return err
		}
		if !l.OK {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		_, err := engine.Run(context.Background(), j, hs, l.Assignment, engine.Options{LeasedAt: from, RetryMin: 100 * time.Millisecond, RetryMax: time.Second, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
			At: func(e engine.Edge) {
				if err := c.Call("Journal.At", e.String(), new(bool)); err != nil {
					os.Exit(2) // the test is gone
				}
			}})
		if err != nil {
			return err
		}
	}
}

// Leased is what came of asking for a lease.
type Leased struct {
	OK, Ended  bool
	Assignment engine.Assignment
}

// Write is one write of an action's journal, and Answer what came of it.
type (
	Write struct {
		ID, Term int64
		Record   engine.StepRecord
		Text     string
		Outcome  engine.Outcome
		Wait     time.Duration
	}
	Answer struct {
		Abort, Fenced bool
	}
)

// remote is the journal for the supervisor.
type remote struct{ c *rpc.Client }

func (r remote) write(method string, w Write) (bool, error) {
	var a Answer
	err := r.c.Call("Journal."+method, w, &a)
	if a.Fenced {
		err = engine.ErrFenced
	}
	return a.Abort, err
}

func (r remote) Heartbeat(_ context.Context, id, term int64) (bool, error) {
	return r.write("Heartbeat", Write{ID: id, Term: term})
}

func (r remote) Record(_ context.Context, id, term int64, rec engine.StepRecord) (bool, error) {
	return r.write("Record", Write{ID: id, Term: term, Record: rec})
}

func (r remote) Turn(_ context.Context, id, term int64, reason string) error {
	_, err := r.write("Turn", Write{ID: id, Term: term, Text: reason})
	return err
}

func (r remote) Release(_ context.Context, id, term int64, after time.Duration) error {
	_, err := r.write("Release", Write{ID: id, Term: term, Wait: after})
	return err
}

func (r remote) Finish(_ context.Context, id, term int64, outcome engine.Outcome, message string) error {
	_, err := r.write("Finish", Write{ID: id, Term: term, Outcome: outcome, Text: message})
	return err
}

// served is the journal for supervisors in processes of their own. What comes to an edge that dies is killed with SIGKILL before it goes on.
type served struct {
	mem  *enginetest.Memory
	dies func(edge string) bool
	mu   sync.Mutex
	cmd  *exec.Cmd // that works now
}

func answered(a *Answer, abort bool, err error) error {
	if a.Abort = abort; errors.Is(err, engine.ErrFenced) {
		a.Fenced, err = true, nil
	}
	return err
}

func (s *served) Lease(id int64, l *Leased) error {
	outcome, _ := s.mem.Ended(id)
	l.Ended = outcome != ""
	l.Assignment, l.OK = s.mem.Lease(id)
	return nil
}

func (s *served) Heartbeat(w Write, a *Answer) error {
	abort, err := s.mem.Heartbeat(context.Background(), w.ID, w.Term)
	return answered(a, abort, err)
}

func (s *served) Record(w Write, a *Answer) error {
	abort, err := s.mem.Record(context.Background(), w.ID, w.Term, w.Record)
	return answered(a, abort, err)
}

func (s *served) Turn(w Write, a *Answer) error {
	return answered(a, false, s.mem.Turn(context.Background(), w.ID, w.Term, w.Text))
}

func (s *served) Release(w Write, a *Answer) error {
	return answered(a, false, s.mem.Release(context.Background(), w.ID, w.Term, w.Wait))
}

func (s *served) Finish(w Write, a *Answer) error {
	return answered(a, false, s.mem.Finish(context.Background(), w.ID, w.Term, w.Outcome, w.Text))
}

func (s *served) At(edge string, went *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *went = !s.dies(edge); !*went {
		return s.cmd.Process.Signal(syscall.SIGKILL) // nobody is left to read the answer
	}
	return nil
}

// runProcesses runs an action to its end, by one supervisor after the other, each a process. dies tells at which edge one is killed.
func (w *world) runProcesses(id int64, dies func(edge string) bool) (engine.Outcome, string) {
	w.Helper()
	dir, err := os.MkdirTemp("", "wl") // a socket's path has to be short
	must(w, err)
	defer os.RemoveAll(dir)
	s := supervisorSettings{Journal: filepath.Join(dir, "j"), Action: id, Kind: w.cfg.Database, AdminDSN: w.Database.AdminDSN(), EngineDSN: w.Database.EngineDSN(), Root: w.NodesRoot(),
		HAProxy: w.Balancer.sock, Commands: map[string][]string{Old: w.Command(Old), New: w.Command(New)}, Migrations: map[string]string{Old: w.Migrations(Old), New: w.Migrations(New)}}
	text, err := json.Marshal(s)
	must(w, err)
	file := filepath.Join(dir, "settings")
	must(w, os.WriteFile(file, text, 0o600))
	journal := &served{mem: w.mem, dies: dies}
	names := rpc.NewServer()
	must(w, names.RegisterName("Journal", journal))
	l, err := net.Listen("unix", s.Journal)
	must(w, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go names.ServeCodec(jsonrpc.NewServerCodec(c))
		}
	}()
	for stop := time.Now().Add(15 * time.Minute); ; { // a death at each of many edges costs a lease
		if outcome, message := w.mem.Ended(id); outcome != "" {
			return outcome, message
		}
		if time.Now().After(stop) {
			w.Fatalf("action %d does not end", id)
		}
		if err := w.supervise(journal, file); err != nil {
			w.Fatalf("action %d: %v", id, err)
		}
	}
}

// supervise runs one supervisor until it has ended, or was killed.
func (w *world) supervise(journal *served, file string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, asSupervisor, file)
	var said limited
	cmd.Stderr = &said
	journal.mu.Lock()
	journal.cmd = cmd
	err = cmd.Start()
	journal.mu.Unlock()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL && ctx.Err() == nil {
		return nil // as was wanted
	}
	if err != nil {
		return fmt.Errorf("the supervisor ended: %w: %s", err, said.b)
	}
	return nil
}

// limited keeps the end of what a process says.
type limited struct{ b []byte }

func (l *limited) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	l.b = l.b[max(0, len(l.b)-4096):]
	return len(p), nil
}
