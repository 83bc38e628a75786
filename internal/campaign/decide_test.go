package campaign

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/fleet"
)

// wednesday is ten in the morning, UTC.
var wednesday = time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)

// plain is a campaign in which no rule holds anything: any time of any day, no soaks, no budgets, no limits that matter.
func plain() Campaign {
	c := Defaults()
	c.Name, c.Product, c.From, c.To, c.Environments = "up", "mariadb", "10.11", "11.8", []string{"qa", "prod"}
	c.Schedule = Schedule{TimeZone: "UTC", Always: true}
	c.Soak = Soak{}
	c.Budget = Budget{-1, -1, -1}
	return c
}

// world is a snapshot of clusters that are written as "env/name stage", at the end of the stage since an hour.
func world(c Campaign, clusters ...string) Snapshot {
	s := Snapshot{Campaign: c, Status: StatusRunning}
	for _, line := range clusters {
		name, stage, _ := strings.Cut(line, " ")
		env, name, _ := strings.Cut(name, "/")
		p := Progress{Ref: fleet.ClusterRef{Env: env, Name: name}, Stage: stage}
		if stage != "" {
			p.Since = wednesday.Add(-time.Hour)
		}
		s.Clusters = append(s.Clusters, p)
	}
	return s
}

// cluster finds one of the snapshot's clusters to change it.
func (s *Snapshot) cluster(name string) *Progress {
	for i := range s.Clusters {
		if s.Clusters[i].Ref.String() == name {
			return &s.Clusters[i]
		}
	}
	panic(name)
}

// tell writes decisions as lines: "qa/a start create", "qa/b hold verify: soak+23h limit; earliest +23h", "qa/c arrived".
func tell(decisions []Decision, now time.Time) []string {
	var lines []string
	for _, d := range decisions {
		line := d.Ref.String()
		switch {
		case d.Arrived:
			line += " arrived"
		case d.Start != "":
			line += " start " + d.Start
		default:
			line += " hold " + d.Hold.Next + ":"
			for _, r := range d.Hold.Reasons {
				line += " " + r.Code
				if !r.Until.IsZero() {
					line += "+" + human(r.Until.Sub(now))
				}
			}
			if !d.Hold.Earliest.IsZero() {
				line += "; earliest +" + human(d.Hold.Earliest.Sub(now))
			}
		}
		lines = append(lines, line)
	}
	return lines
}

