package campaign

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/strategy"
)

// allowance is a number of failures, or "none" where no budget is wanted.
type allowance int

// Parse reads a number that is not negative, or "none".
func (a *allowance) Parse(s string) error {
	if s == "none" {
		*a = -1
		return nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 1_000_000 {
		return errors.New("it has to be 0 to 1000000, or none")
	}
	*a = allowance(n)
	return nil
}

// Wanted names it in messages.
func (*allowance) Wanted() string { return "a number of clusters" }

// Form shows how it is written.
func (*allowance) Form() string { return "2, or none for no budget" }

// build looks at what concerns several values, and makes the campaign.
func build(f *file, r *config.Report) Campaign {
	zone, err := config.LoadZone(f.Schedule.TimeZone)
	if err != nil {
		zone = time.UTC // the zone's own rule has said so
	}
	placeIn(f, r)
	roll(f, r)
	contracts(f, r)
	checkVersions(f, r)
	checkSelection(f, r)
	checkStages(f, r)
	checkSchedule(f, r)
	checkFreezes(f, r, zone)
	checkBudget(f, r)
	checkSwitch(f, r)
	checkReplay(f, r)
	c := f.campaign(zone)
	c.Policy, c.Bridges = readPolicy(f, r), readBridges(f, r)
	return c
}

// readPolicy reads the product file that the campaign names, and what it makes useless as a whole: each with its own place.
func readPolicy(f *file, r *config.Report) *Policy {
	if f.Policy == builtinPolicy || f.Policy == "" {
		return nil
	}
	at := r.At("policy")
	src, object, ok := at.Beside(f.Policy, policy.Kind())
	if !ok {
		return nil
	}
	p := object.Value.(*policy.Product)
	at.Foreign(object.Locate(p.Lint()))
	if p.Name != f.Product && f.Product != "" {
		at.Problem(config.CodeContradiction, fmt.Sprintf("%s is the policy of %q, and the campaign raises %q", src.Name, p.Name, f.Product), fmt.Sprintf("write \"name: %s\" into it, or take another file", f.Product))
	}
	return NewPolicy(f.Policy, string(src.Text))
}

func readBridges(f *file, r *config.Report) []policy.Bridge {
	var all []policy.Bridge
	for i, name := range f.Bridges {
		if _, object, ok := r.At("bridges", i).Beside(name, policy.BridgeKind()); ok {
			all = append(all, object.Value.(policy.Bridge))
		}
	}
	return all
}

func checkVersions(f *file, r *config.Report) {
	order, ok := compareVersions(f.From, f.To)
	switch {
	case !ok: // one of them is missing or wrong, and said to be
	case order == 0:
		r.At("to").Problem(config.CodeContradiction, fmt.Sprintf("\"to\" is the version that the clusters have: %s", f.To), "write the version that they are to be raised to")
	case order > 0:
		r.At("to").Problem(config.CodeContradiction, fmt.Sprintf("%s is older than %s", f.To, f.From), "exchange \"from\" and \"to\": a campaign raises versions; the way back of a running one is a rollback")
	}
	if f.Cells.From == f.Cells.To && f.Cells.From != "" && f.Strategy != policy.InPlace {
		at := r.At("cells", "to")
		if !at.Given() {
			at = r.At("cells", "from")
		}
		at.Problem(config.CodeContradiction, fmt.Sprintf("the old and the new cell are both called %s", f.Cells.To), "give the new cell another name, such as green")
	}
}

// compareVersions compares numbers with dots; what one of them lacks is not compared, as 10.11 is a prefix of 10.11.18. It is
// false if one of them is no version.
func compareVersions(a, b string) (int, bool) {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		x, errA := strconv.Atoi(as[i])
		y, errB := strconv.Atoi(bs[i])
		if errA != nil || errB != nil {
			return 0, false
		}
		if x != y {
			return x - y, true
		}
	}
	return 0, true
}

