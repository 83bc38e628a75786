package demo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
)

// What would fail the demo at its end, or after the fleet was started, is said at once, and changes nothing that is there.
func TestTheDemoLooksBeforeItBegins(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kept := filepath.Join(dir, "report.json")
	if err := os.WriteFile(kept, []byte("an earlier one"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"":                               {Listen: "127.0.0.1:0", Report: kept},
		"can't be served on":             {Listen: l.Addr().String(), Report: kept},
		"can't be served on 127.0.0.1:x": {Listen: "127.0.0.1:x"},
		"report can't be written":        {Listen: "127.0.0.1:0", Report: filepath.Join(dir, "none", "report.json")},
	} {
		err := o.usable()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", o, err)
		}
		if want == "" {
			continue
		}
		o.Limit, o.Out, o.Dir = time.Minute, io.Discard, filepath.Join(dir, "d")
		if _, err := BlueGreen(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the demo: %v", o, err)
		}
	}
	if b, err := os.ReadFile(kept); err != nil || string(b) != "an earlier one" {
		t.Errorf("%q, %v", b, err)
	}
}

// Ctrl-C leaves nothing of a folder that nobody named; one that was named stays.
func TestAnInterruptedDemoLeavesNoFolder(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	gateway := filepath.Join(filepath.Dir(self), "windlass-gateway") // it is only looked for
	if err := os.WriteFile(gateway, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(gateway) })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	temp, named := t.TempDir(), filepath.Join(t.TempDir(), "d")
	t.Setenv("TMPDIR", temp)
	for _, dir := range []string{"", named} {
		if dir != "" {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := BlueGreen(ctx, Options{Listen: "127.0.0.1:0", Limit: time.Minute, Out: io.Discard, Dir: dir}); !errors.Is(err, context.Canceled) {
			t.Errorf("in %q: %v", dir, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(temp, "windlass-demo-*")); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := os.Stat(named); err != nil {
		t.Error(err)
	}
}

// A report that shows anything wrong makes the demo fail, and so does a way back that it was to show and did not come to.
func TestProblemsOfAReport(t *testing.T) {
	good := func() Report {
		return Report{Clusters: 2, Upgraded: 2, Client: Client{Queries: 100, AckedWrites: 40},
			Replay:     Replays{Clusters: 2, Verdicts: map[string]int{bluegreen.VerdictPass: 2}, Findings: len(oddQueries), Held: []string{oddCluster.String()}, Released: []string{oddCluster.String()}},
			RolledBack: &RolledBack{Cluster: "orders", Env: "prod", AckedOnNew: 9, FoundOnOld: 9, OldVersion: "10.11.18", ForwardedAgain: true},
			ByCluster:  []ClusterOutcome{{"orders", "qa", "tear-down", "11.8.6", true}, {"orders", "prod", "tear-down", "11.8.6", true}}}
	}
	if bad := good().Problems(); len(bad) > 0 {
		t.Errorf("nothing is wrong: %q", bad)
	}
	without := good()
	without.RolledBack = nil
	if bad := without.Problems(); len(bad) > 0 {
		t.Errorf("no way back was asked for: %q", bad)
	}
	for want, spoil := range map[string]func(*Report){
		"1 acknowledged writes were lost":      func(r *Report) { r.Client.LostWrites = 1 },
		"2 writes were doubled":                func(r *Report) { r.Client.DuplicateWrites = 2 },
		"1 statements failed":                  func(r *Report) { r.Client.Errors = 1 },
		"3 connections broke":                  func(r *Report) { r.Client.ForcedReconnects = 3 },
		"there was no load":                    func(r *Report) { r.Client.AckedWrites = 0 },
		"1 of 2 clusters were upgraded":        func(r *Report) { r.Upgraded = 1 },
		"0 of 0 clusters were upgraded":        func(r *Report) { r.Clusters, r.Upgraded, r.Replay.Clusters, r.Replay.Verdicts = 0, 0, 0, nil },
		"prod/orders did not arrive":           func(r *Report) { r.ByCluster[1].Arrived = false },
		"1 of 2 clusters had a replay":         func(r *Report) { r.Replay.Verdicts[bluegreen.VerdictPass] = 1 },
		"the replay held [] with":              func(r *Report) { r.Replay.Held = nil },
		"found 8 of 9 writes on 10.11.18":      func(r *Report) { r.RolledBack.FoundOnOld = 8 },
		"found 0 of 0 writes on 10.11.18":      func(r *Report) { r.RolledBack.FoundOnOld, r.RolledBack.AckedOnNew = 0, 0 },
		"forward again: false":                 func(r *Report) { r.RolledBack.ForwardedAgain = false },
		"prod/orders was to go back after its": func(r *Report) { r.RolledBack = &RolledBack{Cluster: "orders", Env: "prod"} },
	} {
		r := good()
		spoil(&r)
		if bad := r.Problems(); len(bad) != 1 || !strings.Contains(bad[0], want) {
			t.Errorf("want %q: %q", want, bad)
		}
		var out bytes.Buffer
		if err := r.Print(&out); err != nil || strings.Contains(out.String(), "went back to  after") || strings.Contains(out.String(), ";  was held") {
			t.Errorf("%s: %v\n%s", want, err, out.String())
		}
	}
}