func TestRules(t *testing.T) {
	hour := time.Hour
	open := &fleet.WayBack{Open: true}
	for name, c := range map[string]struct {
		clusters []string
		change   func(s *Snapshot)
		want     []string
	}{
		"nothing holds: every stage follows the one before": {
			[]string{"qa/a", "qa/b create", "qa/c replay", "qa/d switch-storage", "qa/e switch-gateway", "qa/f tear-down", "qa/g verify"},
			func(s *Snapshot) { s.cluster("qa/e").WayBack = open },
			[]string{"qa/a start create", "qa/b start verify", "qa/c start switch-storage", "qa/d start switch-gateway", "qa/e start tear-down", "qa/f arrived", "qa/g start replay"},
		},

		// running
		"a live action": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.cluster("qa/a").Action = &ActionState{ID: 7, Stage: "verify", Step: "verify-data", Message: "31 %"}
			},
			[]string{"qa/a hold verify: running"},
		},
		"a live action on the way back": {
			[]string{"qa/a switch-storage"}, func(s *Snapshot) {
				s.cluster("qa/a").Action = &ActionState{ID: 7, Stage: "switch-storage", Direction: "back"}
			},
			[]string{"qa/a hold switch-storage: running"},
		},
		"a live action hides what would hold the next start": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Status = StatusPaused
				s.cluster("qa/a").Action = &ActionState{ID: 7, Stage: "verify"}
			},
			[]string{"qa/a hold verify: running"},
		},

		// status
		"the campaign is paused":  {[]string{"qa/a", "qa/b tear-down"}, func(s *Snapshot) { s.Status = StatusPaused }, []string{"qa/a hold create: paused", "qa/b arrived"}},
		"the campaign is aborted": {[]string{"qa/a create"}, func(s *Snapshot) { s.Status = StatusAborted }, []string{"qa/a hold verify: aborted"}},
		"the campaign is over":    {[]string{"qa/a create"}, func(s *Snapshot) { s.Status = StatusComplete }, []string{"qa/a hold verify: completed"}},
		"an unknown status holds": {[]string{"qa/a"}, func(s *Snapshot) { s.Status = "" }, []string{"qa/a hold create: status"}},

		// failed, attention
		"a failure waits for a person": {[]string{"qa/a create"}, func(s *Snapshot) { s.cluster("qa/a").Failure = &Failure{Stage: "verify", Message: "rows differ"} }, []string{"qa/a hold verify: failed"}},
		"a person's word is needed":    {[]string{"qa/a create"}, func(s *Snapshot) { s.cluster("qa/a").Attention = "rolled back" }, []string{"qa/a hold verify: attention"}},
		"a failure at the very end is not hidden": {
			[]string{"qa/a tear-down"}, func(s *Snapshot) { s.cluster("qa/a").Failure = &Failure{Stage: "tear-down"} }, []string{"qa/a hold : failed"},
		},

		// unknown
		"a stage that the strategy does not have":           {[]string{"qa/a bake"}, nil, []string{"qa/a hold : unknown"}},
		"an environment that the campaign does not have":    {[]string{"dev/a"}, nil, []string{"dev/a hold create: unknown"}},
		"a strategy that is not known":                      {[]string{"qa/a create"}, func(s *Snapshot) { s.Campaign.Strategy = "teleport" }, []string{"qa/a hold : unknown"}},
		"an unknown stage holds the environments behind it": {[]string{"qa/a bake", "prod/a"}, nil, []string{"qa/a hold : unknown", "prod/a hold create: environment-order"}},
		"what could not be read holds, unless the last stage has ended since": {
			[]string{"qa/a create", "qa/b create", "qa/c"}, func(s *Snapshot) {
				s.cluster("qa/a").Unknown, s.cluster("qa/a").Looked = "node a-1: no answer", wednesday.Add(-time.Minute)
				s.cluster("qa/b").Unknown, s.cluster("qa/b").Looked = "node b-1: no answer", wednesday.Add(-2*hour)
				s.cluster("qa/c").Unknown, s.cluster("qa/c").Looked = "gateway c: no answer", wednesday.Add(-time.Minute)
			}, []string{"qa/a hold verify: unknown", "qa/b start verify", "qa/c hold create: unknown"},
		},

		// version
		"seen on another version": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.cluster("qa/a").Version, s.cluster("qa/a").Observed = "11.8.6-MariaDB", wednesday
			}, []string{"qa/a hold verify: version"},
		},
		"seen on the old version after the storage switch": {
			[]string{"qa/a switch-storage"}, func(s *Snapshot) {
				s.cluster("qa/a").Version, s.cluster("qa/a").Observed = "10.11.18-MariaDB", wednesday
			}, []string{"qa/a hold switch-gateway: version"},
		},
		"seen on the right version": {
			[]string{"qa/a switch-storage", "qa/b replay"}, func(s *Snapshot) {
				s.cluster("qa/a").Version, s.cluster("qa/a").Observed = "11.8.6-MariaDB", wednesday
				s.cluster("qa/b").Version, s.cluster("qa/b").Observed = "10.11.18-MariaDB", wednesday
			}, []string{"qa/a start switch-gateway", "qa/b start switch-storage"},
		},
		"10.1 is no 10.11": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Campaign.From = "10.1"
				s.cluster("qa/a").Version, s.cluster("qa/a").Observed = "10.11.18-MariaDB", wednesday
			}, []string{"qa/a hold verify: version"},
		},
		"an observation that is older than the stage judges nothing": {
			[]string{"qa/a switch-storage"}, func(s *Snapshot) {
				s.cluster("qa/a").Version, s.cluster("qa/a").Observed = "10.11.18-MariaDB", wednesday.Add(-2*hour)
			}, []string{"qa/a start switch-gateway"},
		},

		// paused
		"pauses by scope": {
			[]string{"qa/a", "qa/b create", "qa/c create", "qa/d", "prod/a create", "prod/b"}, func(s *Snapshot) {
				s.Campaign.Order = OrderNone
				s.Pauses = []Pause{{Cluster: "a", Env: "qa"}, {Stage: "verify", Env: "qa"}, {Cluster: "b"}, {Env: "prod", Until: wednesday.Add(hour)}}
			},
			[]string{"qa/a hold create: paused", "qa/b hold verify: paused paused", "qa/c hold verify: paused", "qa/d start create",
				"prod/a hold verify: paused+1h; earliest +1h", "prod/b hold create: paused+1h paused"},
		},
		"a pause that is over":              {[]string{"qa/a"}, func(s *Snapshot) { s.Pauses = []Pause{{Until: wednesday}} }, []string{"qa/a start create"}},
		"a pause holds from when it is set": {[]string{"qa/a"}, func(s *Snapshot) { s.Pauses = []Pause{{At: wednesday.Add(hour)}} }, []string{"qa/a hold create: paused"}},
		"a pause of everything":             {[]string{"qa/a", "prod/a"}, func(s *Snapshot) { s.Pauses = []Pause{{}} }, []string{"qa/a hold create: paused", "prod/a hold create: paused environment-order"}},

		// freeze
		"a freeze of one environment": {
			[]string{"qa/a", "prod/a"}, func(s *Snapshot) {
				s.Campaign.Order = OrderNone
				s.Freezes = []Freeze{{From: wednesday, To: wednesday.Add(hour), Reason: "x", Environments: []string{"prod"}}}
			}, []string{"qa/a start create", "prod/a hold create: freeze+1h; earliest +1h"},
		},
		"freezes of the file and of a person that follow each other are one": {
			[]string{"qa/a"}, func(s *Snapshot) {
				s.Campaign.Freezes = []Freeze{{From: wednesday.Add(-hour), To: wednesday.Add(hour), Reason: "x"}}
				s.Freezes = []Freeze{{From: wednesday.Add(hour), To: wednesday.Add(3 * hour), Reason: "y"}, {From: wednesday.Add(2 * hour), To: wednesday.Add(150 * time.Minute), Reason: "z"}}
			}, []string{"qa/a hold create: freeze+3h; earliest +3h"},
		},
		"a freeze begins with its first moment and ends before its last": {
			[]string{"qa/a"}, func(s *Snapshot) {
				s.Freezes = []Freeze{{From: wednesday.Add(-hour), To: wednesday, Reason: "over"}, {From: wednesday.Add(time.Nanosecond), To: wednesday.Add(hour), Reason: "not yet"}}
			}, []string{"qa/a start create"},
		},
		"a freeze beats the schedule": {
			[]string{"qa/a"}, func(s *Snapshot) {
				s.Campaign.Schedule = Defaults().Schedule
				s.Freezes = []Freeze{{From: wednesday, To: wednesday.Add(8 * hour), Reason: "x"}}
			}, []string{"qa/a hold create: freeze+8h; earliest +23h"},
		},

		// way back: trap 19
		"a broken way back freezes tear-down and nothing else": {
			[]string{"qa/a switch-gateway", "qa/b switch-storage"}, func(s *Snapshot) {
				s.cluster("qa/a").WayBack, s.cluster("qa/b").WayBack = &fleet.WayBack{Detail: "error 1677"}, &fleet.WayBack{}
			}, []string{"qa/a hold tear-down: way-back-broken", "qa/b start switch-gateway"},
		},
		"an unknown way back freezes tear-down": {[]string{"qa/a switch-gateway"}, nil, []string{"qa/a hold tear-down: way-back-broken"}},

		// budget
		"the budget of the campaign": {
			[]string{"qa/a", "qa/b", "prod/a"}, func(s *Snapshot) {
				s.Campaign.Order = OrderNone
				s.Campaign.Budget.Campaign = 0
				s.cluster("prod/a").Failure = &Failure{Stage: "create"}
			}, []string{"qa/a hold create: budget", "qa/b hold create: budget", "prod/a hold create: failed budget"},
		},
		"the budget of an environment": {
			[]string{"qa/a", "prod/a", "prod/b", "prod/c"}, func(s *Snapshot) {
				s.Campaign.Order = OrderNone
				s.Campaign.Budget.Environment = 1
				s.cluster("prod/a").Failure, s.cluster("prod/b").Failure = &Failure{Stage: "create"}, &Failure{Stage: "verify"}
			}, []string{"qa/a start create", "prod/a hold create: failed budget", "prod/b hold create: failed budget", "prod/c hold create: budget"},
		},
		"the budget of a stage": {
			[]string{"qa/a", "qa/b", "qa/c create"}, func(s *Snapshot) {
				s.Campaign.Budget.Stage = 0
				s.cluster("qa/a").Failure = &Failure{Stage: "create"}
			}, []string{"qa/a hold create: failed budget", "qa/b hold create: budget", "qa/c start verify"},
		},
		"within the budget": {
			[]string{"qa/a", "qa/b"}, func(s *Snapshot) {
				s.Campaign.Budget = Budget{1, 1, 1}
				s.cluster("qa/a").Failure = &Failure{Stage: "create"}
			}, []string{"qa/a hold create: failed", "qa/b start create"},
		},

		// environment order and soak
		"prod waits for all of qa": {
			[]string{"qa/a create", "qa/b", "prod/a", "prod/b create"}, nil,
			[]string{"qa/a start verify", "qa/b start create", "prod/a hold create: environment-order", "prod/b hold verify: environment-order"},
		},
		"prod follows stage by stage": {
			[]string{"qa/a replay", "qa/b create", "prod/a", "prod/b create"}, nil,
			[]string{"qa/a start switch-storage", "qa/b start verify", "prod/a start create", "prod/b hold verify: environment-order"},
		},
		"prod waits for the whole campaign of qa": {
			[]string{"qa/a switch-gateway", "prod/a"}, func(s *Snapshot) { s.Campaign.Order = OrderCampaign; s.cluster("qa/a").WayBack = open },
			[]string{"qa/a start tear-down", "prod/a hold create: environment-order"},
		},
		"qa has arrived": {[]string{"qa/a tear-down", "prod/a"}, func(s *Snapshot) { s.Campaign.Order = OrderCampaign }, []string{"qa/a arrived", "prod/a start create"}},
		"no order":       {[]string{"qa/a", "prod/a"}, func(s *Snapshot) { s.Campaign.Order = OrderNone }, []string{"qa/a start create", "prod/a start create"}},
		"an environment without clusters is passed over": {
			[]string{"dev/a create", "prod/a"}, func(s *Snapshot) { s.Campaign.Environments = []string{"dev", "qa", "prod"} }, []string{"dev/a start verify", "prod/a start create"},
		},
		"every environment before counts, not only the nearest": {
			[]string{"dev/a", "qa/a create", "prod/a"}, func(s *Snapshot) { s.Campaign.Environments = []string{"dev", "qa", "prod"} },
			[]string{"dev/a start create", "qa/a hold verify: environment-order", "prod/a hold create: environment-order"},
		},
		"the soak between environments counts from the last cluster": {
			[]string{"qa/a create", "qa/b create", "prod/a"}, func(s *Snapshot) {
				s.Campaign.Soak.Environments = 2 * hour
				s.cluster("qa/b").Since = wednesday.Add(-30 * time.Minute)
			}, []string{"qa/a start verify", "qa/b start verify", "prod/a hold create: environment-soak+1h30m; earliest +1h30m"},
		},
		"the soak between environments is over": {[]string{"qa/a create", "prod/a"}, func(s *Snapshot) { s.Campaign.Soak.Environments = hour }, []string{"qa/a start verify", "prod/a start create"}},
		"the end of an earlier stage is taken from the record": {
			[]string{"qa/a replay", "prod/a"}, func(s *Snapshot) {
				s.Campaign.Soak.Environments = 2 * hour
				s.cluster("qa/a").Done = []StageEnd{{"create", wednesday.Add(-2 * hour)}, {"replay", wednesday.Add(-hour)}}
			}, []string{"qa/a start switch-storage", "prod/a start create"},
		},
		"without a record, the end of its last stage counts": {
			[]string{"qa/a replay", "prod/a"}, func(s *Snapshot) { s.Campaign.Soak.Environments = 2 * hour },
			[]string{"qa/a start switch-storage", "prod/a hold create: environment-soak+1h; earliest +1h"},
		},
		"nobody knows when qa was done": {
			[]string{"qa/a create", "prod/a"}, func(s *Snapshot) {
				s.Campaign.Soak.Environments = 2 * hour
				s.cluster("qa/a").Since = time.Time{}
			}, []string{"qa/a start verify", "prod/a hold create: environment-soak"},
		},

		// soak
		"a soak": {
			[]string{"qa/a switch-storage", "qa/b replay"}, func(s *Snapshot) { s.Campaign.Soak.Stages = map[string]time.Duration{"switch-storage": 24 * hour} },
			[]string{"qa/a hold switch-gateway: soak+23h; earliest +23h", "qa/b start switch-storage"},
		},
		"a soak that is over to the second": {
			[]string{"qa/a switch-storage"}, func(s *Snapshot) { s.Campaign.Soak.Stages = map[string]time.Duration{"switch-storage": hour} }, []string{"qa/a start switch-gateway"},
		},
		"a soak since nobody knows when": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Campaign.Soak.Stages = map[string]time.Duration{"create": hour}
				s.cluster("qa/a").Since = time.Time{}
			}, []string{"qa/a hold verify: soak"},
		},

		// approval
		"an approval is waited for, and the rest goes on being judged": {
			[]string{"qa/a switch-gateway"}, func(s *Snapshot) { s.Campaign.Approve = []string{"tear-down"} }, []string{"qa/a hold tear-down: way-back-broken approval"},
		},
		"approved": {
			[]string{"qa/a switch-gateway", "qa/b switch-gateway"}, func(s *Snapshot) {
				s.Campaign.Approve = []string{"tear-down"}
				s.cluster("qa/a").WayBack, s.cluster("qa/b").WayBack = open, open
				s.Overrides = []Override{{Rule: CodeApproval, Cluster: "a", Env: "qa", Stage: "tear-down", Expires: wednesday.Add(hour)}}
			}, []string{"qa/a start tear-down", "qa/b hold tear-down: approval"},
		},

		// window
		"outside of the schedule": {
			[]string{"qa/a"}, func(s *Snapshot) { s.Campaign.Schedule = Defaults().Schedule; s.Campaign.Schedule.Start = "11:30" }, []string{"qa/a hold create: window+1h30m; earliest +1h30m"},
		},
		"inside the schedule":                 {[]string{"qa/a"}, func(s *Snapshot) { s.Campaign.Schedule = Defaults().Schedule }, []string{"qa/a start create"}},
		"a schedule that can't be understood": {[]string{"qa/a"}, func(s *Snapshot) { s.Campaign.Schedule.TimeZone = "Mars/Olympus" }, []string{"qa/a hold create: window"}},
		"a schedule without any workday":      {[]string{"qa/a"}, func(s *Snapshot) { s.Campaign.Schedule = Defaults().Schedule; s.Campaign.Schedule.Workdays = nil }, []string{"qa/a hold create: window"}},
		"a soak ends when the window is closed": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Campaign.Schedule = Defaults().Schedule // Friday 17:00 to Monday 09:00
				s.Campaign.Soak.Stages = map[string]time.Duration{"create": 56 * hour}
			}, []string{"qa/a hold verify: soak+2d7h; earliest +4d23h"},
		},

		// limits
		"places are counted with live actions and with the starts of this call": {
			[]string{"qa/a", "qa/b", "qa/c", "qa/d create"}, func(s *Snapshot) {
				s.Campaign.Limits.PerStage = 2
				s.cluster("qa/b").Action = &ActionState{Stage: "create"}
			}, []string{"qa/a start create", "qa/b hold create: running", "qa/c hold create: limit", "qa/d start verify"},
		},
		"the way back takes a place too": {
			[]string{"qa/a replay", "qa/b switch-storage"}, func(s *Snapshot) {
				s.Campaign.Limits.PerStage = 1
				s.cluster("qa/b").Action = &ActionState{Stage: "switch-storage", Direction: "back"}
			}, []string{"qa/a hold switch-storage: limit", "qa/b hold switch-storage: running"},
		},
		"limits are for each environment and stage": {
			[]string{"qa/a", "qa/b", "qa/c create", "qa/d create", "prod/a", "prod/b", "prod/c create", "prod/d create"}, func(s *Snapshot) {
				s.Campaign.Order = OrderNone
				s.Campaign.Limits = Limits{PerStage: 1, Stages: map[string]int{"verify": 2}, Environments: map[string]map[string]int{"prod": {"*": 2, "verify": 0}}}
			}, []string{"qa/a start create", "qa/b hold create: limit", "qa/c start verify", "qa/d start verify",
				"prod/a start create", "prod/b start create", "prod/c hold verify: limit", "prod/d hold verify: limit"},
		},
		"who waits longest goes first, and who is on the way goes before who has not begun": {
			[]string{"qa/a create", "qa/b create", "qa/c", "qa/d create"}, func(s *Snapshot) {
				s.Campaign.Limits = Limits{PerStage: 9, PerLaunch: 2}
				s.cluster("qa/d").Since = wednesday.Add(-3 * hour)
			}, []string{"qa/a start verify", "qa/b hold verify: launch-limit", "qa/c hold create: launch-limit", "qa/d start verify"},
		},
		"a launch's limit is for each environment": {
			[]string{"qa/a", "qa/b", "prod/a"}, func(s *Snapshot) { s.Campaign.Order = OrderNone; s.Campaign.Limits.PerLaunch = 1 },
			[]string{"qa/a start create", "qa/b hold create: launch-limit", "prod/a start create"},
		},
		"who is held takes no place": {
			[]string{"qa/a", "qa/b"}, func(s *Snapshot) {
				s.Campaign.Limits.PerStage = 1
				s.Pauses = []Pause{{Cluster: "a"}}
			}, []string{"qa/a hold create: paused", "qa/b start create"},
		},

		// overrides
		"overrides by rule and scope": {
			[]string{"qa/a switch-storage", "qa/b switch-storage", "qa/c create"}, func(s *Snapshot) {
				s.Campaign.Soak.Stages = map[string]time.Duration{"switch-storage": 24 * hour, "create": 2 * hour}
				s.Overrides = []Override{{Rule: CodeSoak, Cluster: "a", Expires: wednesday.Add(hour)}, {Rule: CodeLimit, Expires: wednesday.Add(hour)}, {Rule: CodeSoak, Stage: "switch-gateway", Env: "prod", Expires: wednesday.Add(hour)}}
			}, []string{"qa/a start switch-gateway", "qa/b hold switch-gateway: soak+23h; earliest +23h", "qa/c hold verify: soak+1h; earliest +1h"},
		},
		"an override that has expired, and one without an expiry": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Campaign.Soak.Stages = map[string]time.Duration{"create": 2 * hour}
				s.Overrides = []Override{{Rule: CodeSoak, Expires: wednesday}, {Rule: CodeSoak}}
			}, []string{"qa/a hold verify: soak+1h; earliest +1h"},
		},
		"an override that expires before the rest is over holds again": {
			[]string{"qa/a create"}, func(s *Snapshot) {
				s.Campaign.Soak.Stages = map[string]time.Duration{"create": 4 * hour}
				s.Pauses = []Pause{{Until: wednesday.Add(2 * hour)}}
				s.Overrides = []Override{{Rule: CodeSoak, Expires: wednesday.Add(hour)}}
			}, []string{"qa/a hold verify: paused+2h; earliest +3h"},
		},
		"what is no rule for a person to override": {
			[]string{"qa/a create", "qa/b", "qa/c"}, func(s *Snapshot) {
				s.cluster("qa/a").Failure = &Failure{Stage: "verify"}
				s.cluster("qa/b").Attention = "x"
				s.Pauses = []Pause{{Cluster: "c"}}
				for _, code := range []string{CodeFailed, CodeAttention, CodePaused, CodeRunning, CodeStatus, CodeUnknown, CodeVersion} {
					s.Overrides = append(s.Overrides, Override{Rule: code, Expires: wednesday.Add(hour)})
				}
			}, []string{"qa/a hold verify: failed", "qa/b hold create: attention", "qa/c hold create: paused"},
		},
		"every overridable rule can be": {
			[]string{"qa/a switch-gateway", "qa/b", "prod/a", "prod/b switch-gateway", "prod/c"}, func(s *Snapshot) {
				s.Campaign = Defaults()
				s.Campaign.Environments = []string{"qa", "prod"}
				s.Campaign.Schedule.Start = "11:00"
				s.Campaign.Approve = []string{"tear-down"}
				s.Campaign.Limits.PerLaunch = 1
				s.Campaign.Limits.Stages = map[string]int{"create": 0}
				s.Campaign.Budget = Budget{}
				s.cluster("prod/c").Failure = &Failure{Stage: "create"}
				s.Freezes = []Freeze{{From: wednesday, To: wednesday.Add(hour)}}
				for code := range Overridable() {
					s.Overrides = append(s.Overrides, Override{Rule: code, Expires: wednesday.Add(hour)})
				}
			}, []string{"qa/a start tear-down", "qa/b start create", "prod/a start create", "prod/b start tear-down", "prod/c hold create: failed"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := world(plain(), c.clusters...)
			if c.change != nil {
				c.change(&s)
			}
			got := Decide(s, wednesday)
			if diff := cmp.Diff(c.want, tell(got, wednesday)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			slices.Reverse(s.Clusters)
			if diff := cmp.Diff(got, Decide(s, wednesday)); diff != "" {
				t.Errorf("the order of the snapshot matters:\n%s", diff)
			}
		})
	}
}

