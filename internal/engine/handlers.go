package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/strategy"
)

// ErrUnknownStep is returned for a plan with a step of a kind, or a version of it, that this release has no handler
// for. Nothing was touched: the action is left to a supervisor that knows it (trap 9).
var ErrUnknownStep = errors.New("this release does not know a step of the action")

// KindVersion names one meaning of one kind of step. A supervisor declares those that it knows when it asks for work, and
// is given no action with any other.
type KindVersion struct {
	Kind    strategy.Kind `json:"kind"`
	Version int           `json:"version"`
}

// String is "kind/v1".
func (k KindVersion) String() string { return fmt.Sprintf("%s/v%d", k.Kind, k.Version) }

// Handlers finds the handler of a step by its kind and version. It is not changed after NewHandlers.
type Handlers map[KindVersion]Handler

// NewHandlers makes the table. Two handlers for one kind and version, and one that can't look, are mistakes.
func NewHandlers(list ...Handler) (Handlers, error) {
	hs := make(Handlers, len(list))
	for _, h := range list {
		k := KindVersion{h.Kind, h.Version}
		if _, twice := hs[k]; twice {
			return nil, fmt.Errorf("two handlers for step %s", k)
		}
		if h.Forward.Observe == nil {
			return nil, fmt.Errorf("the handler for step %s can't observe", k)
		}
		if (h.Back.Observe == nil) != (h.Back.Do == nil) {
			return nil, fmt.Errorf("the handler for step %s has half a way back", k)
		}
		if (h.Release.Observe == nil) != (h.Release.Do == nil) {
			return nil, fmt.Errorf("the handler for step %s has half a release", k)
		}
		if h.Release.Observe != nil && (h.Back.Observe != nil || h.Forward.Do == nil) {
			return nil, fmt.Errorf("the handler for step %s has a release that never runs: its way back does that, or it only looks", k)
		}
		hs[k] = h
	}
	return hs, nil
}

// Kinds lists what the handlers know, sorted.
func (hs Handlers) Kinds() []KindVersion {
	ks := make([]KindVersion, 0, len(hs))
	for k := range hs {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, func(a, b KindVersion) int {
		if c := strings.Compare(string(a.Kind), string(b.Kind)); c != 0 {
			return c
		}
		return a.Version - b.Version
	})
	return ks
}

// Knows tells whether every step of the plan has a handler; if not, the error wraps ErrUnknownStep and names them.
func (hs Handlers) Knows(p strategy.Plan) error {
	var missing []string
	for _, s := range p.Steps {
		if k := (KindVersion{s.Kind, s.Version}); !hs.has(k) {
			missing = append(missing, k.String())
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("stage %s: %w: %s; a supervisor of another release has to take it", p.Stage, ErrUnknownStep, strings.Join(missing, ", "))
	}
	return nil
}

func (hs Handlers) has(k KindVersion) bool { _, ok := hs[k]; return ok }

func (hs Handlers) of(s strategy.Step) Handler { return hs[KindVersion{s.Kind, s.Version}] }

// turnedRound is what is done with a step that the journal has so when the action has turned round: it is undone, or, if it was broken off
// and has no way back, it lets go of what it holds. A row that is being undone already was broken off: what was done and has no
// way back is undone at once.
func (h Handler) turnedRound(rec StepRecord) Act {
	if h.Back.Observe != nil || rec.Phase == Done || rec.Unbegun {
		return h.Back
	}
	return h.Release
}
