// Package haproxy decides through HAProxy's runtime socket who gets requests.
//
// A node is the server of its name in one backend. What the driver does is drain, weight, ready, and maintenance with the end of sessions; it never
// edits the configuration, so what it did is gone when HAProxy is started again. Then every server is as the file says, and whoever works on a
// node sees that and drains it again. It never touches maxconn: HAProxy 2.6.12 aborts when that of a frontend is set to 0 and back with a client waiting.
//
// A drained server still gets the clients that belong to it by a cookie or a table, as HAProxy means it to; one in maintenance gets nobody. So
// cutting off is maintenance first, else such a client is back at once, and a server stays in it until it is admitted.
//
// HAProxy keeps a variable for each cluster with the highest term that changed a server of it (trap 1). Between looking at it and the
// change lie microseconds and no lock: HAProxy has nothing better. A change that slips through takes a node's requests away or gives it
// some, which HAProxy's own checks and the next look of the holder put right.
package haproxy

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Config is how one cluster's load balancer is reached.
type Config struct {
	Network string        // "unix" or "tcp"
	Address string        // of the runtime socket, which has to be at the level admin
	Backend string        // with a server for every node, of the node's name
	Timeout time.Duration // of one command; 0: 5 s
	// ReloadWithin is how long after a reload the process from before may go on with its sessions; 0: DefaultReloadWithin.
	ReloadWithin time.Duration
	Proc         string // where the kernel shows processes; empty: /proc
}

// DefaultReloadWithin is for how long a process is young.
const DefaultReloadWithin = 5 * time.Minute

// Driver is a rolling.Balancer.
type Driver struct{ cfg Config }

// New makes a driver. It connects for each command.
func New(cfg Config) *Driver {
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.ReloadWithin == 0 {
		cfg.ReloadWithin = DefaultReloadWithin
	}
	if cfg.Proc == "" {
		cfg.Proc = "/proc"
	}
	return &Driver{cfg}
}

// RefusedError is what HAProxy said against a command.
type RefusedError struct{ Command, Said string }

// Error tells both.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("HAProxy refuses %q: %s", e.Command, e.Said)
}

// ErrorHint says what to do.
func (e *RefusedError) ErrorHint() string {
	switch {
	case strings.Contains(e.Said, "Permission denied"):
		return "the runtime socket needs the level admin: stats socket PATH mode 600 level admin"
	case strings.Contains(e.Said, "No such backend"), strings.Contains(e.Said, "Can't find backend"):
		return "name the backend as HAProxy's configuration does"
	case strings.Contains(e.Said, "No such server"):
		return "the backend needs a server with the name of every node"
	}
	return ""
}

// most bounds an answer: a line of some hundred bytes for each server.
const most = 16 << 20