func TestFrozen(t *testing.T) {
	s := world(plain(), "qa/a create", "prod/a create")
	s.cluster("qa/a").Action = &ActionState{Stage: "verify"}
	s.Freezes = []Freeze{{From: wednesday, To: wednesday.Add(time.Hour), Reason: "sale", Environments: []string{"qa"}}}
	if r, ok := s.Frozen(s.cluster("qa/a"), wednesday); !ok || r.Code != CodeFreeze || !r.Until.Equal(wednesday.Add(time.Hour)) {
		t.Errorf("got %+v, %v", r, ok)
	}
	if _, ok := s.Frozen(s.cluster("prod/a"), wednesday); ok {
		t.Error("another environment is frozen too")
	}
	if _, ok := s.Frozen(s.cluster("qa/a"), wednesday.Add(time.Hour)); ok {
		t.Error("the freeze goes on")
	}
	s.Overrides = []Override{{Rule: CodeFreeze, Stage: "verify", Expires: wednesday.Add(time.Minute)}}
	if _, ok := s.Frozen(s.cluster("qa/a"), wednesday); ok {
		t.Error("the override does not count")
	}
}

// What the rules' table and the constants say of overriding must be the same.
func TestOverridableNamesRules(t *testing.T) {
	codes := []string{CodeLimit, CodePerLaunch, CodeReplay} // the last is looked at by the stage itself
	for _, r := range rules {
		codes = append(codes, r.code)
	}
	for code := range Overridable() {
		if !slices.Contains(codes, code) {
			t.Errorf("%s is no rule", code)
		}
	}
}

