package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Report is what a demo came to. It is written as JSON with --report.
type Report struct {
	Clusters    int              `json:"clusters"`
	Upgraded    int              `json:"upgraded"`
	DurationS   float64          `json:"duration_s"`
	Client      Client           `json:"client"`
	Switchovers []Switchover     `json:"switchovers"`
	Replay      Replays          `json:"replay"`
	RolledBack  *RolledBack      `json:"rolled_back,omitempty"` // with --rollback-one; without an old version it did not come to it
	ByCluster   []ClusterOutcome `json:"by_cluster"`
}

// Client is what the load on all clusters noticed.
type Client struct {
	Queries          int64   `json:"queries"`
	Errors           int64   `json:"errors"`            // statements that failed
	ForcedReconnects int64   `json:"forced_reconnects"` // connections that broke; moving on because the name's answer changed is none
	AckedWrites      int64   `json:"acked_writes"`
	UnknownWrites    int64   `json:"unknown_writes"` // the reply was lost: written or not, both are right
	LostWrites       int64   `json:"lost_writes"`    // acknowledged, and not there at the end
	DuplicateWrites  int64   `json:"duplicate_writes"`
	LongestStallMS   float64 `json:"longest_stall_ms"` // from sending a statement to its reply
}

// Switchover is one storage or gateway switch.
type Switchover struct {
	Cluster string  `json:"cluster"`
	Env     string  `json:"env"`
	Kind    string  `json:"kind"` // "storage" or "gateway"
	From    string  `json:"from"`
	To      string  `json:"to"`
	HoldMS  float64 `json:"hold_ms"` // longest time that a gateway held, by its own clock; 0 for a gateway switch, which holds nothing
}

// RolledBack is the evidence of --rollback-one.
type RolledBack struct {
	Cluster        string `json:"cluster"`
	Env            string `json:"env"`
	AckedOnNew     int    `json:"acked_on_new"`    // writes acknowledged while the new version was the primary
	FoundOnOld     int    `json:"found_on_old"`    // of these, found on the old version after the rollback
	OldVersion     string `json:"old_version"`     // as the server that was asked says it
	ForwardedAgain bool   `json:"forwarded_again"` // the cluster arrived in the end
}

// ClusterOutcome is one cluster's line.
type ClusterOutcome struct {
	Cluster string `json:"cluster"`
	Env     string `json:"env"`
	Stage   string `json:"stage"`   // last stage completed
	Version string `json:"version"` // of the primary, as observed
	Arrived bool   `json:"arrived"`
}

// Problems lists why the demo failed, empty if it did not.
func (r Report) Problems() []string {
	var bad []string
	for _, c := range r.ByCluster {
		if !c.Arrived {
			bad = append(bad, fmt.Sprintf("%s/%s did not arrive: last stage completed is %q, its primary runs %q", c.Env, c.Cluster, c.Stage, c.Version))
		}
	}
	if r.Clusters == 0 || r.Upgraded != r.Clusters {
		bad = append(bad, fmt.Sprintf("%d of %d clusters were upgraded", r.Upgraded, r.Clusters))
	}
	bad = append(bad, r.Replay.problems(r.Clusters)...)
	for _, n := range []struct {
		n    int64
		what string
	}{{r.Client.LostWrites, "acknowledged writes were lost"}, {r.Client.DuplicateWrites, "writes were doubled"}, {r.Client.Errors, "statements failed"}, {r.Client.ForcedReconnects, "connections broke"}} {
		if n.n != 0 {
			bad = append(bad, fmt.Sprintf("%d %s", n.n, n.what))
		}
	}
	if r.Client.AckedWrites == 0 {
		bad = append(bad, "no write was acknowledged: there was no load")
	}
	if b := r.RolledBack; b != nil && b.OldVersion == "" {
		bad = append(bad, fmt.Sprintf("%s/%s was to go back after its storage switch, and did not", b.Env, b.Cluster))
	} else if b != nil && (b.AckedOnNew == 0 || b.FoundOnOld != b.AckedOnNew || !b.ForwardedAgain) {
		bad = append(bad, fmt.Sprintf("the rollback of %s/%s found %d of %d writes on %s, forward again: %t", b.Env, b.Cluster, b.FoundOnOld, b.AckedOnNew, b.OldVersion, b.ForwardedAgain))
	}
	return bad
}

// writeReport writes a report as indented JSON.
func writeReport(path string, report any) error {
	b, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// Print writes the report for a person.
func (r Report) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nCLUSTER\tVERSION\tLAST STAGE\tSTORAGE SWITCH HELD\tARRIVED")
	for _, c := range r.ByCluster {
		var held []string
		for _, s := range r.Switchovers {
			if s.Cluster == c.Cluster && s.Env == c.Env && s.Kind == "storage" {
				held = append(held, fmt.Sprintf("%.0f ms", s.HoldMS))
			}
		}
		arrived := "yes"
		if !c.Arrived {
			arrived = "NO"
		}
		fmt.Fprintf(tw, "%s/%s\t%s\t%s\t%s\t%s\n", c.Env, c.Cluster, fleet.ShortVersion(c.Version), c.Stage, strings.Join(held, ", "), arrived)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	c := r.Client
	fmt.Fprintf(w, "\n%d of %d clusters upgraded in %s.\n", r.Upgraded, r.Clusters, time.Duration(r.DurationS*float64(time.Second)).Round(time.Second))
	fmt.Fprintf(w, "The clients sent %d queries and saw %d errors and %d forced reconnects; the longest stall was %.0f ms.\n", c.Queries, c.Errors, c.ForcedReconnects, c.LongestStallMS)
	fmt.Fprintf(w, "Of %d acknowledged writes %d are lost and %d doubled; the reply to %d was lost.\n", c.AckedWrites, c.LostWrites, c.DuplicateWrites, c.UnknownWrites)
	fmt.Fprintf(w, "The queries of %d clusters were replayed on 11.8 before their storage switch", r.Replay.Clusters)
	if len(r.Replay.Held) > 0 {
		fmt.Fprintf(w, "; %s was held for %d that 11.8 answers otherwise, until a person judged them", strings.Join(r.Replay.Held, ", "), r.Replay.Findings)
	}
	fmt.Fprintln(w, ".")
	if b := r.RolledBack; b != nil && b.OldVersion != "" {
		fmt.Fprintf(w, "%s/%s went back to %s after its storage switch: %d of %d writes made on the new version were there. Then it went forward again.\n", b.Env, b.Cluster, fleet.ShortVersion(b.OldVersion), b.FoundOnOld, b.AckedOnNew)
	}
	return nil
}
