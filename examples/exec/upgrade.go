package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The strategy inplace changes the version of a node over its own data. What is under way is written down in the node's folder before
// anything is done: whoever comes next goes on from there, and meanwhile the node does not count as running.
//
// The data is the folder "data" in the node's own one. The copy is made beside it and renamed when it is whole: a copy that is there is a
// good one. Put your snapshots in the place of keep and swap.
const (
	changeFile = "change.json"
	dataDir    = "data"
	copyPrefix = "kept-" // what follows is the version that the copy is of
)

type change struct {
	To      string `json:"to"`
	Stopped bool   `json:"stopped"` // the old version has ended
	Back    bool   `json:"back"`    // the copy is put back
}

func (f folders) change(id string) (*change, error) {
	b, err := os.ReadFile(filepath.Join(f.dir(id), changeFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var c change
	return &c, json.Unmarshal(b, &c)
}

func (f folders) setChange(id string, c *change) error {
	path := filepath.Join(f.dir(id), changeFile)
	if c == nil {
		err := os.Remove(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return replace(path, string(b))
}

// kept is the version of the copy that is there, "" if there is none.
func (f folders) kept(id string) (string, error) {
	entries, err := os.ReadDir(f.dir(id))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
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

// mine locks a node that is there and carries the mark, and records the term.
func (f folders) mine(ctx context.Context, r resource) (l *os.File, there resource, err error) {
	if f.upgradeWith == "" {
		return nil, there, fail(exitNever, "give --upgrade to change the version of nodes that are there")
	}
	if l, err = f.lock(ctx, r.ID); err != nil {
		return nil, there, err
	}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err = f.raise(r); err != nil {
		return l, there, err
	}
	mark, err := f.mark(r.ID)
	switch {
	case err != nil:
		return l, there, err
	case mark == "" || mark != r.Mark:
		return l, there, fail(exitForeign, "%s carries the mark %q, not %q", f.dir(r.ID), mark, r.Mark)
	}
	there, err = f.read(r.ID)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return l, there, fail(exitNever, "there is no node %s", r.ID)
	case err == nil && (there.Kind != "node" || there.Product != r.Product):
		return l, there, fail(exitNever, "%s is a %s of %s, not a node of %s", r.ID, there.Kind, there.Product, r.Product)
	}
	return l, there, err
}

// upgrade raises a node over its own data, behind a copy of it.
func (f folders) upgrade(ctx context.Context, r resource) (int64, state, error) {
	l, there, err := f.mine(ctx, r)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	c, err := f.change(r.ID)
	switch {
	case err != nil:
		return 0, state{}, err
	case c == nil && there.Version == r.Version:
		return f.done(ctx, r, there)
	case c == nil:
		c = &change{To: r.Version}
		err = f.setChange(r.ID, c)
	case c.Back || c.To != r.Version:
		err = fail(exitNever, "%s is on its way to %s", r.ID, c.To)
	}
	if err != nil {
		return 0, state{}, err
	}
	if !c.Stopped {
		// One that was killed recovers itself first, on its own version: a newer one can't make up for it.
		if err := f.run(ctx, there); err != nil {
			return 0, state{}, err
		}
		if err := f.halt(ctx, r.ID); err != nil {
			return 0, state{}, err
		}
		c.Stopped = true
		if err := f.setChange(r.ID, c); err != nil {
			return 0, state{}, err
		}
	}
	if err := f.keep(ctx, r.ID, there.Version); err != nil {
		return 0, state{}, fmt.Errorf("copy the data: %w", err)
	}
	there.Version = r.Version
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+f.upgradeWith)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = f.dir(r.ID), append(os.Environ(), f.environment(there)...), os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return 0, state{}, fmt.Errorf("bring the data up to %s: %w", r.Version, err)
	}
	return f.done(ctx, r, there)
}

// restore puts the copy back, and starts the version that it is of.
func (f folders) restore(ctx context.Context, r resource) (int64, state, error) {
	l, there, err := f.mine(ctx, r)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	c, err := f.change(r.ID)
	if err != nil {
		return 0, state{}, err
	}
	kept, err := f.kept(r.ID)
	switch {
	case err != nil:
	case c != nil && c.Back && c.To == r.Version: // begun
	case kept == "" && there.Version == r.Version: // the new version has not touched the data
		return f.done(ctx, r, there)
	case kept != r.Version:
		err = fail(exitNever, "there is no copy of %s's data of %s; there is one of %q", r.ID, r.Version, kept)
	default:
		err = f.setChange(r.ID, &change{To: r.Version, Back: true})
	}
	if err != nil {
		return 0, state{}, err
	}
	if err := f.halt(ctx, r.ID); err != nil {
		return 0, state{}, err
	}
	if err := f.swap(r.ID, kept); err != nil {
		return 0, state{}, err
	}
	there.Version = r.Version
	return f.done(ctx, r, there)
}

// discard deletes the copy.
func (f folders) discard(ctx context.Context, r resource) (int64, state, error) {
	l, _, err := f.mine(ctx, r)
	if err != nil {
		return 0, state{}, err
	}
	defer l.Close()
	if c, err := f.change(r.ID); err != nil || c != nil {
		return 0, state{}, errors.Join(err, fmt.Errorf("%s is on its way to another version, and may need its copy", r.ID))
	}
	kept, err := f.kept(r.ID)
	if err == nil && kept != "" {
		err = os.RemoveAll(filepath.Join(f.dir(r.ID), copyPrefix+kept))
	}
	if err != nil {
		return 0, state{}, err
	}
	s, err := f.look(ctx, r.ID)
	return r.Term, s, err
}

// done writes down which version the node is of now, that nothing is under way any more, and starts it.
func (f folders) done(ctx context.Context, r, there resource) (int64, state, error) {
	b, err := json.Marshal(there)
	if err != nil {
		return 0, state{}, err
	}
	if err := replace(filepath.Join(f.dir(r.ID), resourceFile), string(b)); err != nil {
		return 0, state{}, err
	}
	if err := f.setChange(r.ID, nil); err != nil {
		return 0, state{}, err
	}
	if err := f.run(ctx, there); err != nil {
		return 0, state{}, err
	}
	s, err := f.look(ctx, r.ID)
	return r.Term, s, err
}

// halt stops the server.
func (f folders) halt(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	return process{f.dir(id)}.stop(ctx)
}

// keep copies the data of a stopped server, whole or not at all.
func (f folders) keep(ctx context.Context, id, version string) error {
	to := filepath.Join(f.dir(id), copyPrefix+version)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.RemoveAll(to + ".new"); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--reflink=auto", filepath.Join(f.dir(id), dataDir), to+".new").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return os.Rename(to+".new", to)
}

// swap puts the copy in the data's place. Killed in between, it goes on: the copy is there until it has become the data.
func (f folders) swap(id, kept string) error {
	data := filepath.Join(f.dir(id), dataDir)
	if kept != "" {
		if _, err := os.Stat(data); err == nil {
			if err := errors.Join(os.RemoveAll(data+".raised"), os.Rename(data, data+".raised")); err != nil {
				return err
			}
		}
		if err := os.Rename(filepath.Join(f.dir(id), copyPrefix+kept), data); err != nil {
			return err
		}
	}
	return os.RemoveAll(data + ".raised")
}
