package engine_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
)

func TestAnswers(t *testing.T) {
	var r *engine.Refusal
	if err := engine.Refuse("node %d: %w", 1, io.EOF); !errors.As(err, &r) || !errors.Is(err, io.EOF) || err.Error() != "node 1: EOF" {
		t.Errorf("a refusal: %v", err)
	}
	passed := check.Results{check.Passed("a", "it is", time.Time{})}
	if o := engine.Judged(passed, "all %d pass", 1); !o.There || o.Message != "all 1 pass" || len(o.Checks) != 1 {
		t.Errorf("what passes: %+v", o)
	}
	for name, cs := range map[string]check.Results{"one that holds": append(passed, check.Failed("b", "it is not", "", time.Time{})), "none": nil} {
		if o := engine.Judged(cs, "all pass"); o.There || o.Message != "" {
			t.Errorf("%s: %+v", name, o)
		}
	}
}

func TestStatusOf(t *testing.T) {
	type status struct {
		Out []string `json:"out,omitempty"`
	}
	for name, c := range map[string]struct {
		kept json.RawMessage
		want int
		bad  bool
	}{
		"what was kept": {engine.Status(status{Out: []string{"a", "b"}}), 2, false},
		"nothing kept":  {nil, 0, false},
		"unreadable":    {json.RawMessage(`{"out":`), 0, true},
		"of another":    {json.RawMessage(`["out"]`), 0, true},
	} {
		st, err := engine.StatusOf[status](&engine.Call{Status: c.kept})
		if (err != nil) != c.bad || len(st.Out) != c.want {
			t.Errorf("%s: %v, %v", name, st, err)
		}
	}
}
