// Package local makes nodes and gateways on this machine: it is the provisioner of the demo, of tests, and of anybody whose
// fleet fits on one machine.
//
// Each resource is a folder named by its id, with a mark that says who made it, the highest term that changed it, and
// what was decided for it (its port, its address). A retry finds these and adopts them (trap 34); a caller with a lower term
// is refused (trap 1); a folder with another mark is never touched (trap 36). Nodes listen on 127.0.0.1; each gateway has
// a loopback address of its own, made of its id, and the same port, so that an address record is enough to tell them apart.
package local

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway"
)

// Config says where resources are kept and with which accounts they are made. Files named here hold secrets and have mode 0600.
type Config struct {
	Root                string // folder of all resources
	Cache               string // folder of the builds; empty: the user's cache
	InitSQLFile         string // statements, one on each line, that make the accounts of a new node
	GatewayProgram      string // path of windlass-gateway
	GatewayPort         int    // of every gateway's writer endpoint; the read-only one is at +1, the admin API at +2
	AccountsFile        string // of the gateways: who may log in
	MonitorUser         string // of the gateways: the account that asks servers for their role
	MonitorPasswordFile string
	AdminTokenFile      string        // of the gateways' admin API
	CaptureEvery        time.Duration // how often a gateway that captures ends a file; 0: its own default
	CaptureKeyFile      string        // that captures are sealed with; empty: they are not
	NodeOptions         []string      // more server options for every node, as in an option file
	Progress            func(string)
}

// Provisioner implements bluegreen.Provisioner and inplace.Nodes.
type Provisioner struct {
	cfg Config

	// Point is called inside an upgrade in place; an error stops it there. Tests inject faults. Nil: nothing.
	Point func(name string) error
}

// New makes a provisioner.
func New(cfg Config) *Provisioner { return &Provisioner{cfg: cfg} }

var _ bluegreen.Provisioner = (*Provisioner)(nil)

// decided is what was chosen for a resource when it was made, kept beside it.
type decided struct {
	Resource bluegreen.Resource `json:"resource"`
	Port     int                `json:"port"`
	Address  string             `json:"address"`          // host alone
	Change   *change            `json:"change,omitempty"` // of a node's version, under way
}

func (p *Provisioner) dir(id string) string     { return filepath.Join(p.cfg.Root, id) }
func (p *Provisioner) decided(id string) string { return filepath.Join(p.dir(id), "resource.json") }

func (p *Provisioner) read(id string) (decided, error) {
	var d decided
	b, err := os.ReadFile(p.decided(id))
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return d, fmt.Errorf("%s is unreadable: %w", p.decided(id), err)
	}
	return d, nil
}

func checkID(id string) error {
	if id == "" || strings.ContainsAny(id, "/\\") || strings.HasPrefix(id, ".") {
		return fmt.Errorf("resource id %q can't be a folder's name", id)
	}
	return nil
}

// Observe tells what is there under the resource's id.
func (p *Provisioner) Observe(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	if err := checkID(r.ID); err != nil {
		return bluegreen.ResourceState{}, err
	}
	mark, err := process.ReadMark(p.dir(r.ID))
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("observe %s: %w", r.ID, err)
	}
	d, err := p.read(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		return bluegreen.ResourceState{Mark: mark}, nil // at most begun: Create goes on with it
	}
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	spec, version, err := p.spec(ctx, d, false)
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	state, _, err := spec.Status()
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	s := p.state(d, mark, version, state == process.Running && d.Change == nil)
	if s.Kept, err = p.kept(r.ID); err != nil {
		return bluegreen.ResourceState{}, err
	}
	return s, nil
}

func (p *Provisioner) state(d decided, mark, version string, running bool) bluegreen.ResourceState {
	s := bluegreen.ResourceState{Exists: true, Running: running, Mark: mark, Version: version}
	at := func(offset int) string { return net.JoinHostPort(d.Address, strconv.Itoa(d.Port+offset)) }
	if d.Resource.Kind == "gateway" {
		s.Gateway = &fleet.Gateway{Name: d.Resource.ID, Address: at(0), ReadOnly: at(1), Admin: "http://" + at(2)}
	} else {
		s.Node = &fleet.Node{Name: d.Resource.ID, Address: at(0)}
	}
	return s
}