func checkSelection(f *file, r *config.Report) {
	for key, patterns := range map[string][]string{"clusters": f.Clusters, "exclude": f.Exclude} {
		for i, p := range patterns {
			at := r.At(key, i)
			env, name, ok := strings.Cut(p, "/")
			if !ok || env == "" || name == "" || strings.Contains(name, "/") {
				at.Problem(config.CodeValue, fmt.Sprintf("%q is not a pattern of env/cluster", p), fmt.Sprintf("write \"*/%s\" for all environments, or name one: \"prod/%s\"", strings.Trim(p, "/"), strings.Trim(p, "/")))
				continue
			}
			if !slices.ContainsFunc(f.Environments, func(e string) bool { ok, _ := path.Match(env, e); return ok }) && len(f.Environments) > 0 {
				at.Problem(config.CodeContradiction, fmt.Sprintf("the pattern is for environment %q, which the campaign does not have", env), "add it to \"environments\", or write one of "+strings.Join(slices.Compact(slices.Sorted(slices.Values(f.Environments))), ", "))
			}
		}
	}
}

func checkStages(f *file, r *config.Report) {
	strat, ok := strategy.ByName(f.Strategy)
	if !ok {
		return
	}
	stages := strat.StageNames()
	environments := slices.Compact(slices.Sorted(slices.Values(f.Environments)))
	isStage := func(at config.Spot, name string, also ...string) bool {
		all := append(slices.Clone(stages), also...)
		if slices.Contains(all, name) {
			return true
		}
		at.KeyProblem(config.CodeReference, fmt.Sprintf("the strategy %s has no stage %q", f.Strategy, name), config.Suggest(name, all))
		return false
	}
	isEnvironment := func(at config.Spot, name string) {
		if len(f.Environments) > 0 && !slices.Contains(f.Environments, name) {
			at.KeyProblem(config.CodeReference, fmt.Sprintf("the campaign has no environment %q", name), config.Suggest(name, environments))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Limits.Stages)) {
		isStage(r.At("limits", "stages", name), name)
	}
	for _, env := range slices.Sorted(maps.Keys(f.Limits.Environments)) {
		at := r.At("limits", "environments", env)
		isEnvironment(at, env)
		for _, name := range slices.Sorted(maps.Keys(f.Limits.Environments[env])) {
			isStage(at.At(name), name, "*")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Soak.Stages)) {
		at := r.At("soak", "stages", name)
		if isStage(at, name) && name == stages[len(stages)-1] {
			at.Problem(config.CodeContradiction, fmt.Sprintf("%s is the last stage: nothing comes after it that could wait", name), "remove it, or name an earlier stage: "+strings.Join(stages[:len(stages)-1], ", "))
		}
	}
	if f.Rehearse != "" {
		at := r.At("rehearse")
		if isStage(at, f.Rehearse) && f.Rehearse == stages[len(stages)-1] {
			at.Problem(config.CodeContradiction, fmt.Sprintf("%s has no way back that could be rehearsed", f.Rehearse), "name an earlier stage: "+strings.Join(stages[:len(stages)-1], ", "))
		}
	}
	for i, name := range f.Approve {
		isStage(r.At("approve", i), name)
	}
	for i, z := range f.Freezes {
		for j, env := range z.Environments {
			isEnvironment(r.At("freezes", i, "environments", j), env)
		}
	}
}

