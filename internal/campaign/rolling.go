package campaign

import "time"

// Rolling holds the settings of the rolling strategy.
type Rolling struct {
	Group         string        `json:"group"`          // nodes that are out at once: "33%" or "2"
	LeastServing  int           `json:"least_serving"`  // percent of the nodes that serve at any time
	DrainWithin   time.Duration `json:"drain_within"`   // how long requests on a node get to end before they are cut off
	HealthyWithin time.Duration `json:"healthy_within"` // how long a started node gets to be healthy
	SlowStart     time.Duration `json:"slow_start"`     // from the first request to the full share of them
	Watch         time.Duration `json:"watch"`          // how long a group has to serve well before the next
}

// DefaultRolling are the settings of a campaign that says nothing.
func DefaultRolling() Rolling {
	return Rolling{Group: "33%", LeastServing: 60, DrainWithin: time.Minute, HealthyWithin: 5 * time.Minute, SlowStart: 30 * time.Second, Watch: 2 * time.Minute}
}
