package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Local runs nodes as processes of this machine. Each has a folder below Root with its pid, its log, and the highest term that changed it.
type Local struct {
	Root string
	// PIDFile, which may name the node by placeholders, is where nodes that somebody else started have their pid; "" if there are none. Such a
	// process is the node's while Windlass has started none.
	PIDFile string
}

func (l Local) spec(u Unit) process.Spec {
	return process.Spec{Name: u.Node.Name, Dir: filepath.Join(l.Root, u.Ref.Env, u.Ref.Name, u.Node.Name), Argv: u.Argv, Env: u.Env}
}

// either is spec, and where its pid is if somebody else started it.
func (l Local) either(u Unit) (process.Spec, error) {
	s := l.spec(u)
	var err error
	if l.PIDFile != "" {
		s.Theirs, err = expand(l.PIDFile, u)
	}
	return s, err
}

// Process is the process of a node, for whoever wants to end it.
func (l Local) Process(c fleet.ClusterRef, n fleet.Node) process.Spec {
	return l.spec(Unit{Ref: c, Node: n})
}

// Runs looks at the process.
func (l Local) Runs(_ context.Context, u Unit) (bool, error) {
	p, err := l.either(u)
	if err != nil {
		return false, err
	}
	s, _, err := p.Status()
	return s == process.Running, err
}

// Start starts the process.
func (l Local) Start(ctx context.Context, u Unit) error {
	return l.guarded(ctx, u, func(s process.Spec) error { return s.Start(ctx) })
}

// Stop asks the process to end, and kills it when the time is over.
func (l Local) Stop(ctx context.Context, u Unit) error {
	return l.guarded(ctx, u, func(s process.Spec) error {
		err := s.Stop(ctx)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			return s.Kill(grace)
		}
		return err
	})
}

// guarded changes a node under its lock, unless a higher term has (trap 1).
func (l Local) guarded(ctx context.Context, u Unit, f func(process.Spec) error) error {
	s, err := l.either(u)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of %s: %w", u.Node.Name, err)
	}
	unlock, err := builds.Lock(ctx, filepath.Join(s.Dir, "lock"))
	if err != nil {
		return fmt.Errorf("lock %s: %w", u.Node.Name, err)
	}
	defer unlock()
	file := filepath.Join(s.Dir, "term")
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the term of %s: %w", u.Node.Name, err)
	}
	if len(b) > 0 {
		highest, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
		if err != nil {
			return fmt.Errorf("the term of %s is unreadable: %w", u.Node.Name, err)
		}
		if highest > u.Term {
			return fmt.Errorf("%s was changed under term %d, ours is %d: %w", u.Node.Name, highest, u.Term, engine.ErrFenced)
		}
	}
	if err := os.WriteFile(file+".new", fmt.Appendf(nil, "%d\n", u.Term), 0o600); err != nil {
		return fmt.Errorf("note the term of %s: %w", u.Node.Name, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("note the term of %s: %w", u.Node.Name, err)
	}
	return f(s)
}

// Commands runs nodes by commands of the user's own. Each may name the unit by placeholders, {term} too: a program that keeps the highest
// term and ends with Fenced is fenced as our own are.
type Commands struct {
	IsRunning []string // ends with 0 if the node's process is there, with NotRunning if not; anything else is unknown
	StartWith []string // returns when the process is there
	StopWith  []string // returns when it is gone
}

// The exit codes of the user's commands: NotRunning is that of systemctl is-active and of init scripts.
const (
	NotRunning = 3
	Fenced     = 75
)

// Runs asks the user's command.
func (c Commands) Runs(ctx context.Context, u Unit) (bool, error) {
	out, code, err := command(ctx, c.IsRunning, nil, u)
	switch {
	case err != nil:
		return false, err
	case code == 0:
		return true, nil
	case code == NotRunning:
		return false, nil
	}
	return false, fmt.Errorf("%s ends with %d, which says neither that the node runs (0) nor that it does not (%d): %s", c.IsRunning[0], code, NotRunning, short(out))
}

// Start runs the user's command, with the version's environment.
func (c Commands) Start(ctx context.Context, u Unit) error { return c.do(ctx, c.StartWith, u) }

// Stop runs the user's command.
func (c Commands) Stop(ctx context.Context, u Unit) error { return c.do(ctx, c.StopWith, u) }

func (c Commands) do(ctx context.Context, argv []string, u Unit) error {
	argv, err := expanded(argv, u)
	if err != nil {
		return err
	}
	return do(ctx, argv, u)
}

// do runs a command that changes the unit.
func do(ctx context.Context, argv []string, u Unit) error {
	out, code, err := run(ctx, argv, u.Env)
	out = u.hidden(out)
	switch {
	case err != nil:
		return err
	case code == Fenced:
		return fmt.Errorf("%s has seen a higher term than %d: %w", argv[0], u.Term, engine.ErrFenced)
	case code != 0:
		return fmt.Errorf("%s ends with %d: %s", strings.Join(argv, " "), code, short(out))
	}
	return nil
}
