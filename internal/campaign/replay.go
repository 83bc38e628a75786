package campaign

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/strategy"
)

// Replay holds the settings of the stage replay: what a verdict needs, and what of it does not count (H7, B5).
type Replay struct {
	MinTime     time.Duration  `json:"min_time"`     // that the replayed statements were captured over
	MinCoverage int            `json:"min_coverage"` // percent of the captured statements that have to be replayed
	MinSample   int            `json:"min_sample"`   // percent of each kind of statement that the gateway has to keep
	Delay       time.Duration  `json:"delay"`        // between a statement's capture and its replay
	Latency     ReplayLatency  `json:"latency"`
	Leeway      float64        `json:"leeway,omitempty"` // share of a statement's replays, from 0 to 1, that may be answered otherwise (H7); a syntax error or a conflict has none
	Ignore      []ReplayIgnore `json:"ignore,omitempty"`
	KeepCapture bool           `json:"keep_capture,omitempty"` // the capture goes on after the verdict, until a rollback ends it or the old cell is removed
	Skip        *ReplaySkip    `json:"skip,omitempty"`         // a person has decided that nothing is replayed
}

// ReplayLatency says from when on a statement counts as slower.
type ReplayLatency struct {
	Factor float64       `json:"factor"` // so many times slower
	Budget time.Duration `json:"budget"` // added time in an hour of production that is borne
	Pairs  int           `json:"pairs"`  // measured on both versions, that a judgement needs
	Timed  int           `json:"timed"`  // percent of the replayed statements of whose kind there have to be so many
}

// ReplayIgnore is a difference that a person has judged, and that does not count. What it names is one fingerprint, or every statement that the
// pattern fits.
type ReplayIgnore struct {
	Fingerprint string    `json:"fingerprint,omitempty"`
	Like        string    `json:"like,omitempty"`  // over a statement's normal form, as SQL's LIKE
	Kinds       []string  `json:"kinds,omitempty"` // of differences; empty: all but syntax
	Reason      string    `json:"reason"`
	By          string    `json:"by"`
	Until       time.Time `json:"until,omitzero"` // zero: it does not end
}

// ReplaySkip is why nothing is replayed, and who has decided so.
type ReplaySkip struct {
	Reason string `json:"reason"`
	By     string `json:"by"`
}

// String is as it is shown wherever the campaign is.
func (s ReplaySkip) String() string {
	return fmt.Sprintf("no query is replayed before the storage switch; %s has decided so: %s", s.By, s.Reason)
}

// ReplaySkipped tells whether the campaign's strategy has a replay, and a person has decided against it.
func (c Campaign) ReplaySkipped() (ReplaySkip, bool) {
	if !c.replays() || c.Replay.Skip == nil {
		return ReplaySkip{}, false
	}
	return *c.Replay.Skip, true
}

// replays tells whether the strategy has the stage.
func (c Campaign) replays() bool {
	s, ok := strategy.ByName(c.Strategy)
	if !ok {
		return false
	}
	_, at := s.Stage(strategy.StageReplay)
	return at >= 0
}

// Or is the settings, or those of a campaign that says nothing if these were stored by a release that had none: nothing passes for want of a rule.
func (r Replay) Or(otherwise Replay) Replay {
	if r.MinTime > 0 || r.Skip != nil {
		return r
	}
	return otherwise
}

// DefaultReplay are the settings of a campaign that says nothing: two days, as at HubSpot.
func DefaultReplay() Replay {
	return Replay{
		MinTime: 48 * time.Hour, MinCoverage: 90, MinSample: 100, Delay: time.Minute,
		Latency: ReplayLatency{Factor: 1.2, Budget: 10 * time.Second, Pairs: 15, Timed: 80},
	}
}

// fileReplay is the shape of the key "replay".
type fileReplay struct {
	MinTime     time.Duration      `yaml:"min_time" rule:"min=1s max=60d" doc:"how much time of production has to be replayed before the storage switch" example:"2d"`
	MinCoverage percent            `yaml:"min_coverage" doc:"share of the captured statements that can be replayed which has to be" example:"90%"`
	MinSample   percent            `yaml:"min_sample" doc:"share of each kind of statement that the gateway has to keep" example:"100%"`
	Delay       time.Duration      `yaml:"delay" rule:"min=1s max=1d" doc:"between a statement's capture and its replay" example:"1m"`
	Latency     fileReplayLatency  `yaml:"latency" doc:"from when on a statement counts as slower" example:"{factor: 1.2, budget: 10s}"`
	Leeway      float64            `yaml:"leeway" rule:"min=0 max=1" doc:"share of a statement's replays that may be answered otherwise; a syntax error or a conflict has none" example:"0.001"`
	Ignore      []fileReplayIgnore `yaml:"ignore" doc:"differences that a person has judged, and that do not count"`
	KeepCapture bool               `yaml:"keep_capture" doc:"the capture goes on after the verdict, until a rollback ends it or the old cell is removed" example:"false"`
	Skip        *fileReplaySkip    `yaml:"skip" doc:"nothing is replayed: who has decided so, and why; it is shown wherever the campaign is" example:"{reason: no gateway captures yet, by: mira}"`
}

