package mysql

import "context"

// stride is one part of the switch: what it does, and the names of places inside it where a kill is interesting.
type stride struct {
	name   string
	do     func(r *run, ctx context.Context) error
	inside []string
}

// The order of the switch is the argument for its safety. Everything before the commit is undone on failure; everything after it
// only ever goes on.
//
//	tidy            what an earlier try left is put right; every node knows our term
//	pin             the new version's default collations are those of the old one, before any session is opened there
//	mark            a marked row arrives on the elect: replication works now
//	prepare         gateways log in on the elect and restore their sessions there (trap 21)
//	catch-up        the elect is close behind before anything is held
//	note            both servers know what they are about to be
//	hold            every gateway of every cell holds, nothing in flight, same term (traps 12, 14)
//	recheck         what may have changed since the preflight, and that enough of the hold is left (trap 10)
//	scheduler       the old primary's event scheduler is off (trap 5)
//	demote          the old primary is read-only: persisted, set, seen (traps 2, 3)
//	leftovers       strangers' connections to it are ended (trap 12)
//	position        where it stands
//	wait            the elect stands exactly there; the old primary has not moved
//	note-promotion  the elect knows that it has everything
//	stop            the elect does not replicate any more
//	promote         the elect is writable: set, seen, persisted — the commit
//	release         gateways open
//	note-primary    the new primary knows that it is
//	repoint         every other node replicates from it; the old one only if it has nothing of its own (trap 17)
//	events          the new primary's events are enabled, its scheduler runs if the old one's did (trap 5)
//	forget          it has no source; the last act, so that a source is what tells that the switch is not complete
//	observe         one writable node, in the target cell; every other replicates from it; gateways route there
var path = []stride{
	{"tidy", (*run).tidy, nil},
	{"pin", (*run).pin, nil},
	{"mark", (*run).markRow, nil},
	{"prepare", (*run).prepare, nil},
	{"catch-up", (*run).catchUp, nil},
	{"note", (*run).noteIntent, []string{"note-elect"}},
	{"hold", (*run).hold, nil},
	{"recheck", (*run).recheck, nil},
	{"scheduler", (*run).stopScheduler, nil},
	{"demote", (*run).demote, []string{"demote-persisted", "demote-set"}},
	{"leftovers", (*run).leftovers, nil},
	{"position", (*run).readPosition, nil},
	{"wait", (*run).waitForElect, nil},
	{"note-promotion", (*run).notePromotion, nil},
	{"stop", (*run).stopElect, nil},
	{"promote", (*run).promote, []string{"promote-set"}},
	{"release", (*run).release, nil},
	{"note-primary", (*run).notePrimary, nil},
	{"repoint", (*run).repoint, nil},
	{"events", (*run).events, nil},
	{"forget", (*run).forgetSource, nil},
	{"observe", (*run).observe, nil},
}

// back is the undo, while the elect is read-only for certain.
var back = []stride{
	{"undo-elect", (*run).undoElect, nil},
	{"undo-open", (*run).undoOpen, nil},
	{"undo-gateways", (*run).undoGateways, nil},
	{"undo-roles", (*run).undoRoles, nil},
	{"undo-replicate", (*run).undoReplicate, nil},
}

// The strides at which a run may begin, and the commit.
const (
	beginAt  = "tidy"
	resumeAt = "stop"    // none is writable, and the elect's standing says that it has everything
	commitAt = "promote" // the last stride that can be undone
	finishAt = "release" // the elect is writable
)

func index(name string) int {
	for i, s := range path {
		if s.name == name {
			return i
		}
	}
	panic("no stride is called " + name) // a constant of this file is wrong
}

// Points lists every name that Switch gives to switchover.Request.Point on its way, in order.
func Points() []string { return pointsOf(path) }

// UndoPoints lists those of the undo.
func UndoPoints() []string { return pointsOf(back) }

func pointsOf(strides []stride) []string {
	var out []string
	for _, s := range strides {
		out = append(out, s.inside...)
		out = append(out, "after-"+s.name)
	}
	return out
}