// Create makes the resource, or adopts and starts what an earlier try left.
func (p *Provisioner) Create(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	unlock, err := p.guard(ctx, r)
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	defer unlock()
	if r.Mark == "" {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: it needs an ownership mark", r.ID)
	}
	if err := process.Mark(p.dir(r.ID), r.Mark); err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	d, err := p.read(r.ID)
	if errors.Is(err, os.ErrNotExist) {
		d, err = p.decide(r)
	}
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	if d.Resource.Kind != r.Kind || r.Kind == "node" && (d.Resource.Product != r.Product || d.Resource.Version != r.Version) {
		return bluegreen.ResourceState{}, &engine.Refusal{Err: fmt.Errorf("create %s: it is a %s of %s %s, and %s %s was asked for: its data is not changed to another version",
			r.ID, d.Resource.Kind, d.Resource.Product, d.Resource.Version, r.Product, r.Version)}
	}
	if d.Change != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: it is on its way to %s", r.ID, d.Change.To)
	}
	d.Resource = r // the lists of servers may have grown
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return bluegreen.ResourceState{}, err
	}
	if err := writeWhole(p.decided(r.ID), b); err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	spec, version, err := p.spec(ctx, d, true)
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	if err := spec.Start(ctx); err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("create %s: %w", r.ID, err)
	}
	return p.state(d, r.Mark, version, true), nil
}

// Delete stops the resource, moves it aside and deletes it. What is gone is fine.
func (p *Provisioner) Delete(ctx context.Context, r bluegreen.Resource) error {
	unlock, err := p.guard(ctx, r)
	if err != nil {
		return err
	}
	defer unlock()
	mark, err := process.ReadMark(p.dir(r.ID))
	if err != nil {
		return fmt.Errorf("delete %s: %w", r.ID, err)
	}
	if _, err := os.Stat(p.dir(r.ID)); err == nil && mark != r.Mark {
		return fmt.Errorf("delete %s: %w: it carries the mark %q, not %q", r.ID, process.ErrNotOurs, mark, r.Mark)
	}
	spec := process.Spec{Name: r.ID, Dir: p.dir(r.ID)}
	if err := spec.Stop(ctx); err != nil {
		return fmt.Errorf("delete %s: %w", r.ID, err)
	}
	if err := process.Destroy(spec, r.Mark); err != nil {
		return fmt.Errorf("delete %s: %w", r.ID, err)
	}
	return nil
}

// guard takes the resource's lock and refuses a term that is lower than the highest seen. The term outlives the resource.
func (p *Provisioner) guard(ctx context.Context, r bluegreen.Resource) (func(), error) {
	if err := checkID(r.ID); err != nil {
		return nil, err
	}
	terms := filepath.Join(p.cfg.Root, ".terms")
	if err := os.MkdirAll(terms, 0o700); err != nil {
		return nil, err
	}
	unlock, err := builds.Lock(ctx, filepath.Join(terms, r.ID+".lock"))
	if err != nil {
		return nil, fmt.Errorf("wait for another change of %s: %w", r.ID, err)
	}
	file := filepath.Join(terms, r.ID)
	b, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		unlock()
		return nil, err
	}
	var seen int64
	if len(b) > 0 {
		if seen, err = strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err != nil {
			unlock()
			return nil, fmt.Errorf("the term of %s is unreadable: %w", r.ID, err)
		}
	}
	if seen > r.Term {
		unlock()
		return nil, fmt.Errorf("%s was changed under term %d, ours is %d: %w", r.ID, seen, r.Term, engine.ErrFenced)
	}
	if err := writeWhole(file, strconv.AppendInt(nil, r.Term, 10)); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// decide chooses a port for a node, and for a gateway its own loopback address.
func (p *Provisioner) decide(r bluegreen.Resource) (decided, error) {
	if r.Kind == "gateway" {
		sum := sha256.Sum256([]byte(p.cfg.Root + "\x00" + r.ID))
		host := fmt.Sprintf("127.%d.%d.%d", 1+int(sum[0])%254, sum[1], 1+int(sum[2])%254)
		return decided{Resource: r, Port: p.cfg.GatewayPort, Address: host}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return decided{}, err
	}
	defer l.Close()
	return decided{Resource: r, Port: l.Addr().(*net.TCPAddr).Port, Address: "127.0.0.1"}, nil
}

