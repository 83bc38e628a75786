package demo

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// RollingReport is what the demo of a rolling upgrade came to. It is written as JSON with --report.
type RollingReport struct {
	Database          string        `json:"database"` // build that it ran, such as "postgresql-15"
	From              string        `json:"from"`
	To                string        `json:"to"`
	Requests          int           `json:"requests"`
	Failed            int           `json:"failed"`
	Retried           int           `json:"retried"`       // requests that met a node which did not take them, and that HAProxy sent to another
	P99BeforeMS       float64       `json:"p99_ms_before"` // 99th percentile of the requests sent before the campaign was applied
	P99DuringMS       float64       `json:"p99_ms_during"` // and of those since
	JobsStarted       int           `json:"jobs_started"`  // acknowledged to a client
	JobsDone          int           `json:"jobs_done"`     // of them, those whose every step had effect once
	JobsAcross        int           `json:"jobs_started_old_finished_new"`
	JobsLost          int           `json:"jobs_lost"`
	JobsDoubled       int           `json:"jobs_doubled"`      // jobs with a step that had effect twice
	MinServingShare   float64       `json:"min_serving_share"` // of the nodes, when the fewest served, by the load balancer
	Looks             int           `json:"looks"`             // how often that was looked at
	FeaturesAfterLast bool          `json:"features_opened_after_last_node"`
	Early             string        `json:"early,omitempty"` // what was seen of a feature before the last node was there
	DurationS         float64       `json:"duration_s"`
	Nodes             []NodeOutcome `json:"nodes"`
	FirstFailures     []string      `json:"first_failures,omitempty"`
}

// NodeOutcome is one node at the end.
type NodeOutcome struct {
	Node    string `json:"node"`
	Zone    string `json:"zone"`
	Version string `json:"version"` // as it says itself; "" if it does not answer
	Serves  bool   `json:"serves"`
}

// Problems lists why the demo failed, empty if it did not.
func (r RollingReport) Problems() (bad []string) {
	add := func(wrong bool, format string, args ...any) {
		if wrong {
			bad = append(bad, fmt.Sprintf(format, args...))
		}
	}
	add(r.Failed > 0, "%d of %d requests failed, first %s", r.Failed, r.Requests, strings.Join(r.FirstFailures, "; "))
	add(r.Retried > 0, "%d requests met a node that was stopped before it was isolated, and were sent to another", r.Retried)
	add(r.Requests == 0 || r.JobsStarted == 0, "there was no load")
	add(r.JobsLost > 0 || r.JobsDone != r.JobsStarted, "%d jobs were acknowledged, %d are done, %d are lost", r.JobsStarted, r.JobsDone, r.JobsLost)
	add(r.JobsDoubled > 0, "%d jobs had a step done twice", r.JobsDoubled)
	add(r.JobsStarted > 0 && r.JobsAcross == 0, "no job was begun on %s and finished on %s: the load did not show what it is for", r.From, r.To)
	add(r.Looks == 0, "nobody looked how many nodes serve")
	add(r.MinServingShare*100 < leastServing, "only %.0f %% of the nodes served at some time, and %d %% have to", r.MinServingShare*100, leastServing)
	add(r.Early != "", "%s", r.Early)
	add(!r.FeaturesAfterLast && r.Early == "", "the new version's features are not open on every node")
	for _, n := range r.Nodes {
		add(!n.Serves || !fleet.HasVersion(n.Version, r.To), "%s runs %q, serves: %t", n.Node, n.Version, n.Serves)
	}
	add(len(r.Nodes) == 0, "no node was seen at the end")
	return bad
}

// Print writes the report for a person.
func (r RollingReport) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "\nNODE\tZONE\tVERSION\tSERVES")
	for _, n := range r.Nodes {
		serves := "yes"
		if !n.Serves {
			serves = "NO"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", n.Node, n.Zone, n.Version, serves)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	open := "opened after the last node was back"
	if !r.FeaturesAfterLast {
		open = "NOT opened as they have to be"
	}
	fmt.Fprintf(w, "\nThe clients sent %d requests in %s and saw %d fail; 99 %% were answered within %.0f ms before and %.0f ms during the upgrade.\n", r.Requests, time.Duration(r.DurationS*float64(time.Second)).Round(time.Second), r.Failed, r.P99BeforeMS, r.P99DuringMS)
	fmt.Fprintf(w, "Of %d acknowledged jobs %d are done, %d lost and %d doubled; %d were begun on %s and finished on %s.\n", r.JobsStarted, r.JobsDone, r.JobsLost, r.JobsDoubled, r.JobsAcross, r.From, r.To)
	fmt.Fprintf(w, "At least %.0f %% of the nodes served at any time; the features of %s were %s.\n", r.MinServingShare*100, r.To, open)
	return nil
}