type fileReplayLatency struct {
	Factor float64       `yaml:"factor" rule:"min=1 max=100" doc:"at the least so many times slower" example:"1.2"`
	Budget time.Duration `yaml:"budget" rule:"max=1h" doc:"added time in an hour of production that is borne" example:"10s"`
	Timed  percent       `yaml:"timed" doc:"share of the replayed statements of whose kind there have to be so many pairs" example:"80%"`
	Pairs  int           `yaml:"pairs" rule:"min=5 max=100000" doc:"how many pairs, measured on both versions, a judgement needs" example:"15"`
}

type fileReplayIgnore struct {
	Fingerprint string        `yaml:"fingerprint" rule:"nonempty max=40" doc:"of the statement, as the finding shows it" example:"5f0c7e2a91d3b846"`
	Like        string        `yaml:"like" rule:"nonempty max=2000" doc:"instead of a fingerprint: a pattern over the statements' normal form, as SQL's LIKE" example:"select from_unixtime(%"`
	Kinds       []string      `yaml:"kinds" rule:"nonempty unique" doc:"kinds of differences; absent: all but syntax" example:"[content]"`
	Reason      string        `yaml:"reason" rule:"required nonempty max=500" doc:"why it does not count, as it is shown with the finding" example:"the new answer is the right one"`
	By          string        `yaml:"by" rule:"required nonempty max=80" doc:"who has judged it" example:"mira"`
	Until       config.Moment `yaml:"until" doc:"when it ends; absent: it does not" example:"2027-03-01"`
}

type fileReplaySkip struct {
	Reason string `yaml:"reason" rule:"required nonempty max=500" doc:"why nothing is replayed" example:"no gateway captures yet"`
	By     string `yaml:"by" rule:"required nonempty max=80" doc:"who has decided so" example:"mira"`
}

// percent is a share of something, of which all may be meant.
type percent int

// Parse reads "95%".
func (p *percent) Parse(s string) error {
	text, ok := strings.CutSuffix(s, "%")
	n, err := strconv.Atoi(text)
	if !ok || err != nil || n < 0 || n > 100 {
		return errors.New("it has to be 0% to 100%")
	}
	*p = percent(n)
	return nil
}

// Wanted names it in messages.
func (*percent) Wanted() string { return "a share" }

// Form shows how it is written.
func (*percent) Form() string { return "95%" }

func (f fileReplay) settings(zone *time.Location) Replay {
	r := Replay{MinTime: f.MinTime, MinCoverage: int(f.MinCoverage), MinSample: int(f.MinSample), Delay: f.Delay, Latency: ReplayLatency{Factor: f.Latency.Factor, Budget: f.Latency.Budget, Pairs: f.Latency.Pairs, Timed: int(f.Latency.Timed)}, Leeway: f.Leeway, KeepCapture: f.KeepCapture}
	for _, i := range f.Ignore {
		one := ReplayIgnore{Fingerprint: i.Fingerprint, Like: i.Like, Kinds: i.Kinds, Reason: i.Reason, By: i.By}
		if i.Until.Given() {
			one.Until = i.Until.In(zone)
		}
		r.Ignore = append(r.Ignore, one)
	}
	if f.Skip != nil {
		r.Skip = &ReplaySkip{Reason: f.Skip.Reason, By: f.Skip.By}
	}
	return r
}

func (r Replay) file() fileReplay {
	return fileReplay{MinTime: r.MinTime, MinCoverage: percent(r.MinCoverage), MinSample: percent(r.MinSample), Delay: r.Delay, Latency: fileReplayLatency{Factor: r.Latency.Factor, Budget: r.Latency.Budget, Pairs: r.Latency.Pairs, Timed: percent(r.Latency.Timed)}, Leeway: r.Leeway}
}