func checkSchedule(f *file, r *config.Report) {
	at := r.At("schedule")
	s := f.Schedule
	if s.Start == s.End && !at.At("start").Bad() && !at.At("end").Bad() {
		spot := at.At("end")
		if !spot.Given() {
			spot = at.At("start")
		}
		spot.Problem(config.CodeContradiction, fmt.Sprintf("the window from %s to %s has no length", s.Start, s.End), "write a later end, or \"always: true\" for any time of any day")
	}
	if s.Start.Minutes == 24*60 {
		at.At("start").Problem(config.CodeRange, "a day does not start at 24:00", "write \"00:00\"")
	}
	if s.Always {
		for _, key := range []string{"start", "end", "workdays", "holidays"} {
			if at.At(key).Given() {
				at.At(key).Problem(config.CodeContradiction, fmt.Sprintf("%q means nothing beside \"always: true\"", key), "remove one of the two")
			}
		}
	}
	if s.Every != 0 && s.Every < time.Second {
		at.At("every").Problem(config.CodeRange, fmt.Sprintf("%s is too small", config.FormatDuration(s.Every)), "write at least 1s, or 0s for once a day")
	}
	if s.Holidays.Calendar != "" {
		if _, ok := holidayCalendar(s.Holidays.Calendar); !ok {
			at.At("holidays", "calendar").Problem(config.CodeReference, fmt.Sprintf("there is no calendar %q", s.Holidays.Calendar), config.Suggest(s.Holidays.Calendar, calendarNames()))
		}
	}
}

func checkFreezes(f *file, r *config.Report, zone *time.Location) {
	for i, z := range f.Freezes {
		if z.From.Given() && z.To.Given() && !z.To.In(zone).After(z.From.In(zone)) {
			r.At("freezes", i, "to").Problem(config.CodeContradiction, "the freeze ends before it begins", "write a later \"to\", or exchange the two")
		}
	}
}

// checkBudget finds a narrow budget that a wide one never lets be used up.
func checkBudget(f *file, r *config.Report) {
	at := r.At("budget")
	pairs := []struct {
		wide, narrow string
		w, n         *allowance
	}{
		{"campaign", "environment", &f.Budget.Campaign, &f.Budget.Environment},
		{"campaign", "stage", &f.Budget.Campaign, &f.Budget.Stage},
		{"environment", "stage", &f.Budget.Environment, &f.Budget.Stage},
	}
	for _, p := range pairs {
		if *p.w < 0 || *p.n >= 0 && *p.n <= *p.w {
			continue
		}
		if !at.At(p.narrow).Given() {
			*p.n = *p.w // a default gives way to what is said
			continue
		}
		if at.At(p.wide).Given() && *p.n > *p.w {
			at.At(p.narrow).Problem(config.CodeContradiction, fmt.Sprintf("a budget of %d is never used up: %q stops everything after %d", *p.n, p.wide, *p.w), fmt.Sprintf("write at most %d, or raise %q", *p.w, p.wide))
		}
	}
}

func checkSwitch(f *file, r *config.Report) {
	s, at := f.Switch, r.At("switch")
	given := func(keys ...string) config.Spot {
		for _, k := range keys {
			if at.At(k).Given() {
				return at.At(k)
			}
		}
		return at
	}
	if s.HoldTTL > 0 && 2*s.Drain > s.HoldTTL {
		given("drain", "hold_ttl").Problem(config.CodeContradiction, fmt.Sprintf("a drain of %s leaves too little of a hold of %s to demote, promote and undo", config.FormatDuration(s.Drain), config.FormatDuration(s.HoldTTL)),
			fmt.Sprintf("write a drain of at most %s, or a longer hold_ttl", config.FormatDuration(s.HoldTTL/2)))
	}
	if need := time.Duration(s.Tries) * s.HoldTTL; need > s.Timeout && s.Timeout > 0 {
		given("timeout", "tries", "hold_ttl").Problem(config.CodeContradiction, fmt.Sprintf("%d tries of %s don't fit into a timeout of %s", s.Tries, config.FormatDuration(s.HoldTTL), config.FormatDuration(s.Timeout)),
			fmt.Sprintf("write a timeout of at least %s, or fewer tries", config.FormatDuration(need)))
	}
	if s.MaxLag > s.Timeout && s.Timeout > 0 {
		given("max_lag", "timeout").Problem(config.CodeContradiction, fmt.Sprintf("a lag of %s can't be caught up within a timeout of %s", config.FormatDuration(s.MaxLag), config.FormatDuration(s.Timeout)), "write a smaller max_lag")
	}
}
