package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// folders keeps each resource in ROOT/ID and what must outlive it in ROOT/.terms.
type folders struct {
	root, start string
	upgradeWith string // command that brings a stopped server's data up to a new version; "": versions are not changed
	port        int
	wait        time.Duration // for one start or stop
}

const (
	markFile     = "mark"          // who made the folder
	resourceFile = "resource.json" // what was asked for; written after the mark
	versionFile  = "version"
)

func (f folders) dir(id string) string { return filepath.Join(f.root, id) }

// lock keeps a second call for the same id waiting: a killed supervisor's call may still run when its successor's begins.
// It ends with the process.
func (f folders) lock(ctx context.Context, id string) (*os.File, error) {
	if id == "" || strings.HasPrefix(id, ".") || strings.ContainsAny(id, "/\x00") {
		return nil, fail(exitNever, "the id %q can't be a folder's name", id)
	}
	if err := os.MkdirAll(filepath.Join(f.root, ".terms"), 0o700); err != nil {
		return nil, err
	}
	l, err := os.OpenFile(filepath.Join(f.root, ".terms", id+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(l.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return l, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			l.Close()
			return nil, err
		}
		if err := pause(ctx); err != nil {
			l.Close()
			return nil, fmt.Errorf("another call for %s does not end: %w", id, err)
		}
	}
}

// term reads the highest term seen for the id; 0 if there was none. What can't be read is an error, never 0.
func (f folders) term(id string) (int64, error) {
	b, err := os.ReadFile(filepath.Join(f.root, ".terms", id))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
}

// raise records the term before anything is changed, and refuses one that is lower than the highest.
func (f folders) raise(r resource) error {
	seen, err := f.term(r.ID)
	if err != nil {
		return err
	}
	if seen > r.Term {
		return fail(exitFenced, "%s was changed under the term %d, this call has %d", r.ID, seen, r.Term)
	}
	return replace(filepath.Join(f.root, ".terms", r.ID), strconv.FormatInt(r.Term, 10))
}

// replace writes a file whole: after a kill it is the old or the new one.
func replace(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (f folders) mark(id string) (string, error) {
	b, err := os.ReadFile(filepath.Join(f.dir(id), markFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return string(b), err
}

func (f folders) observe(ctx context.Context, r resource) (int64, state, error) {
	l, err := f.lock(ctx, r.ID)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	seen, err := f.term(r.ID)
	if err != nil {
		return 0, state{}, err
	}
	s, err := f.look(ctx, r.ID)
	return seen, s, err
}

// look tells what is there. A folder without a resource file is at most begun: create goes on with it.
func (f folders) look(ctx context.Context, id string) (state, error) {
	mark, err := f.mark(id)
	if err != nil {
		return state{}, err
	}
	r, err := f.read(id)
	if errors.Is(err, os.ErrNotExist) {
		return state{Mark: mark}, nil
	}
	if err != nil {
		return state{}, err
	}
	p := process{f.dir(id)}
	pid, err := p.pid()
	if err != nil {
		return state{}, err
	}
	under, err := f.change(id)
	if err != nil {
		return state{}, err
	}
	kept, err := f.kept(id)
	if err != nil {
		return state{}, err
	}
	s := state{Exists: true, Mark: mark, Version: r.Version, Kept: kept, Running: under == nil && pid != 0 && f.answers(ctx, r)}
	if b, err := os.ReadFile(filepath.Join(f.dir(id), versionFile)); err == nil {
		s.Version = strings.TrimSpace(string(b))
	}
	if r.Kind == "gateway" {
		s.Gateway = &gateway{Name: id, Address: f.address(id, 0), ReadOnly: f.address(id, 1), Admin: "http://" + f.address(id, 2)}
	} else {
		s.Node = &node{Name: id, Address: f.address(id, 0)}
	}
	return s, nil
}

func (f folders) read(id string) (resource, error) {
	var r resource
	b, err := os.ReadFile(filepath.Join(f.dir(id), resourceFile))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

func (f folders) host(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("127.%d.%d.%d", 1+int(sum[0])%254, sum[1], 1+int(sum[2])%254)
}

func (f folders) address(id string, offset int) string {
	return net.JoinHostPort(f.host(id), strconv.Itoa(f.port+offset))
}

// answers reports whether the server takes connections. A database server says the first word. One that listens already and says nothing is still
// recovering, and would not even end in good order.
func (f folders) answers(ctx context.Context, r resource) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", f.address(r.ID, 0))
	if err != nil {
		return false
	}
	defer c.Close()
	if r.Kind != "node" {
		return true
	}
	deadline, _ := ctx.Deadline()
	if err := c.SetReadDeadline(deadline); err != nil {
		return false
	}
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

func (f folders) create(ctx context.Context, r resource) (int64, state, error) {
	l, err := f.lock(ctx, r.ID)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	if err := f.raise(r); err != nil {
		return 0, state{}, err
	}
	if err := f.own(r); err != nil {
		return 0, state{}, err
	}
	if c, err := f.change(r.ID); err != nil || c != nil {
		return 0, state{}, errors.Join(err, fmt.Errorf("%s is on its way to another version", r.ID))
	}
	if there, err := f.read(r.ID); err == nil && (there.Version != r.Version || there.Product != r.Product || there.Kind != r.Kind) {
		return 0, state{}, fail(exitNever, "%s is a %s of %s %s, and %s %s was asked for: its data is not changed to another version", r.ID, there.Kind, there.Product, there.Version, r.Product, r.Version)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, state{}, err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return 0, state{}, err
	}
	if err := replace(filepath.Join(f.dir(r.ID), resourceFile), string(b)); err != nil {
		return 0, state{}, err
	}
	if err := f.run(ctx, r); err != nil {
		return 0, state{}, err
	}
	s, err := f.look(ctx, r.ID)
	return r.Term, s, err
}

// run starts the server if it does not run, and waits until it answers.
func (f folders) run(ctx context.Context, r resource) error {
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	p := process{f.dir(r.ID)}
	if err := p.start(f.start, f.environment(r)); err != nil {
		return err
	}
	for !f.answers(ctx, r) {
		if pid, err := p.pid(); err != nil || pid == 0 {
			return fmt.Errorf("%s ended while it started (%v); see %s", r.ID, err, p.log())
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%s does not answer at %s: %w; see %s", r.ID, f.address(r.ID, 0), err, p.log())
		}
	}
	return nil
}

// own makes the folder and writes the mark into it, before anything else. A folder that somebody else made is refused, also one that
// holds something and no mark.
func (f folders) own(r resource) error {
	mark, err := f.mark(r.ID)
	if err != nil {
		return err
	}
	if r.Mark == "" || (mark != "" && mark != r.Mark) {
		return fail(exitForeign, "%s carries the mark %q, not %q", f.dir(r.ID), mark, r.Mark)
	}
	if err := os.MkdirAll(f.dir(r.ID), 0o700); err != nil {
		return err
	}
	if mark == "" {
		entries, err := os.ReadDir(f.dir(r.ID))
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Name() != markFile && e.Name() != markFile+".new" {
				return fail(exitForeign, "%s holds %s and no mark: somebody else made it", f.dir(r.ID), e.Name())
			}
		}
	}
	return replace(filepath.Join(f.dir(r.ID), markFile), r.Mark)
}

func (f folders) environment(r resource) []string {
	env := []string{
		"WINDLASS_ID=" + r.ID, "WINDLASS_KIND=" + r.Kind, "WINDLASS_ENV=" + r.Env, "WINDLASS_CLUSTER=" + r.Cluster, "WINDLASS_CELL=" + r.Cell,
		"WINDLASS_PRODUCT=" + r.Product, "WINDLASS_VERSION=" + r.Version, "WINDLASS_HOST=" + f.host(r.ID), "WINDLASS_PORT=" + strconv.Itoa(f.port),
	}
	if r.Kind == "gateway" {
		env = append(env, "WINDLASS_READ_ONLY_PORT="+strconv.Itoa(f.port+1), "WINDLASS_ADMIN_PORT="+strconv.Itoa(f.port+2),
			"WINDLASS_LOCAL="+strings.Join(r.Local, " "), "WINDLASS_SERVERS="+strings.Join(r.Servers, " "))
	}
	return env
}

// delete stops the process, moves the folder aside, and only then deletes it. What is gone is fine.
func (f folders) delete(ctx context.Context, r resource) (int64, state, error) {
	l, err := f.lock(ctx, r.ID)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	if err := f.raise(r); err != nil {
		return 0, state{}, err
	}
	quarantine := filepath.Join(f.root, ".quarantine", r.ID)
	if _, err := os.Stat(f.dir(r.ID)); errors.Is(err, os.ErrNotExist) {
		return r.Term, state{}, os.RemoveAll(quarantine) // what a killed delete left
	}
	mark, err := f.mark(r.ID)
	if err != nil {
		return 0, state{}, err
	}
	if mark != r.Mark || mark == "" {
		return 0, state{}, fail(exitForeign, "%s carries the mark %q, not %q", f.dir(r.ID), mark, r.Mark)
	}
	if err := f.halt(ctx, r.ID); err != nil {
		return 0, state{}, err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(quarantine), 0o700), os.RemoveAll(quarantine)); err != nil {
		return 0, state{}, err
	}
	if err := os.Rename(f.dir(r.ID), quarantine); err != nil {
		return 0, state{}, err
	}
	return r.Term, state{}, os.RemoveAll(quarantine)
}

// pause waits a moment, or returns the context's error.
func pause(ctx context.Context) error {
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