func TestDecideOfNothing(t *testing.T) {
	if d := Decide(Snapshot{}, wednesday); len(d) != 0 {
		t.Errorf("got %v", d)
	}
	d := Decide(Snapshot{Clusters: []Progress{{Ref: fleet.ClusterRef{Env: "qa", Name: "a"}}}}, wednesday)
	if len(d) != 1 || d[0].Hold == nil || len(d[0].Hold.Reasons) == 0 {
		t.Errorf("an empty campaign starts something: %s", fmt.Sprint(tell(d, wednesday)))
	}
}

// A stage starts only on what was seen lately; what a stage saw at its end counts. In the forecast supervisors go on looking.
func TestAStageStartsOnlyOnWhatWasSeenLately(t *testing.T) {
	c := plain()
	c.SeenWithin = 5 * time.Minute
	s := world(c, "qa/fresh", "qa/never", "qa/old", "qa/done create", "qa/ended create", "qa/broken")
	ago := func(d time.Duration) time.Time { return wednesday.Add(-d) }
	s.cluster("qa/fresh").Received = ago(5 * time.Minute)
	s.cluster("qa/old").Received = ago(5*time.Minute + time.Second)
	s.cluster("qa/done").Since = ago(4 * time.Minute)
	s.cluster("qa/ended").Since = ago(time.Hour)
	*s.cluster("qa/broken") = Progress{Ref: s.cluster("qa/broken").Ref, Received: ago(time.Minute), Looked: ago(time.Minute), Unknown: "node a: refused"}
	held := map[string]string{}
	for _, d := range Decide(s, wednesday) {
		if d.Hold != nil {
			if r := d.Hold.Reasons[0]; r.Code == CodeUnknown && len(d.Hold.Reasons) == 1 && d.Hold.Earliest.IsZero() && r.Unseen == (d.Ref.Name != "broken") {
				held[d.Ref.Name] = r.Message + " | " + r.Release
			} else {
				t.Errorf("%s: %+v", d.Ref, *d.Hold)
			}
		}
	}
	const looks = " | a supervisor of qa looks at it: is one running there, with a token that is good?"
	want := map[string]string{
		"never":  "it was never looked at" + looks,
		"old":    "it was last seen 5m1s ago, at 2026-11-25 09:54:59 UTC; a stage starts only on what was seen within 5m" + looks,
		"ended":  "it was last seen 1h ago, at 2026-11-25 09:00:00 UTC; a stage starts only on what was seen within 5m" + looks,
		"broken": "the last look, at 09:59:00 UTC, could not read node a: refused | a later look reads everything; create starts on nothing that is unknown",
	}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if f := forecastOf(s, wednesday, nil); f.End.IsZero() || len(f.Stuck) > 0 {
		t.Errorf("the forecast: %+v", f)
	}
	s.Campaign.SeenWithin = 0
	for _, d := range Decide(s, wednesday) {
		if d.Hold != nil && d.Ref.Name != "broken" {
			t.Errorf("nobody asks when %s was seen: %+v", d.Ref, *d.Hold)
		}
	}
	// What will have been seen later is not judged now: a soak's end is foreseen.
	s.Campaign.SeenWithin, s.Campaign.Soak = 5*time.Minute, Soak{Stages: map[string]time.Duration{"create": 24 * time.Hour}}
	for _, d := range Decide(s, wednesday) {
		if d.Ref.Name == "done" && (d.Hold == nil || d.Hold.Earliest.IsZero()) {
			t.Errorf("done: %+v", d)
		}
	}
}
