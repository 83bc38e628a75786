package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/inplace"
)

var _ inplace.Nodes = (*Provisioner)(nil)

// change is what is under way with a node's version, kept in its resource.json: while it is there the node counts as not running.
type change struct {
	To      string `json:"to"`                // the version to arrive at
	Stopped bool   `json:"stopped,omitempty"` // the server was seen to end in good order
	Back    bool   `json:"back,omitempty"`    // the copy is put back
}

// at is called at the places inside an upgrade and a restore where a kill is interesting; tests stop it there.
func (p *Provisioner) at(name string) error {
	if p.Point != nil {
		return p.Point(name)
	}
	return nil
}

// Upgrade raises a node to the resource's version over its own data; see inplace.Nodes. The order:
//
//	note   what is under way is written down, so that whoever comes next goes on with it
//	stop   the old version ends in good order, for a newer one does not take over what a crash left; a server that was killed is started once more first
//	keep   a copy of the data folder, whole or not there at all: it is made beside and renamed
//	raise  the new version on the data, alone: no network, no replication, while its own program brings the system tables up to date
//	start  the new version, read-only
func (p *Provisioner) Upgrade(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	d, unlock, err := p.ownNode(ctx, r)
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("raise %s: %w", r.ID, err)
	}
	defer unlock()
	err = func() error {
		switch {
		case d.Change == nil && d.Resource.Version == r.Version:
			return p.startNode(ctx, d)
		case d.Change == nil:
			d.Change = &change{To: r.Version}
			if err := p.write(d); err != nil {
				return err
			}
		case d.Change.Back || d.Change.To != r.Version:
			return &engine.Refusal{Err: fmt.Errorf("it is on its way to %s", d.Change.To)}
		}
		if err := p.at("noted"); err != nil {
			return err
		}
		if err := p.stopWell(ctx, &d); err != nil {
			return err
		}
		if err := p.keep(d); err != nil {
			return err
		}
		if err := p.at("kept"); err != nil {
			return err
		}
		if err := p.raiseTables(ctx, d); err != nil {
			return err
		}
		if err := p.at("raised"); err != nil {
			return err
		}
		d.Resource.Version, d.Change = r.Version, nil
		if err := p.write(d); err != nil {
			return err
		}
		return p.startNode(ctx, d)
	}()
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("raise %s to %s: %w", r.ID, r.Version, err)
	}
	return p.Observe(ctx, r)
}

// Restore puts the copy back; see inplace.Nodes.
func (p *Provisioner) Restore(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	d, unlock, err := p.ownNode(ctx, r)
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("put %s back: %w", r.ID, err)
	}
	defer unlock()
	err = func() error {
		kept, err := p.kept(r.ID)
		if err != nil {
			return err
		}
		switch {
		case d.Change != nil && d.Change.Back && d.Change.To == r.Version: // begun
		case kept == "" && d.Resource.Version == r.Version: // the new version has not touched the data
			if d.Change != nil {
				d.Change = nil
				if err := p.write(d); err != nil {
					return err
				}
			}
			return p.startNode(ctx, d)
		case kept != r.Version:
			return &engine.Refusal{Err: fmt.Errorf("there is no copy of its data of %s; there is one of %q", r.Version, kept)}
		default:
			d.Change = &change{To: r.Version, Back: true}
			if err := p.write(d); err != nil {
				return err
			}
		}
		if err := p.at("noted"); err != nil {
			return err
		}
		if err := (process.Spec{Name: r.ID, Dir: p.dir(r.ID)}).Stop(ctx); err != nil {
			return err
		}
		if err := p.swap(r.ID, kept); err != nil {
			return err
		}
		d.Resource.Version, d.Change = r.Version, nil
		if err := p.write(d); err != nil {
			return err
		}
		return p.startNode(ctx, d)
	}()
	if err != nil {
		return bluegreen.ResourceState{}, fmt.Errorf("put %s back to %s: %w", r.ID, r.Version, err)
	}
	return p.Observe(ctx, r)
}

// Discard deletes the copy; see inplace.Nodes.
func (p *Provisioner) Discard(ctx context.Context, r bluegreen.Resource) error {
	d, unlock, err := p.ownNode(ctx, r)
	if err != nil {
		return fmt.Errorf("delete the copy of %s: %w", r.ID, err)
	}
	defer unlock()
	if d.Change != nil {
		return fmt.Errorf("delete the copy of %s: it is on its way to %s, and may need it", r.ID, d.Change.To)
	}
	kept, err := p.kept(r.ID)
	if err == nil && kept != "" {
		err = os.RemoveAll(p.copyOf(r.ID, kept))
	}
	if err != nil {
		return fmt.Errorf("delete the copy of %s: %w", r.ID, err)
	}
	return nil
}

