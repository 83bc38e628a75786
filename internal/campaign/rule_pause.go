package campaign

import (
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// paused appends a reason for every pause over the cluster's next stage. A pause holds from the moment when it is
// stored, whatever the clock of the one who set it said.
func (t *tick) paused(c *candidate, at time.Time, to []Reason) []Reason {
	for _, list := range [2][]Pause{t.pauses.general, t.pauses.cluster[c.Ref.Name]} {
		for i := range list {
			p := &list[i]
			if !p.Covers(c.Ref, c.name, at) {
				continue
			}
			release := "a person resumes " + p.what()
			if !p.Until.IsZero() {
				release = "the pause ends by itself, or " + release
			}
			to = append(to, Reason{Code: CodePaused, Message: p.what() + " is paused by " + p.Who + ": " + p.Why, Release: release, Until: p.Until})
		}
	}
	return to
}

// Covers tells whether the pause holds a stage of the cluster at that time.
func (p *Pause) Covers(ref fleet.ClusterRef, stage string, at time.Time) bool {
	return inScope(p.Env, p.Cluster, p.Stage, ref, stage) && (p.Until.IsZero() || at.Before(p.Until))
}

// what names the pause's scope.
func (p *Pause) what() string {
	var parts []string
	if p.Stage != "" {
		parts = append(parts, "stage "+p.Stage)
	}
	switch {
	case p.Cluster != "" && p.Env != "":
		parts = append(parts, "cluster "+p.Env+"/"+p.Cluster)
	case p.Cluster != "":
		parts = append(parts, "cluster "+p.Cluster)
	case p.Env != "":
		parts = append(parts, "environment "+p.Env)
	}
	if len(parts) == 0 {
		return "the campaign"
	}
	return strings.Join(parts, " of ")
}
