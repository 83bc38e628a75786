package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/judge"
	"github.com/windlass-db/windlass/internal/strategy"
)

// oddCluster is the one whose application asks what 10.11 and 11.8 answer otherwise: it is held until a person has judged that.
var oddCluster = fleet.ClusterRef{Env: "prod", Name: "billing"}

// oddQueries are what it asks. A time after 2038 is NULL in 10.11 and a date in 11.8, and base 62 is unknown to 10.11.
var oddQueries = []string{"SELECT FROM_UNIXTIME(4000000000)", "SELECT CONV(255, 10, 62)"}

// finding is what the demo shows of a finding in a replay's report.
type finding struct {
	fingerprint string
	kind        string
	example     string
	count       int64
}

func findingsOf(r *bluegreen.Replayed) ([]finding, error) {
	var report judge.Report
	if r == nil || len(r.Report) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(r.Report, &report); err != nil {
		return nil, fmt.Errorf("read a replay's report: %w", err)
	}
	var all []finding
	for _, f := range report.Findings {
		if f.Counts() {
			all = append(all, finding{f.Fingerprint.String(), string(f.Kind), f.Example, f.Count})
		}
	}
	return all, nil
}

// held is the story of the cluster that a replay holds: what was found is shown, and then a person's rules release it.
type held struct {
	place    *place
	client   *api.Client
	out      io.Writer
	rep      *Report
	page     string // base URL of the dashboard
	shown    bool
	released bool
	findings []finding
}

func (h *held) step(ctx context.Context, s api.CampaignStatus) error {
	if h.released {
		return nil
	}
	for _, d := range s.Decisions {
		if d.Hold == nil || d.Hold.Reasons[0].Code != campaign.CodeReplay {
			continue
		}
		if h.shown {
			return h.rule(ctx, d.Ref)
		}
		return h.show(ctx, d)
	}
	return nil
}

// show tells what a person would see.
func (h *held) show(ctx context.Context, d campaign.Decision) error {
	one, err := lastReplay(ctx, h.client, d.Ref)
	if err != nil || one == nil {
		return err
	}
	if h.findings, err = findingsOf(one); err != nil || len(h.findings) == 0 {
		return err
	}
	fmt.Fprintf(h.out, "  %s is HELD before its storage switch: %s\n", d.Ref, strings.SplitN(one.Message, "\n", 2)[0])
	for _, f := range h.findings {
		fmt.Fprintf(h.out, "      %s  %s  ×%d  %s\n", f.fingerprint, f.kind, f.count, f.example)
	}
	fmt.Fprintf(h.out, "      windlass why %s, or %s/clusters/%s/replay\n", d.Ref, h.page, d.Ref)
	h.shown = true
	h.rep.Replay.Held, h.rep.Replay.Findings = append(h.rep.Replay.Held, d.Ref.String()), len(h.findings)
	return nil
}

// rule applies the campaign again with a rule for each finding, as a person would who has judged them.
func (h *held) rule(ctx context.Context, ref fleet.ClusterRef) error {
	var b strings.Builder
	b.WriteString("  ignore:\n")
	for _, f := range h.findings {
		fmt.Fprintf(&b, "    - {fingerprint: %q, kinds: [%s], by: demo, reason: the answer of 11.8 is the right one}\n", f.fingerprint, f.kind)
	}
	file := filepath.Join(h.place.dir, "campaign.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(campaignYAML, replayMark, replayMark+b.String(), 1)), 0o600); err != nil {
		return err
	}
	if _, err := applyFiles(ctx, h.client, file); err != nil {
		return fmt.Errorf("release %s: %w", ref, err)
	}
	h.released = true
	h.rep.Replay.Released = append(h.rep.Replay.Released, ref.String())
	fmt.Fprintf(h.out, "  %s: a rule with a reason is applied for each finding; it is judged again, and nothing is replayed anew.\n", ref)
	return nil
}

// lastReplay is what the newest replay of a cluster came to; nil if there is none.
func lastReplay(ctx context.Context, client *api.Client, ref fleet.ClusterRef) (*bluegreen.Replayed, error) {
	cs, err := client.Cluster(ctx, ref)
	if err != nil {
		return nil, nil // the server may be away for a moment
	}
	for _, a := range cs.Actions {
		if a.Stage != strategy.StageReplay || a.Direction != string(strategy.Forward) {
			continue
		}
		if one, err := bluegreen.LastReplayed(a.Steps); err != nil || one != nil {
			return one, err
		}
	}
	return nil, nil
}

// Replays are the figures of the replays of all clusters.
type Replays struct {
	Clusters int            `json:"clusters"` // whose queries were replayed
	Verdicts map[string]int `json:"verdicts"` // by the last verdict
	Findings int            `json:"findings"` // that held a cluster, all in all
	Held     []string       `json:"held"`     // clusters that were held for them
	Released []string       `json:"released"` // and by a rule went on
}

// gather reads what became of each cluster's replay.
func (r *Replays) gather(ctx context.Context, client *api.Client, clusters []*cluster) error {
	r.Verdicts = map[string]int{}
	for _, c := range clusters {
		one, err := lastReplay(ctx, client, c.Ref())
		if err != nil {
			return err
		}
		if one != nil {
			r.Clusters++
			r.Verdicts[one.Verdict]++
		}
	}
	return nil
}

// problems lists what is wrong with them.
func (r Replays) problems(clusters int) (bad []string) {
	if r.Clusters != clusters || r.Verdicts[bluegreen.VerdictPass] != clusters {
		bad = append(bad, fmt.Sprintf("%d of %d clusters had a replay whose verdict passed", r.Verdicts[bluegreen.VerdictPass], clusters))
	}
	if want := []string{oddCluster.String()}; !slices.Equal(r.Held, want) || !slices.Equal(r.Released, want) || r.Findings != len(oddQueries) {
		bad = append(bad, fmt.Sprintf("the replay held %v with %d findings, and %v were released; it had to be %v with %d", r.Held, r.Findings, r.Released, want, len(oddQueries)))
	}
	return bad
}