// ask sends one line and reads the answer to its end.
func (d *Driver) ask(ctx context.Context, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, d.cfg.Network, d.cfg.Address)
	if err != nil {
		return "", fmt.Errorf("reach HAProxy's runtime socket: %w", err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err = io.WriteString(c, line+"\n"); err != nil {
		return "", fmt.Errorf("ask HAProxy: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(c, most))
	if err != nil {
		return "", fmt.Errorf("read HAProxy's answer to %q: %w", line, err)
	}
	if len(b) == 0 { // even an answer without a word ends with an empty line
		return "", fmt.Errorf("HAProxy ended before it had answered %q", line)
	}
	return strings.Trim(string(b), "\n"), nil
}

// name is all that a line may be made of: a blank or a semicolon would be another command.
var name = regexp.MustCompile(`^[A-Za-z0-9._:-]+$`)

func (d *Driver) server(n fleet.Node) (string, error) {
	if !name.MatchString(d.cfg.Backend) || !name.MatchString(n.Name) {
		return "", fmt.Errorf("%q in backend %q can't be the name of a server of HAProxy", n.Name, d.cfg.Backend)
	}
	return d.cfg.Backend + "/" + n.Name, nil
}

// state is one line of "show servers state".
type state struct {
	operation, admin, weight, initial int
	address                           netip.AddrPort // zero if it is not one of IP
}

const (
	running = 2    // of the operation
	forced  = 0x01 // maintenance by the runtime socket
	maint   = forced | 0x02 | 0x04 | 0x20
	drained = 0x08 | 0x10
)

func (d *Driver) states(ctx context.Context) (map[string]state, error) {
	if !name.MatchString(d.cfg.Backend) {
		return nil, fmt.Errorf("%q can't be the name of a backend of HAProxy", d.cfg.Backend)
	}
	line := "show servers state " + d.cfg.Backend
	text, err := d.ask(ctx, line)
	if err != nil {
		return nil, err
	}
	all := map[string]state{}
	var at map[string]int
	for row := range strings.Lines(text) {
		f := strings.Fields(row)
		switch {
		case len(f) == 0 || len(f) == 1 && f[0] == "1": // the version of the format
		case f[0] == "#":
			at = map[string]int{}
			for i, column := range f[1:] {
				at[column] = i
			}
		case at == nil:
			return nil, &RefusedError{line, text}
		default:
			var s state
			for column, to := range map[string]*int{"srv_op_state": &s.operation, "srv_admin_state": &s.admin, "srv_uweight": &s.weight, "srv_iweight": &s.initial} {
				i, ok := at[column]
				if !ok || i >= len(f) {
					return nil, fmt.Errorf("HAProxy's answer to %q has no %s", line, column)
				}
				if *to, err = strconv.Atoi(f[i]); err != nil {
					return nil, fmt.Errorf("HAProxy's answer to %q: %s: %w", line, column, err)
				}
			}
			if a, p := at["srv_addr"], at["srv_port"]; a > 0 && a < len(f) && p < len(f) {
				s.address, _ = netip.ParseAddrPort(net.JoinHostPort(f[a], f[p])) // one that is none can't be looked for
			}
			i, ok := at["srv_name"]
			if !ok || i >= len(f) {
				return nil, fmt.Errorf("HAProxy's answer to %q has no srv_name", line)
			}
			all[f[i]] = s
		}
	}
	return all, nil
}

// sessions counts what is on each server, what waits for it included, and tells which are backups, that get requests only when no other does.
func (d *Driver) sessions(ctx context.Context) (on map[string]int, backup map[string]bool, err error) {
	line := "show stat " + d.cfg.Backend + " 4 -1"
	text, err := d.ask(ctx, line)
	if err != nil {
		return nil, nil, err
	}
	head, ok := strings.CutPrefix(text, "# ")
	if !ok {
		return nil, nil, &RefusedError{line, text}
	}
	r := csv.NewReader(bytes.NewReader([]byte(head)))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil {
		return nil, nil, fmt.Errorf("HAProxy's answer to %q: %w", line, err)
	}
	at := map[string]int{}
	for i, column := range rows[0] {
		at[column] = i
	}
	on, backup = map[string]int{}, map[string]bool{}
	for _, f := range rows[1:] {
		n := 0
		for _, column := range []string{"scur", "qcur"} {
			i, ok := at[column]
			if !ok || i >= len(f) {
				return nil, nil, fmt.Errorf("HAProxy's answer to %q has no %s", line, column)
			}
			if f[i] == "" {
				continue
			}
			v, err := strconv.Atoi(f[i])
			if err != nil {
				return nil, nil, fmt.Errorf("HAProxy's answer to %q: %s: %w", line, column, err)
			}
			n += v
		}
		if i := at["svname"]; i < len(f) {
			on[f[i]] = n
			b, told := at["bck"]
			backup[f[i]] = told && b < len(f) && f[b] == "1"
		}
	}
	return on, backup, nil
}

// Observe tells of every node of the cluster, and after them of other servers of the backend that are given requests, or would be if they were well.
// A backup is none of these.
func (d *Driver) Observe(ctx context.Context, c fleet.Cluster) ([]rolling.Backend, error) {
	states, err := d.states(ctx)
	if err != nil {
		return nil, err
	}
	sessions, backup, err := d.sessions(ctx)
	if err != nil {
		return nil, err
	}
	is, err := d.process(ctx) // last: what was told before is of this process, or of the one before
	if err != nil {
		return nil, err
	}
	var all []rolling.Backend
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			s, ok := states[n.Name]
			if !ok {
				return nil, &RefusedError{"show servers state " + d.cfg.Backend, "No such server " + n.Name}
			}
			on, ok := sessions[n.Name]
			if !ok {
				return nil, &RefusedError{"show stat " + d.cfg.Backend + " 4 -1", "No such server " + n.Name}
			}
			b := s.backend(n.Name)
			b.Sessions = on
			if !b.Admitted && is.age < d.cfg.ReloadWithin {
				more, why := d.elsewhere(is, s.address)
				if b.Sessions += more; more > 0 {
					b.Detail = fmt.Sprintf("%s; HAProxy runs for %v only, and one from before a reload may have sessions for %v", why, is.age, d.cfg.ReloadWithin)
				}
			}
			all = append(all, b)
			delete(states, n.Name)
		}
	}
	for _, server := range slices.Sorted(maps.Keys(states)) {
		if b := states[server].backend(server); b.Admitted && !backup[server] {
			b.Sessions = sessions[server]
			all = append(all, b)
		}
	}
	return all, nil
}

// backend is what the state says of a server.
func (s state) backend(name string) rolling.Backend {
	b := rolling.Backend{Node: name, Up: s.operation == running, Admitted: s.admin&(drained|maint) == 0}
	if s.initial > 0 {
		b.Weight = min(s.weight*100/s.initial, 100)
	}
	return b
}

// Drain sends the node nothing new but clients that belong to it. Connections that are kept open to it end as they become idle. One that was cut
// off stays in maintenance, which is more.
func (d *Driver) Drain(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	srv, err := d.server(n)
	if err != nil {
		return err
	}
	states, err := d.states(ctx)
	if err != nil {
		return err
	}
	state := "drain"
	if states[n.Name].admin&forced != 0 {
		state = "maint"
	}
	return d.act(ctx, c, term, "set server "+srv+" state "+state)
}

// Cut puts the node into maintenance, and ends the sessions on it.
func (d *Driver) Cut(ctx context.Context, c fleet.Cluster, n fleet.Node, term int64) error {
	srv, err := d.server(n)
	if err != nil {
		return err
	}
	return d.act(ctx, c, term, "set server "+srv+" state maint; shutdown sessions server "+srv)
}

// Admit gives the node that share of its weight, at least the smallest that there is, and then requests.
func (d *Driver) Admit(ctx context.Context, c fleet.Cluster, n fleet.Node, percent int, term int64) error {
	srv, err := d.server(n)
	if err != nil {
		return err
	}
	states, err := d.states(ctx)
	if err != nil {
		return err
	}
	s, ok := states[n.Name]
	if !ok {
		return &RefusedError{"show servers state " + d.cfg.Backend, "No such server " + n.Name}
	}
	weight := max(s.initial*percent/100, min(s.initial, 1))
	if err := d.act(ctx, c, term, fmt.Sprintf("set server %s weight %d", srv, weight)); err != nil {
		return err
	}
	return d.act(ctx, c, term, "set server "+srv+" state ready")
}

// seen takes the number out of "proc.x: type=sint value=<7>".
var seen = regexp.MustCompile(`value=<(\d+)>`)

// act changes something, unless a higher term has.
func (d *Driver) act(ctx context.Context, c fleet.Cluster, term int64, line string) error {
	v := "proc.windlass_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, c.Env+"_"+c.Name)
	text, err := d.ask(ctx, "get var "+v)
	if err != nil {
		return err
	}
	if m := seen.FindStringSubmatch(text); m != nil {
		highest, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return fmt.Errorf("HAProxy's variable %s is no term: %w", v, err)
		}
		if highest > term {
			return fmt.Errorf("HAProxy has seen term %d of %s, this is %d: %w", highest, c.Ref(), term, engine.ErrFenced)
		}
	} else if !strings.Contains(text, "not found") && !strings.Contains(text, "undefined") {
		return &RefusedError{"get var " + v, text}
	}
	text, err = d.ask(ctx, fmt.Sprintf("experimental-mode on; set var %s int(%d); %s", v, term, line))
	if err != nil {
		return err
	}
	if text = strings.TrimSpace(text); text != "" {
		return &RefusedError{line, text}
	}
	return nil
}

// Compile-time check: it is what the rolling strategy asks for.
var _ rolling.Balancer = (*Driver)(nil)

// errShape says how an address is written.
var errShape = errors.New("write unix:/path or tcp:host:port")

// ParseAddress reads "unix:/run/haproxy.sock" or "tcp:127.0.0.1:9999".
func ParseAddress(s string) (network, address string, err error) {
	network, address, ok := strings.Cut(s, ":")
	if !ok || network != "unix" && network != "tcp" || address == "" {
		return "", "", fmt.Errorf("the runtime socket %q: %w", s, errShape)
	}
	return network, address, nil
}
