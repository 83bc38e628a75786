package supervisor

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/strategy"
)

// asked is a server that has no work, and notes for what it was asked.
type asked struct {
	Server
	mu    sync.Mutex
	kinds map[int]int // questions, by how many kinds they named
	both  bool        // one question named a replay and something else
	seen  chan struct{}
}

func (a *asked) Lease(_ context.Context, _ string, kinds []engine.KindVersion) (*engine.Assignment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	stage, _ := strategy.BlueGreen().Stage(strategy.StageReplay)
	ofReplay := 0
	for _, k := range kinds {
		if slices.ContainsFunc(stage.Steps, func(s strategy.Step) bool { return s.Kind == k.Kind }) {
			ofReplay++
		}
	}
	a.both = a.both || ofReplay > 0 && ofReplay < len(kinds)
	if a.kinds[ofReplay]++; len(a.kinds) == 2 && a.kinds[0] > 3 && a.kinds[len(stage.Steps)] > 1 {
		select {
		case a.seen <- struct{}{}:
		default:
		}
	}
	return nil, nil
}

// A replay takes days: it has places beside the slots, so that a switch never waits for one to end.
func TestReplaysHavePlacesOfTheirOwn(t *testing.T) {
	var list []engine.Handler
	for _, st := range strategy.BlueGreen().Stages {
		for _, step := range st.Steps {
			list = append(list, engine.Handler{Kind: step.Kind, Version: step.Version, Forward: engine.Act{Observe: func(context.Context, *engine.Call) (engine.Observation, error) { return engine.Observation{}, nil }}})
		}
	}
	hs, err := engine.NewHandlers(list...)
	if err != nil {
		t.Fatal(err)
	}
	others, replays := apart(hs.Kinds())
	if len(others)+len(replays) != len(list) || len(replays) != 5 {
		t.Fatalf("%d and %d of %d kinds", len(others), len(replays), len(list))
	}
	a := &asked{kinds: map[int]int{}, seen: make(chan struct{}, 1)}
	s := New(Config{Name: "qa-1", Env: "qa", Server: a, Handlers: hs, Log: slog.New(slog.DiscardHandler), Now: time.Now, Slots: 1, Poll: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { s.work(ctx, 0, others) })
	wg.Go(func() { s.workBeside(ctx, replays) })
	select {
	case <-a.seen:
	case <-time.After(30 * time.Second):
		t.Errorf("asked %v", a.kinds)
	}
	cancel()
	wg.Wait()
	if a.both {
		t.Error("a slot asked for replays, too")
	}
}
