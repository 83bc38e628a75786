package server

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/strategy"
)

// The report of a replay has a page, and the same JSON as windlass replay writes; before there is one both say so.
func TestReplayPage(t *testing.T) {
	f := start(t, true)
	fl, c := demoFleet(), demoCampaign()
	c.Order = "none"
	if _, err := f.client("operator").Apply(ctx, api.ApplyRequest{Fleet: &fl, Campaign: &c}); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	for _, path := range []string{"/clusters/qa/a/replay", "/v1/clusters/qa/a/replay", "/v1/clusters/qa/nothing/replay"} {
		if code, _ := get(path); code != http.StatusNotFound {
			t.Errorf("%s of a cluster without a replay: %d", path, code)
		}
	}
	qa := f.client("qa").Agent("qa")
	ref := fleet.ClusterRef{Env: "qa", Name: "a"}
	for {
		if _, err := f.client("operator").Launch(ctx, "c"); err != nil {
			t.Fatal(err)
		}
		a, err := qa.Lease(ctx, "qa-1", kinds())
		if err != nil || a == nil {
			t.Fatal(a, err)
		}
		if a.Cluster.Ref() != ref || a.Plan.Stage != strategy.StageReplay {
			if err := qa.Finish(ctx, a.ActionID, a.Term, engine.Completed, ""); err != nil {
				t.Fatal(err)
			}
			continue
		}
		status := json.RawMessage(`{"judged": {"verdict": "fail", "enough": true, "message": "1 finding", "checks": [], "report": {"verdict": "fail", "captured": 12, "replayed": 10, "findings": [
			{"id": "f-0badcafe", "fingerprint": "5f0c7e2a91d3b846", "kind": "content", "level": "fail", "what": "other rows", "text": "select from_unixtime(?)", "example": "SELECT FROM_UNIXTIME(4000000000)", "count": 7}]}}}`)
		for i, step := range a.Plan.Steps {
			if step.Kind != strategy.JudgeReplay {
				continue
			}
			if _, err := qa.Record(ctx, a.ActionID, a.Term, engine.StepRecord{Index: i, Kind: step.Kind, Phase: engine.Waiting, Held: true, Message: "the verdict is fail: 1 finding <b>", Status: status,
				Checks: check.Results{{Name: "replay-verdict", Verdict: check.Fail, Detail: "1 finding"}}}); err != nil {
				t.Fatal(err)
			}
		}
		break
	}
	code, page := get("/clusters/qa/a/replay")
	for _, want := range []string{"It holds the storage switch", "1 finding &lt;b&gt;", "SELECT FROM_UNIXTIME(4000000000)", "5f0c7e2a91d3b846", "/assets/replay.css", "/assets/replay.js", "replay-verdict"} {
		if code != http.StatusOK || !strings.Contains(page, want) {
			t.Errorf("%d: the page has no %q", code, want)
		}
	}
	if code, page := get("/clusters/qa/a"); code != http.StatusOK || !strings.Contains(page, `href="/clusters/qa/a/replay"`) {
		t.Errorf("%d: the cluster's page has no link to the report", code)
	}
	for _, path := range []string{"/assets/replay.css", "/assets/replay.js"} {
		if code, text := get(path); code != http.StatusOK || len(text) < 100 {
			t.Errorf("%s: %d, %d bytes", path, code, len(text))
		}
	}
	if code, text := get("/v1/clusters/qa/a/replay"); code != http.StatusOK || !strings.Contains(text, `"verdict":"fail"`) || !strings.Contains(text, "f-0badcafe") {
		t.Errorf("%d: %s", code, text)
	}
}
