// Package drivertest holds what every driver of a kind must pass, whatever it is made of.
package drivertest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/engine"
)

// Provisioner takes one resource forward, back and forward again. Open gives a provisioner that remembers nothing
// of earlier ones, as after a restart; kill ends the resource's own process, as a power cut would. The resource's term is where
// the terms begin; its version must be a prefix of the full one.
func Provisioner(t *testing.T, open func(t *testing.T) bluegreen.Provisioner, r bluegreen.Resource, kill func(t *testing.T)) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	s := suite{t, ctx, open, r}
	t.Cleanup(func() { s.remove(1000) })

	s.gone()
	made := s.createAtOnce(r.Term + 5)
	s.there(made)
	for _, term := range []int64{5, 6} { // the same holder again, and a successor that finds it (trap 34)
		if again := s.create(r.Term + term); addresses(again) != addresses(made) {
			t.Errorf("created again with the term +%d: %s, at first %s", term, addresses(again), addresses(made))
		}
	}

	// What has died is there and does not run; create starts it again, with what it holds.
	kill(t)
	if st, err := s.open(t).Observe(ctx, s.with(0)); err != nil || !st.Exists || st.Running || st.Mark != r.Mark {
		t.Errorf("killed: %+v, %v", st, err)
	}
	if again := s.create(r.Term + 6); addresses(again) != addresses(made) {
		t.Errorf("started again: %s, at first %s", addresses(again), addresses(made))
	}
	s.there(made)

	// Whoever has been replaced changes nothing (trap 1).
	s.refused("create with a lower term", engine.ErrFenced, func(p bluegreen.Provisioner) error { return second(p.Create(ctx, s.with(5))) })
	s.refused("delete with a lower term", engine.ErrFenced, func(p bluegreen.Provisioner) error { return p.Delete(ctx, s.with(5)) })
	s.there(made)

	// What is not ours is not touched (trap 36).
	other := s.with(7)
	other.Mark = "somebody else"
	s.refused("create with another mark", nil, func(p bluegreen.Provisioner) error { return second(p.Create(ctx, other)) })
	s.refused("delete with another mark", nil, func(p bluegreen.Provisioner) error { return p.Delete(ctx, other) })
	none := s.with(7)
	none.Mark = ""
	s.refused("create without a mark", nil, func(p bluegreen.Provisioner) error { return second(p.Create(ctx, none)) })
	s.refused("delete without a mark", nil, func(p bluegreen.Provisioner) error { return p.Delete(ctx, none) })
	if r.Kind == "node" { // a gateway holds no data
		newer := s.with(7)
		newer.Version = "99.9"
		s.refused("create of another version over it", nil, func(p bluegreen.Provisioner) error { return second(p.Create(ctx, newer)) })
	}
	s.there(made)

	// Back, and again; the term outlives what it protected.
	s.remove(8)
	s.gone()
	s.remove(8)
	s.refused("create with a lower term, after the delete", engine.ErrFenced, func(p bluegreen.Provisioner) error { return second(p.Create(ctx, s.with(7))) })
	s.gone()
	s.there(s.create(r.Term + 9))
	s.remove(9)
	s.gone()
}

type suite struct {
	t    *testing.T
	ctx  context.Context
	open func(t *testing.T) bluegreen.Provisioner
	r    bluegreen.Resource
}

func (s suite) with(term int64) bluegreen.Resource {
	r := s.r
	r.Term += term
	return r
}

func second(_ bluegreen.ResourceState, err error) error { return err }

func addresses(st bluegreen.ResourceState) string {
	switch {
	case st.Node != nil:
		return st.Node.Address
	case st.Gateway != nil:
		return st.Gateway.Address + " " + st.Gateway.ReadOnly + " " + st.Gateway.Admin
	}
	return ""
}

func (s suite) create(term int64) bluegreen.ResourceState {
	s.t.Helper()
	r := s.r
	r.Term = term
	st, err := s.open(s.t).Create(s.ctx, r)
	if err != nil {
		s.t.Fatalf("create: %v", err)
	}
	if !st.Exists || !st.Running || st.Mark != r.Mark || addresses(st) == "" || !strings.HasPrefix(st.Version, r.Version) {
		s.t.Fatalf("created: %+v", st)
	}
	if name := nameOf(st); name != r.ID {
		s.t.Errorf("it is called %q, not by its id", name)
	}
	return st
}

// createAtOnce is called by several at the same time: one makes it, the others find it.
func (s suite) createAtOnce(term int64) bluegreen.ResourceState {
	s.t.Helper()
	r := s.r
	r.Term = term
	states, errs := make([]bluegreen.ResourceState, 3), make([]error, 3)
	var all sync.WaitGroup
	for i := range states {
		p := s.open(s.t)
		all.Go(func() { states[i], errs[i] = p.Create(s.ctx, r) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		s.t.Fatalf("create at the same time: %v", err)
	}
	for _, st := range states[1:] {
		if addresses(st) != addresses(states[0]) {
			s.t.Errorf("two were made: %s and %s", addresses(states[0]), addresses(st))
		}
	}
	return s.create(term)
}

func nameOf(st bluegreen.ResourceState) string {
	if st.Node != nil {
		return st.Node.Name
	}
	return st.Gateway.Name
}

// there sees it run, as it was made.
func (s suite) there(made bluegreen.ResourceState) {
	s.t.Helper()
	st, err := s.open(s.t).Observe(s.ctx, s.with(0)) // looking needs no term
	if err != nil || !st.Exists || !st.Running || st.Mark != s.r.Mark || addresses(st) != addresses(made) || st.Version != made.Version {
		s.t.Fatalf("observed: %+v, %v; it was made as %+v", st, err, made)
	}
}

func (s suite) gone() {
	s.t.Helper()
	if st, err := s.open(s.t).Observe(s.ctx, s.with(0)); err != nil || st.Exists || st.Running {
		s.t.Fatalf("observed: %+v, %v; nothing should be there", st, err)
	}
}

func (s suite) remove(term int64) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), time.Minute)
	defer cancel()
	if err := s.open(s.t).Delete(ctx, s.with(term)); err != nil {
		s.t.Fatalf("delete: %v", err)
	}
}

// refused sees that a call fails, as that error if one is given.
func (s suite) refused(what string, as error, call func(bluegreen.Provisioner) error) {
	s.t.Helper()
	err := call(s.open(s.t))
	if err == nil || (as != nil && !errors.Is(err, as)) {
		s.t.Errorf("%s: %v", what, err)
	}
	if as == nil && errors.Is(err, engine.ErrFenced) {
		s.t.Errorf("%s looks like a higher term: %v", what, err)
	}
}
