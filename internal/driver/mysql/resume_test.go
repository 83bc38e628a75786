package mysql

import (
	"errors"
	"slices"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// as is a node as decide sees it: writable or not, and what its standing says under which term of which switch.
type as struct {
	writable bool
	role     string
	term     int64
	id       string
	lost     bool
}

func sceneOf(blue, green as) *scene {
	sc := &scene{cluster: fleet.Cluster{Name: "orders", Env: "qa"}}
	for i, n := range []as{blue, green} {
		cell := []string{"blue", "green"}[i]
		v := &view{place: place{cell, fleet.Node{Name: cell + "-1", Address: cell + ":1"}}, readOnly: !n.writable}
		if n.role != "" {
			v.standing = &standing{Role: n.role, Term: n.term, Switch: n.id}
		}
		if n.lost {
			v.err = errTest
		}
		sc.views = append(sc.views, v)
	}
	return sc
}

// Every state that a kill can leave, and some that only people make. The switch goes from blue to green.
func TestDecide(t *testing.T) {
	up := func(role string, term int64, id string) as { return as{writable: true, role: role, term: term, id: id} }
	ro := func(role string, term int64, id string) as { return as{role: role, term: term, id: id} }
	for _, c := range []struct {
		name        string
		blue, green as
		want        outset
		node        string
		err         error
	}{
		{"never switched", as{writable: true}, as{}, fromBegin, "blue", nil},
		{"killed before the demotion", up(isDemoting, 4, "s"), ro(isReplica, 4, "s"), fromBegin, "blue", nil},
		{"killed after the demotion", ro(isDemoting, 4, "s"), ro(isReplica, 4, "s"), fromReopen, "blue", nil},
		{"killed after the promotion was noted", ro(isDemoting, 4, "s"), ro(isPromoting, 4, "s"), fromPromote, "green", nil},
		{"killed after the promotion", ro(isDemoting, 4, "s"), up(isPromoting, 4, "s"), fromFinish, "green", nil},
		{"promoted, then restarted before it was noted", ro(isDemoting, 4, "s"), ro(isPromoting, 4, "s"), fromPromote, "green", nil},
		{"promoted and noted, then restarted, the old one not repointed", ro(isDemoting, 4, "s"), ro(isPrimary, 4, "s"), fromReopen, "green", nil},
		{"done, then the new primary restarted", ro(isReplica, 4, "s"), ro(isPrimary, 4, "s"), fromReopen, "green", nil},
		{"done", ro(isReplica, 4, "s"), up(isPrimary, 4, "s"), fromFinish, "green", nil},
		{"done, the old one is down", as{lost: true}, up(isPrimary, 4, "s"), fromFinish, "green", nil},
		{"undone, then the old primary restarted; the elect still says promoting", ro(isPrimary, 4, "s"), ro(isPromoting, 4, "s"), fromReopen, "blue", nil},
		{"undone by a later run", ro(isPrimary, 5, "s"), ro(isPromoting, 4, "s"), fromReopen, "blue", nil},
		{"the primary restarted before any switch of ours is known", ro("", 0, ""), ro("", 0, ""), "", "", ErrContested},
		{"two are writable", up(isPrimary, 4, "s"), up(isReplica, 4, "s"), "", "", ErrContested},
		{"two are writable, whatever the standings say", up(isDemoting, 4, "s"), up(isPromoting, 4, "s"), "", "", ErrContested},
		{"the primary can't be read", as{lost: true}, as{}, "", "", ErrUnknown},
		{"the primary can't be read, and a stray node is writable", as{lost: true}, as{writable: true}, "", "", ErrUnknown},
		{"the elect can't be read", as{writable: true}, as{lost: true}, "", "", ErrUnknown},
		{"demoted, and the elect can't be read", ro(isDemoting, 4, "s"), as{lost: true}, "", "", ErrUnknown},
		{"back again: green is demoting", ro(isReplica, 6, "b"), ro(isDemoting, 6, "b"), fromReopen, "green", nil},
		{"back again: blue is promoting", ro(isPromoting, 6, "b"), ro(isDemoting, 6, "b"), fromPromote, "blue", nil},
		{"an old note of the elect does not count", ro(isDemoting, 6, "b"), ro(isPrimary, 4, "a"), fromReopen, "blue", nil},
		{"two notes of primaries under one term", ro(isPrimary, 4, "a"), ro(isPrimary, 4, "b"), "", "", ErrContested},
	} {
		got, v, err := sceneOf(c.blue, c.green).decide(target{cell: "green"})
		node := ""
		if v != nil {
			node = v.cell
		}
		if got != c.want || node != c.node || !errors.Is(err, c.err) {
			t.Errorf("%s: %s of %q, %v; want %s of %q, %v", c.name, got, node, err, c.want, c.node, c.err)
		}
	}
}

func TestPathNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range slices.Concat(Points(), UndoPoints()) {
		if seen[p] {
			t.Errorf("%s is there twice", p)
		}
		seen[p] = true
	}
	for _, name := range []string{beginAt, resumeAt, commitAt, finishAt} {
		index(name)
	}
	if index(finishAt) != index(commitAt)+1 {
		t.Error("the finish begins right after the commit")
	}
}

// Trap 2: a primary that no switch has made yet is restarted, and boots read-only. It is opened again, for it was written down
// when replication to the new cell began.
func TestPrimaryRestartedBeforeTheFirstSwitch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	w.term++
	if err := w.d.Fence(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	if err := w.d.Replicate(bg(t), w.c, "green", w.term); err != nil {
		t.Fatal(err)
	}
	blue := w.servers["blue-1"]
	kill(t, blue)
	if err := blue.Start(bg(t)); err != nil {
		t.Fatal(err)
	}
	if err := w.d.Reopen(bg(t), w.c, w.term); err != nil {
		t.Fatal(err)
	}
	w.mustBe(t, "blue")
}
