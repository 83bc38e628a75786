package bluegreen

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// killed is a cell that a killed copy has left as it was in the moment of its snapshot.
type killed struct {
	calls   []string
	stopped bool
	failed  error
}

type killedStorage struct {
	Storage
	*killed
}

func (k killedStorage) Fence(_ context.Context, c fleet.Cluster, _ int64) error { return k.fence(c) }

type killedProvisioner struct {
	Provisioner
	*killed
}

func (k killedProvisioner) Observe(_ context.Context, r Resource) (ResourceState, error) {
	if slices.Contains(k.calls, "delete") {
		return ResourceState{}, nil
	}
	return ResourceState{Exists: true, Mark: r.Mark, Node: &fleet.Node{Address: "127.0.0.1:1"}}, nil
}

func (k killedProvisioner) Delete(context.Context, Resource) error {
	k.calls = append(k.calls, "delete")
	return nil
}

func (k *killed) fence(c fleet.Cluster) error {
	if len(c.Cells) != 1 || c.Cells[0].Name != "blue" {
		return errors.New("the new cell may not answer")
	}
	k.calls = append(k.calls, "fence")
	return nil
}

func (k *killed) Resumed(_ context.Context, _ SeedRequest, status json.RawMessage) (bool, error) {
	return string(status) != `"blue-2"` || !k.stopped, k.failed
}

func (k *killed) Resume(_ context.Context, _ SeedRequest, status json.RawMessage) error {
	k.calls, k.stopped = append(k.calls, "resume "+string(status)), false
	return nil
}

// TestUndoStartsWhatAKilledCopyStopped: the action turns round before anybody goes on with the copy. trap 33, trap 35
func TestUndoStartsWhatAKilledCopyStopped(t *testing.T) {
	for name, x := range map[string]struct {
		status string
		failed error
		there  bool
		want   []string
	}{
		"killed":              {`{"nodes":{"qa-orders-green-1":"blue-2"}}`, nil, true, []string{"fence", `resume "blue-2"`, "delete"}},
		"nothing was stopped": {`{"nodes":{"qa-orders-green-1":{}}}`, nil, true, []string{"delete"}},
		"no copy had begun":   {``, nil, true, []string{"delete"}},
		"unknown holds":       {`{"nodes":{"qa-orders-green-1":"blue-2"}}`, errors.New("it does not answer"), false, nil},
	} {
		k := &killed{stopped: true, failed: x.failed}
		var undo engine.Act
		for _, h := range Handlers(Ports{Provisioner: killedProvisioner{killed: k}, Storage: killedStorage{killed: k}}) {
			if h.Kind == strategy.ProvisionNodes {
				undo = h.Back
			}
		}
		c := &engine.Call{Point: func(string) {}}
		c.Campaign.Name, c.Campaign.FromCell, c.Campaign.ToCell, c.Campaign.To, c.Campaign.Nodes = "raise", "blue", "green", "9.7", 1
		c.Cluster = fleet.Cluster{Env: "qa", Name: "orders", Product: "mysql", Cells: []fleet.Cell{{Name: "blue", Nodes: []fleet.Node{{Name: "blue-1"}, {Name: "blue-2"}}}}}
		c.Steps = []engine.StepRecord{{Kind: strategy.ProvisionNodes, Phase: engine.Done}, {Kind: strategy.SeedNodes, Phase: engine.Undone, Status: json.RawMessage(x.status)}}
		if o, err := undo.Observe(t.Context(), c); o.There || (err != nil) != (x.failed != nil) {
			t.Errorf("%s: before the undo: %+v, %v", name, o, err)
		}
		_, err := undo.Do(t.Context(), c)
		if (err == nil) != x.there || !errors.Is(err, x.failed) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(k.calls, x.want) {
			t.Errorf("%s: %q", name, k.calls)
		}
		if o, err := undo.Observe(t.Context(), c); o.There != x.there || (err == nil) != x.there {
			t.Errorf("%s: after the undo: %+v, %v", name, o, err)
		}
	}
}
