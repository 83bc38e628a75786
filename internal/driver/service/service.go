// Package service starts, stops and looks at the nodes of an engine that we did not write, by configuration alone: what runs a node on a
// version, what says that it is healthy, what says which version it is, and, for a load balancer of another kind, what gives it requests.
//
// A node is run by a Runner: as a process of this machine, or by commands of the user's own, such as systemctl, also over ssh. Health
// and version are asked of the node itself, never of what started it: a node that came back old by another's hand says so.
//
// Failure. What could not be asked is an error, and unknown. A node that does not answer, or not well, is not healthy, and its answer is
// kept for the person who reads why. Every change is under a term: the runner refuses one that is lower than the highest seen.
package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Version is how a node is run on one version.
type Version struct {
	Version string            // numbers that matter, such as "1.1"
	Command []string          // with placeholders, see expand; needed if Local runs it
	Env     map[string]string // the same
	// Secrets are more environment. They are read at each start, hidden in what a command says, and known placeholders in them are filled in;
	// anything else in braces is the secret's own. nil: none.
	Secrets func(c fleet.ClusterRef) (map[string]string, error)
}

// Config is how the nodes of one product are driven.
type Config struct {
	Versions   []Version
	Health     Probe
	Version    Probe
	StopWithin time.Duration // how long a node gets to end by itself; 0: 1 min
	// StartWithin is how long the start of a node may take, RunsWithin the look whether it runs; 0: 2 min, 30 s.
	StartWithin, RunsWithin time.Duration
	Runner                  Runner
}

// LateError means that something of the user's did not end in time. It is a context.DeadlineExceeded.
type LateError struct {
	Within time.Duration
	Key    string // of the supervisor's file that says how long; "" if none does
}

// Error says what was done then.
func (e *LateError) Error() string {
	return fmt.Sprintf("it did not end within %s, and was ended with all that it had started", e.Within)
}

// Unwrap tells that a deadline was exceeded.
func (e *LateError) Unwrap() error { return context.DeadlineExceeded }

// ErrorHint says what to do.
func (e *LateError) ErrorHint() string {
	if e.Key == "" {
		return "try it by hand on the supervisor's machine, as the supervisor's user: it has to answer by then"
	}
	return "try it by hand on the supervisor's machine, as the supervisor's user; if it needs longer, raise " + e.Key
}

// within bounds what comes of a call of the user's.
func within(ctx context.Context, d time.Duration, key string) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, &LateError{d, key})
}

// Unit is one node on one version, for a Runner.
type Unit struct {
	Ref     fleet.ClusterRef
	Node    fleet.Node
	Version string
	Argv    []string // empty when only the node is meant
	Env     []string
	Term    int64
	secrets []string // values that no message may hold
	percent string   // of a node's weight; "" where it means nothing
}

// Runner runs units.
type Runner interface {
	// Runs tells whether the node's process is there.
	Runs(ctx context.Context, u Unit) (bool, error)
	// Start starts it; one that runs is left as it is.
	Start(ctx context.Context, u Unit) error
	// Stop ends it in good order, and returns when it is gone.
	Stop(ctx context.Context, u Unit) error
}

// Driver is a rolling.Nodes.
type Driver struct{ cfg Config }

// New makes a driver.
func New(cfg Config) (*Driver, error) {
	if cfg.StopWithin == 0 {
		cfg.StopWithin = time.Minute
	}
	if cfg.StartWithin == 0 {
		cfg.StartWithin = 2 * time.Minute
	}
	if cfg.RunsWithin == 0 {
		cfg.RunsWithin = 30 * time.Second
	}
	l, local := cfg.Runner.(Local)
	if _, err := expand(l.PIDFile, Unit{Node: fleet.Node{Name: "n", Address: "h:1"}}); err != nil {
		return nil, fmt.Errorf("the pid file of nodes: %w", err)
	}
	for _, v := range cfg.Versions {
		if local && len(v.Command) == 0 {
			return nil, fmt.Errorf("version %s has no command", v.Version)
		}
		for _, text := range append([]string{}, v.Command...) {
			if _, err := expand(text, Unit{Node: fleet.Node{Name: "n", Address: "h:1"}}); err != nil {
				return nil, fmt.Errorf("the command of version %s: %w", v.Version, err)
			}
		}
	}
	if err := errors.Join(cfg.Health.check("health"), cfg.Version.check("version")); err != nil {
		return nil, err
	}
	return &Driver{cfg}, nil
}

// Observe asks the node.
func (d *Driver) Observe(ctx context.Context, c fleet.Cluster, n fleet.Node) (rolling.NodeState, error) {
	u := Unit{Ref: c.Ref(), Node: n}
	runs, err := d.runs(ctx, u)
	if err != nil {
		return rolling.NodeState{}, fmt.Errorf("look whether %s runs: %w", n.Name, err)
	}
	if !runs {
		s := rolling.NodeState{Detail: "its process is not there"}
		if l, ours := d.cfg.Runner.(Local); ours {
			s.Detail = "no process that Windlass started for it is there, by windlass.pid in " + l.spec(u).Dir
			if l.PIDFile != "" {
				s.Detail += ", and none that somebody else did, by " + l.PIDFile
			}
		}
		return s, nil
	}
	s := rolling.NodeState{Running: true}
	said, err := d.cfg.Health.ask(ctx, u)
	if s.Healthy = err == nil; err != nil {
		if ctx.Err() != nil {
			return s, context.Cause(ctx)
		}
		s.Detail = err.Error()
	} else {
		s.Detail = said
	}
	v, err := d.cfg.Version.ask(ctx, u)
	if err == nil {
		v, err = version(v)
	}
	if s.Version = v; err != nil && s.Healthy { // healthy, and of no version: not fit to be judged
		s.Healthy, s.Detail = false, "it does not say its version: "+err.Error()
	}
	return s, nil
}