// ownNode locks a node that is there and carries the mark, under a term that is not lower than the highest seen.
func (p *Provisioner) ownNode(ctx context.Context, r bluegreen.Resource) (decided, func(), error) {
	unlock, err := p.guard(ctx, r)
	if err != nil {
		return decided{}, nil, err
	}
	d, err := func() (decided, error) {
		mark, err := process.ReadMark(p.dir(r.ID))
		if err != nil {
			return decided{}, err
		}
		d, err := p.read(r.ID)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return d, &engine.Refusal{Err: errors.New("there is no such node")}
		case err != nil:
			return d, err
		case mark == "" || mark != r.Mark:
			return d, &engine.Refusal{Err: fmt.Errorf("%w: it carries the mark %q, not %q", process.ErrNotOurs, mark, r.Mark)}
		case d.Resource.Kind != "node" || d.Resource.Product != r.Product:
			return d, &engine.Refusal{Err: fmt.Errorf("it is a %s of %s, not a node of %s", d.Resource.Kind, d.Resource.Product, r.Product)}
		case r.Product != "mariadb":
			return d, &engine.Refusal{Err: fmt.Errorf("the local provisioner raises nodes of mariadb in place, not of %s: take the strategy bluegreen, or give an exec provisioner", r.Product)}
		}
		return d, nil
	}()
	if err != nil {
		unlock()
		return d, nil, err
	}
	return d, unlock, nil
}

func (p *Provisioner) write(d decided) error {
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return writeWhole(p.decided(d.Resource.ID), b)
}

// copyPrefix begins the names of copies; what follows is the version that they are of.
const copyPrefix = "kept-"

func (p *Provisioner) copyOf(id, version string) string {
	return filepath.Join(p.dir(id), copyPrefix+version)
}

// kept is the version of the copy that is there, "" if there is none.
func (p *Provisioner) kept(id string) (string, error) {
	entries, err := os.ReadDir(p.dir(id))
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		if v, ok := strings.CutPrefix(e.Name(), copyPrefix); ok && !strings.HasSuffix(v, ".new") {
			return v, nil
		}
	}
	return "", nil
}

func (p *Provisioner) startNode(ctx context.Context, d decided) error {
	spec, _, err := p.spec(ctx, d, true)
	if err != nil {
		return err
	}
	return spec.Start(ctx)
}

// stopWell ends the old version in good order. One that was killed, by whomever, is started once more, so that it recovers itself: a newer
// version refuses, or has to guess at, what an older one's crash left.
func (p *Provisioner) stopWell(ctx context.Context, d *decided) error {
	if d.Change.Stopped {
		return nil
	}
	if err := p.startNode(ctx, *d); err != nil {
		return err
	}
	spec := process.Spec{Name: d.Resource.ID, Dir: p.dir(d.Resource.ID)}
	if err := spec.Stop(ctx); err != nil {
		return err
	}
	if err := p.at("stopped"); err != nil {
		return err
	}
	if err := endedWell(spec.LogFile()); err != nil {
		return err
	}
	d.Change.Stopped = true
	return p.write(*d)
}

// endedWell sees in a server's log that it came to the end of its shutdown.
func endedWell(log string) error {
	b, err := os.ReadFile(log)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b[max(0, len(b)-4096):])), "\n")
	if last := lines[len(lines)-1]; !strings.Contains(last, "Shutdown complete") {
		return fmt.Errorf("it did not end in good order; the last line of %s is %q", log, last)
	}
	return nil
}

// keep copies the data of the stopped node. The name appears when the copy is whole.
func (p *Provisioner) keep(d decided) error {
	to := p.copyOf(d.Resource.ID, d.Resource.Version)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.RemoveAll(to + ".new"); err != nil {
		return err
	}
	if err := process.Clone(filepath.Join(p.dir(d.Resource.ID), "data"), to+".new"); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// raiseTables runs the new version on the data, alone, and brings the system tables up to it.
func (p *Provisioner) raiseTables(ctx context.Context, d decided) error {
	b, err := builds.Fetch(ctx, d.Resource.Product+"-"+d.Change.To, builds.Options{Cache: p.cfg.Cache, Progress: p.cfg.Progress})
	if err != nil {
		return err
	}
	m := process.MariaDB{Name: d.Resource.ID, Build: b, Dir: p.dir(d.Resource.ID), Port: d.Port, ServerID: serverID(d.Resource.ID), Extra: p.cfg.NodeOptions}
	return m.Upgrade(ctx)
}

// swap puts the copy in the data's place. Killed in between, it goes on: the copy is there until it has become the data.
func (p *Provisioner) swap(id, kept string) error {
	data := filepath.Join(p.dir(id), "data")
	if kept != "" {
		if _, err := os.Stat(data); err == nil {
			if err := os.RemoveAll(data + ".raised"); err != nil {
				return err
			}
			if err := os.Rename(data, data+".raised"); err != nil {
				return err
			}
		}
		if err := p.at("aside"); err != nil {
			return err
		}
		if err := os.Rename(p.copyOf(id, kept), data); err != nil {
			return err
		}
	}
	if err := p.at("swapped"); err != nil {
		return err
	}
	return os.RemoveAll(data + ".raised")
}