var fingerprint = regexp.MustCompile(`^[0-9a-f]{16}$`)

// checkReplay looks at what concerns several keys of the block.
func checkReplay(f *file, r *config.Report) {
	at := r.At("replay")
	if f.Replay.Skip != nil {
		for _, key := range []string{"min_time", "min_coverage", "min_sample", "delay", "latency", "leeway", "ignore", "keep_capture"} {
			if at.At(key).Given() {
				at.At(key).KeyProblem(config.CodeContradiction, fmt.Sprintf("%q means nothing beside \"skip\": nothing is replayed", key), "remove one of the two")
			}
		}
	}
	for i, one := range f.Replay.Ignore {
		spot := at.At("ignore", i)
		switch {
		case one.Fingerprint != "" && one.Like != "":
			spot.At("like").KeyProblem(config.CodeContradiction, "there is a fingerprint, too: it is one statement or a pattern of many", "keep one of the two")
		case one.Fingerprint == "" && one.Like == "" && !spot.Bad():
			spot.Problem(config.CodeMissing, "it does not say which statements it is about", "add \"fingerprint\", as the finding shows it, or \"like\" with a pattern")
		case one.Fingerprint != "" && !fingerprint.MatchString(one.Fingerprint) && !spot.At("fingerprint").Bad():
			spot.At("fingerprint").Problem(config.CodeValue, fmt.Sprintf("%q is no fingerprint", one.Fingerprint), "copy it from the finding: 16 digits, 0-9 and a-f")
		}
		if strings.Trim(one.Like, "%_ ") == "" && one.Like != "" {
			spot.At("like").Problem(config.CodeValue, "the pattern fits every statement", "write \"skip\", with a reason, if nothing is to be replayed")
		}
		for j, kind := range one.Kinds {
			if !slices.Contains(compare.Kinds(), compare.Kind(kind)) {
				spot.At("kinds", j).Problem(config.CodeReference, fmt.Sprintf("there is no kind of difference %q", kind), config.Suggest(kind, differences()))
			}
		}
	}
}

// differences are the kinds as they are written.
func differences() (all []string) {
	for _, k := range compare.Kinds() {
		all = append(all, string(k))
	}
	return all
}

// replayFact is the plan's line.
func (c Campaign) replayFact(t *planText) {
	if !c.replays() {
		return
	}
	if s, skipped := c.ReplaySkipped(); skipped {
		t.fact("replay", "SKIPPED: "+s.String())
		return
	}
	r := c.Replay
	t.fact("replay", fmt.Sprintf("%s of production, %s behind it, at least %d%% of its statements; slower counts from %g times on, above %s in an hour, by %d pairs of times or more",
		human(r.MinTime), human(r.Delay), r.MinCoverage, r.Latency.Factor, human(r.Latency.Budget), r.Latency.Pairs))
	if r.Leeway > 0 {
		t.fact("leeway", fmt.Sprintf("%g%% of a statement's replays may be answered otherwise", r.Leeway*100))
	}
	for _, i := range r.Ignore {
		what := "fingerprint " + i.Fingerprint
		if i.Like != "" {
			what = "like " + strconv.Quote(i.Like)
		}
		if len(i.Kinds) > 0 {
			what += " (" + strings.Join(i.Kinds, ", ") + ")"
		}
		if !i.Until.IsZero() {
			what += " until " + i.Until.Format("2006-01-02 15:04 MST")
		}
		t.fact("ignored", fmt.Sprintf("%s; %s: %s", what, i.By, i.Reason))
	}
}

// boundReplay gives the steps of a replay as long as the campaign's own settings take. What the strategy says is on top, for a quiet cluster whose
// queries need longer.
func (c Campaign) boundReplay(steps []strategy.Step) []strategy.Step {
	steps = slices.Clone(steps)
	for i := range steps {
		if steps[i].Kind == strategy.ReplayQueries {
			steps[i].Deadline += c.Replay.MinTime + c.Replay.Delay
		}
	}
	return steps
}

// OverridesOf are those that are for the cluster's stage at that time.
func OverridesOf(all []Override, ref fleet.ClusterRef, stage string, now time.Time) (those []Override) {
	for _, o := range all {
		if now.Before(o.Expires) && (o.Env == "" || o.Env == ref.Env) && (o.Cluster == "" || o.Cluster == ref.Name) && (o.Stage == "" || o.Stage == stage) {
			those = append(those, o)
		}
	}
	return those
}