// looksLike is a version as it is told, in one line, and the letter that some put before its numbers.
var looksLike = regexp.MustCompile(`^[vV]?([0-9][^\r\n]{0,99})(?:[\r\n]|$)`)

// version is what a node said, without a letter before its numbers: v1.1.0 is 1.1.0. What is no version, such as a whole page of which nobody said where
// it stands, is an error.
func version(said string) (string, error) {
	m := looksLike.FindStringSubmatch(said)
	if m == nil {
		return "", fmt.Errorf("what it says is no version, whose numbers come first: %q; version.json names the place of one in JSON, and version.command cuts one out of anything", short([]byte(said)))
	}
	return m[1], nil
}

func (d *Driver) runs(ctx context.Context, u Unit) (bool, error) {
	ctx, cancel := within(ctx, d.cfg.RunsWithin, "")
	defer cancel()
	return d.cfg.Runner.Runs(ctx, u)
}

// Start starts the node on the version.
func (d *Driver) Start(ctx context.Context, c fleet.Cluster, n fleet.Node, version string, term int64) error {
	u := Unit{Ref: c.Ref(), Node: n, Version: version, Term: term}
	for _, v := range d.cfg.Versions {
		if v.Version != version {
			continue
		}
		for _, text := range v.Command {
			arg, err := expand(text, u)
			if err != nil {
				return err
			}
			u.Argv = append(u.Argv, arg)
		}
		for k, text := range v.Env {
			value, err := expand(text, u)
			if err != nil {
				return err
			}
			u.Env = append(u.Env, k+"="+value)
		}
		if v.Secrets != nil {
			secrets, err := v.Secrets(u.Ref)
			if err != nil {
				return fmt.Errorf("start %s: %w", n.Name, err)
			}
			fill, err := filled(u)
			if err != nil {
				return err
			}
			for k, text := range secrets {
				value := fill.Replace(text)
				u.Env, u.secrets = append(u.Env, k+"="+value), append(u.secrets, text, value)
			}
		}
		ctx, cancel := within(ctx, d.cfg.StartWithin, "run.start_within")
		defer cancel()
		return d.cfg.Runner.Start(ctx, u)
	}
	var known []string
	for _, v := range d.cfg.Versions {
		known = append(known, v.Version)
	}
	return fmt.Errorf("there is no command for version %s of the node; the supervisor's file has %s", version, strings.Join(known, ", "))
}

// Stop ends the node.
func (d *Driver) Stop(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	ctx, cancel := within(ctx, d.cfg.StopWithin, "run.stop_within")
	defer cancel()
	return d.cfg.Runner.Stop(ctx, Unit{Ref: c.Ref(), Node: n, Term: term})
}

// expand puts the unit's facts into a text: {node}, {address}, {host}, {port}, {zone}, {env}, {cluster}, {version}, {term}. A doubled
// bracket stands for itself.
func expand(text string, u Unit) (string, error) {
	facts, err := u.facts()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for text != "" {
		before, rest, found := strings.Cut(text, "{")
		b.WriteString(strings.ReplaceAll(before, "}}", "}"))
		if !found {
			break
		}
		if after, doubled := strings.CutPrefix(rest, "{"); doubled {
			b.WriteByte('{')
			text = after
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		value, known := facts[name]
		if !closed || !known {
			return "", fmt.Errorf("%q has no meaning in %q: there are {node}, {address}, {host}, {port}, {zone}, {env}, {cluster}, {version}, {term}, and {{ for a bracket", "{"+name+"}", text)
		}
		b.WriteString(value)
		text = after
	}
	return b.String(), nil
}

// facts are what placeholders stand for.
func (u Unit) facts() (map[string]string, error) {
	host, port, err := net.SplitHostPort(u.Node.Address)
	if err != nil {
		return nil, fmt.Errorf("the address of %s: %w", u.Node.Name, err)
	}
	facts := map[string]string{"node": u.Node.Name, "address": u.Node.Address, "host": host, "port": port, "zone": u.Node.Zone,
		"env": u.Ref.Env, "cluster": u.Ref.Name, "version": u.Version, "term": fmt.Sprint(u.Term)}
	if u.percent != "" {
		facts["percent"] = u.percent
	}
	return facts, nil
}

// filled fills known placeholders in, and leaves everything else as it is.
func filled(u Unit) (*strings.Replacer, error) {
	facts, err := u.facts()
	if err != nil {
		return nil, err
	}
	var pairs []string
	for name, value := range facts {
		pairs = append(pairs, "{"+name+"}", value)
	}
	return strings.NewReplacer(pairs...), nil
}

// Text fills the placeholders of a text about a cluster in: {env} and {cluster}.
func Text(text string, c fleet.ClusterRef) string {
	return strings.NewReplacer("{env}", c.Env, "{cluster}", c.Name, "{{", "{", "}}", "}").Replace(text)
}

// hidden puts stars for secrets in what a command said.
func (u Unit) hidden(said []byte) []byte {
	for _, secret := range u.secrets {
		if secret != "" {
			said = bytes.ReplaceAll(said, []byte(secret), []byte("*****"))
		}
	}
	return said
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Nodes = (*Driver)(nil)