// spec is the process of a resource. With prepare it also makes what the process needs: data folder, configuration.
func (p *Provisioner) spec(ctx context.Context, d decided, prepare bool) (process.Spec, string, error) {
	r := d.Resource
	if r.Kind == "gateway" {
		return p.gatewaySpec(d, prepare)
	}
	b, err := builds.Fetch(ctx, r.Product+"-"+r.Version, builds.Options{Cache: p.cfg.Cache, Progress: p.cfg.Progress})
	if err != nil {
		return process.Spec{}, "", err
	}
	var sql []byte
	if prepare {
		if sql, err = readSecret(p.cfg.InitSQLFile); err != nil {
			return process.Spec{}, "", fmt.Errorf("accounts of a new node: %w", err)
		}
	}
	var node interface {
		Init(ctx context.Context) error
		Spec() (process.Spec, error)
	}
	switch r.Product {
	case "mariadb":
		node = process.MariaDB{Name: r.ID, Build: b, Dir: p.dir(r.ID), Port: d.Port, ServerID: serverID(r.ID), InitSQL: string(sql), Extra: p.cfg.NodeOptions}
	case "mysql":
		node = process.MySQL{Name: r.ID, Build: b, Dir: p.dir(r.ID), Port: d.Port, ServerID: serverID(r.ID), InitSQL: string(sql), Extra: p.cfg.NodeOptions}
	default:
		return process.Spec{}, "", fmt.Errorf("the local provisioner makes nodes of mariadb and mysql; for %s give an exec provisioner", r.Product)
	}
	if prepare {
		if err := node.Init(ctx); err != nil {
			return process.Spec{}, "", err
		}
	}
	s, err := node.Spec()
	return s, b.Version, err
}

// serverID is a node's number in replication, unique by its id.
func serverID(id string) uint32 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint32(sum[:]) | 1
}

func (p *Provisioner) gatewaySpec(d decided, prepare bool) (process.Spec, string, error) {
	r, dir := d.Resource, p.dir(d.Resource.ID)
	at := func(offset int) string { return net.JoinHostPort(d.Address, strconv.Itoa(d.Port+offset)) }
	file := filepath.Join(dir, "gateway.yaml")
	if prepare {
		cfg := gateway.Config{
			Name: r.ID, Listen: at(0), ReadOnlyListen: at(1), Admin: gateway.AdminConfig{Listen: at(2), TokenFile: p.cfg.AdminTokenFile},
			AccountsFile: p.cfg.AccountsFile, Monitor: gateway.MonitorConfig{User: p.cfg.MonitorUser, PasswordFile: p.cfg.MonitorPasswordFile},
			Servers: gateway.ServersConfig{Local: r.Local, All: r.Servers}, StateFile: filepath.Join(dir, "gateway.state"),
			Capture: &gateway.CaptureConfig{Folder: filepath.Join(dir, "spool"), KeyFile: p.cfg.CaptureKeyFile, RotateEvery: gateway.Duration(p.cfg.CaptureEvery)}, // off until it is asked for
		}
		b, err := yaml.Marshal(cfg)
		if err != nil {
			return process.Spec{}, "", fmt.Errorf("write the gateway's configuration: %w", err)
		}
		if err := writeWhole(file, b); err != nil {
			return process.Spec{}, "", err
		}
	}
	health := "http://" + at(2) + "/healthz"
	return process.Spec{Name: r.ID, Dir: dir, Argv: []string{p.cfg.GatewayProgram, "--config", file}, Ready: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, health, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", health, resp.Status)
		}
		return nil
	}}, r.Version, nil
}

// StopAll ends every resource under the root, and reports what it could not end. Data stays.
func (p *Provisioner) StopAll(ctx context.Context) error {
	entries, err := os.ReadDir(p.cfg.Root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			errs = append(errs, process.Spec{Name: e.Name(), Dir: p.dir(e.Name())}.Kill(ctx))
		}
	}
	return errors.Join(errs...)
}

func readSecret(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds secrets and can be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return os.ReadFile(path)
}

// writeWhole replaces a file by one rename: it is the old or the new one, never half of either.
func writeWhole(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
