// Package exec lets any executable make nodes and gateways: it reads one JSON object from standard input and writes one
// to standard output. docs/exec-driver.md is its contract, examples/exec a program that keeps it.
//
// The program is started anew for each call, in a process group of its own and with an environment of its own. A call is bounded
// in time and output: whatever is over the bound is killed with its whole group. An exit code other than the defined
// ones, and an answer that the protocol does not allow, mean that nothing is known of what was done: the step looks
// again (observe) before it acts again (create and delete can be repeated). A call whose supervisor was killed is found by the next one
// for the same resource, and ended before anything is looked at. What the program says on standard error becomes log lines, without the
// secrets that it was given. Every call carries the term; the program
// refuses a lower one than it has seen (trap 1), and proves with each answer that it recorded ours. Ids are
// deterministic and carry an ownership mark, so that a retry adopts what a killed try left (trap 34).
package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
)

// ErrForeign means that what is there under the id carries another mark: it was not touched.
var ErrForeign = errors.New("it is not ours")

// Config is the program and its bounds.
type Config struct {
	Command []string // program and arguments; no secret belongs into arguments
	Dir     string   // working folder; empty: the supervisor's
	Env     []string // NAME=VALUE, added to PATH, HOME, USER, LANG, TZ and TMPDIR; nothing else is inherited
	// Secrets are more of the environment, asked for at every call. Their values are hidden in log lines and errors. May be nil.
	Secrets func() (map[string]string, error)
	Observe time.Duration // longest observe; 0: 30 s
	Change  time.Duration // longest of any other; 0: 10 min
	Grace   time.Duration // between the request to end and the kill; 0: 5 s
	Output  int           // most bytes of an answer; 0: 1 MB
	Log     *slog.Logger
}

// Provisioner implements bluegreen.Provisioner and inplace.Nodes with the program.
type Provisioner struct{ cfg Config }

var _ bluegreen.Provisioner = (*Provisioner)(nil)

// New makes a provisioner. It fails if the program can't be run.
func New(cfg Config) (*Provisioner, error) {
	if len(cfg.Command) == 0 || cfg.Command[0] == "" {
		return nil, errors.New("the exec driver has no command: name your program and its arguments")
	}
	cfg.Command = slices.Clone(cfg.Command)
	if cfg.Dir != "" && strings.ContainsRune(cfg.Command[0], '/') && !filepath.IsAbs(cfg.Command[0]) {
		cfg.Command[0] = filepath.Join(cfg.Dir, cfg.Command[0])
	}
	path, err := exec.LookPath(cfg.Command[0])
	if err != nil {
		return nil, fmt.Errorf("the exec driver's program can't be run (write its whole path, and chmod +x it): %w", err)
	}
	if cfg.Command[0], err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("the exec driver's program: %w", err)
	}
	if cfg.Observe == 0 {
		cfg.Observe = 30 * time.Second
	}
	if cfg.Change == 0 {
		cfg.Change = 10 * time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = 5 * time.Second
	}
	if cfg.Output == 0 {
		cfg.Output = 1 << 20
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Provisioner{cfg}, nil
}

// Observe tells what is there under the resource's id.
func (p *Provisioner) Observe(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	return p.call(ctx, Observe, r)
}

// Create makes the resource, or adopts what an earlier try left.
func (p *Provisioner) Create(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	if r.Mark == "" {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: it needs an ownership mark", r.ID)
	}
	return p.call(ctx, Create, r)
}

// Delete removes the resource. What is gone is fine.
func (p *Provisioner) Delete(ctx context.Context, r bluegreen.Resource) error {
	if r.Mark == "" {
		return fmt.Errorf("delete %s: it needs an ownership mark", r.ID)
	}
	_, err := p.call(ctx, Delete, r)
	return err
}

func (p *Provisioner) call(ctx context.Context, v Verb, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	s, err := p.run(ctx, v, r)
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("%s %s with %s: %w", v, r.ID, p.cfg.Command[0], err)
	}
	state := bluegreen.ResourceState{Exists: s.Exists, Running: s.Running, Mark: s.Mark, Node: s.Node, Gateway: s.Gateway, Version: s.Version, Kept: s.Kept}
	if state.Node != nil {
		state.Node.Name = r.ID
	}
	if state.Gateway != nil {
		state.Gateway.Name = r.ID
	}
	return state, nil
}

