package engine

import (
	"fmt"

	"github.com/windlass-db/windlass/internal/strategy"
)

// Edge is a place where a kill is interesting: right before or right after a write to the journal, or a point inside an
// act. Faults are injected by edge, and fault matrices are made of Edges.
type Edge struct {
	Stage     string             `json:"stage"`
	Direction strategy.Direction `json:"direction"` // of the plan
	Undo      bool               `json:"undo"`      // the action has turned round
	Step      int                `json:"step"`      // -1: the action's own write
	Kind      strategy.Kind      `json:"kind,omitempty"`
	Write     Write              `json:"write,omitempty"`
	After     bool               `json:"after,omitempty"` // of the write; false: before it
	Point     string             `json:"point,omitempty"` // instead of a write: a name that the handler gave
}

// Write names a write to the journal.
type Write string

// The writes. Those of a step are named by the phase that they persist; a save persists a handler's status in the
// middle of an act, and a release gives the lease back while the step waits.
const (
	WriteIntent  Write = Write(Intent)
	WriteWaiting Write = Write(Waiting)
	WriteDone    Write = Write(Done)
	WriteUndoing Write = Write(Undoing)
	WriteUndone  Write = Write(Undone)
	WriteFailed  Write = Write(Failed)
	WriteSave    Write = "save"
	WriteRelease Write = "release"
	WriteTurn    Write = "turn"
	WriteFinish  Write = "finish"
)

// String is unique among the edges of a plan, such as "switch-storage/forward/1-switch-storage/intent/before" or
// "create/undo/0-provision-nodes/point/made".
func (e Edge) String() string {
	way := string(e.Direction)
	if e.Undo {
		way = "undo"
	}
	at := "action"
	if e.Step >= 0 {
		at = fmt.Sprintf("%d-%s", e.Step, e.Kind)
	}
	switch {
	case e.Point != "":
		return fmt.Sprintf("%s/%s/%s/point/%s", e.Stage, way, at, e.Point)
	case e.After:
		return fmt.Sprintf("%s/%s/%s/%s/after", e.Stage, way, at, e.Write)
	default:
		return fmt.Sprintf("%s/%s/%s/%s/before", e.Stage, way, at, e.Write)
	}
}

// Edges lists every edge of an action with this plan, those of turning round included where it can, in the order in
// which an action meets them.
func Edges(p strategy.Plan, hs Handlers) []Edge {
	var es []Edge
	write := func(undo bool, step int, w Write) {
		e := Edge{Stage: p.Stage, Direction: p.Direction, Undo: undo, Step: step, Write: w}
		if step >= 0 {
			e.Kind = p.Steps[step].Kind
		}
		after := e
		after.After = true
		es = append(es, e, after)
	}
	points := func(undo bool, step int, names []string) {
		for _, n := range names {
			es = append(es, Edge{Stage: p.Stage, Direction: p.Direction, Undo: undo, Step: step, Kind: p.Steps[step].Kind, Point: n})
		}
	}
	half := func(undo bool, step int, a Act, begun, ended Write, names []string, saves bool) {
		if a.Do != nil {
			write(undo, step, begun)
			points(undo, step, names)
			if saves {
				write(undo, step, WriteSave)
			}
		}
		if a.Observe != nil { // what has nothing to look at can't wait or fail
			if !undo {
				write(undo, step, WriteWaiting)
			}
			write(undo, step, WriteRelease)
			if undo || !turns(p) {
				write(undo, step, WriteFailed)
			}
		}
		write(undo, step, ended)
	}
	for i, s := range p.Steps {
		h := hs.of(s)
		if p.Direction == strategy.Back {
			half(false, i, h.Back, WriteIntent, WriteDone, h.BackPoints, h.BackSaves)
		} else {
			half(false, i, h.Forward, WriteIntent, WriteDone, h.Points, h.Saves)
		}
	}
	write(false, -1, WriteFinish)
	if !turns(p) {
		return es
	}
	write(false, -1, WriteTurn)
	for i := len(p.Steps) - 1; i >= 0; i-- {
		h := hs.of(p.Steps[i])
		undo := h.turnedRound(StepRecord{Phase: Intent})
		half(true, i, undo, WriteUndoing, WriteUndone, h.BackPoints, h.BackSaves)
	}
	write(true, -1, WriteFinish)
	return es
}

// turns tells whether an action with this plan can turn round. On the way back there is nothing to turn to, and past
// the point of no return there is no way back: such an action goes on, or waits for a person.
func turns(p strategy.Plan) bool {
	return p.Direction != strategy.Back && !p.PointOfNoReturn
}