// run starts the program once, and judges how it ended.
func (p *Provisioner) run(ctx context.Context, v Verb, r bluegreen.Resource) (*State, error) {
	request, err := json.Marshal(Request{Protocol, v, r})
	if err != nil {
		return nil, err
	}
	secrets := map[string]string{}
	if p.cfg.Secrets != nil {
		if secrets, err = p.cfg.Secrets(); err != nil {
			return nil, fmt.Errorf("its environment: %w", err)
		}
	}
	hide, err := newHider(secrets)
	if err != nil {
		return nil, err
	}
	limit := p.cfg.Change
	if v == Observe {
		limit = p.cfg.Observe
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := p.endOrphans(timed, r.ID); err != nil {
		return nil, err
	}
	env, err := p.environment(r.ID, secrets)
	if err != nil {
		return nil, err
	}
	bounded, tooMuch := context.WithCancelCause(timed)
	defer tooMuch(nil)
	out := &capped{most: p.cfg.Output, over: func() { tooMuch(errTooMuch) }}
	log := &lines{hide: hide, log: p.cfg.Log.With("env", r.Env, "cluster", r.Cluster, "resource", r.ID, "verb", string(v), "term", r.Term)}
	err = p.start(bounded, env, append(request, '\n'), out, log)
	said := log.end()
	if said != "" {
		said = "; its last lines: " + said
	}
	var exit *exec.ExitError
	switch {
	case errors.Is(context.Cause(bounded), errTooMuch):
		return nil, fmt.Errorf("it wrote more than %d bytes to standard output and was killed: an answer is one small JSON object%s", p.cfg.Output, said)
	case timed.Err() != nil && ctx.Err() == nil && err != nil:
		return nil, fmt.Errorf("it did not end within %s and was killed; what it did is unknown%s", limit, said)
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("it was ended early, what it did is unknown: %w", ctx.Err())
	case errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("it ended, but a process that it started still holds its standard output or error open: start servers in a session of their own (setsid) with their output in a file%s", said)
	case errors.As(err, &exit):
		return nil, exited(exit, r, said)
	case err != nil:
		return nil, fmt.Errorf("it could not be run: %w", err)
	}
	a, err := decode(out.buf.Bytes())
	if err == nil {
		err = a.check(v, r)
	}
	if name := hide.held(out.buf.String()); err == nil && name != "" {
		err = fmt.Errorf("it holds the value of the secret %s, and what it says is kept and shown: leave it out", name)
	}
	if err != nil {
		return nil, fmt.Errorf("its answer is not one of protocol %d (docs/exec-driver.md), so what is there is unknown: %s%s", Protocol, hide.hide(err.Error()), said)
	}
	return a.State, nil
}

// exited gives the exit codes their meaning.
func exited(exit *exec.ExitError, r bluegreen.Resource, said string) error {
	switch exit.ExitCode() {
	case ExitFenced:
		return fmt.Errorf("it has seen a higher term than %d%s: %w", r.Term, said, engine.ErrFenced)
	case ExitForeign:
		return &engine.Refusal{Err: fmt.Errorf("%w: what is there does not carry the mark %q%s", ErrForeign, r.Mark, said)}
	case ExitNever:
		return &engine.Refusal{Err: fmt.Errorf("it says that no waiting will mend this%s", said)}
	}
	return fmt.Errorf("it failed (%s)%s", exit.ProcessState, said)
}

// start runs the program in a process group of its own. When the context ends, the group is asked to end, and what is left of
// it after the grace, or after the program's own end, is killed.
func (p *Provisioner) start(ctx context.Context, env []string, in []byte, out *capped, log *lines) error {
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", wrapper, "windlass-call"}, p.cfg.Command...)...)
	cmd.Dir, cmd.Env = p.cfg.Dir, env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), out, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = p.cfg.Grace
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
	err := cmd.Run()
	if ctx.Err() != nil && cmd.Process != nil {
		if kill := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); kill != nil && !errors.Is(kill, syscall.ESRCH) {
			err = errors.Join(err, fmt.Errorf("kill what is left of it: %w", kill))
		}
	}
	return err
}

// environment is the program's whole environment.
func (p *Provisioner) environment(id string, secrets map[string]string) ([]string, error) {
	var env []string
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	env = append(env, p.cfg.Env...)
	for name, value := range secrets {
		env = append(env, name+"="+value)
	}
	call, err := p.callOf(id)
	if err != nil {
		return nil, err
	}
	return append(env, callVariable+"="+call), nil
}
