package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Shape is how rules are written in a file: a document of its own, or part of a campaign's.
type Shape struct {
	MinTime         time.Duration     `yaml:"min_time" rule:"max=90d" doc:"time of production that must have been replayed" example:"2d"`
	MinStatements   float64           `yaml:"min_statements" rule:"min=0 max=1" doc:"share of the statements that could be replayed which must have been" example:"0.9"`
	MinFingerprints float64           `yaml:"min_fingerprints" rule:"min=0 max=1" doc:"share of the statements whose fingerprint must have been replayed" example:"0.95"`
	MinCompared     float64           `yaml:"min_compared" rule:"min=0 max=1" doc:"share of the replayed statements that must have had an answer to compare with" example:"0.9"`
	MinLatency      float64           `yaml:"min_latency" rule:"min=0 max=1" doc:"share of the replayed statements whose times must be known well enough" example:"0.8"`
	Leeway          float64           `yaml:"leeway" rule:"min=0 max=1" doc:"share of a fingerprint's statements that may differ; a syntax error has none" example:"0.001"`
	Latency         shapeLatency      `yaml:"latency" doc:"when a query counts as slower" example:"{factor: 1.2, budget: 10s}"`
	Levels          map[string]string `yaml:"levels" rule:"oneof=fail|warn|note" doc:"what a kind of finding does" example:"{order: fail, columns: warn}"`
	Ignore          []shapeIgnore     `yaml:"ignore" doc:"findings that do not count"`
}

type shapeLatency struct {
	Pairs    int           `yaml:"pairs" rule:"min=6 max=400" doc:"times on both versions that a judgement of a fingerprint needs" example:"15"`
	Factor   float64       `yaml:"factor" rule:"min=1 max=1000" doc:"it must be at least so many times slower" example:"1.2"`
	Budget   time.Duration `yaml:"budget" rule:"max=1d" doc:"time that it may add to an hour of production" example:"10s"`
	FDR      float64       `yaml:"false_discovery" rule:"min=0 max=1" doc:"of all queries that are called slower, the share that may be so by chance" example:"0.05"`
	Interval float64       `yaml:"confidence" rule:"min=0.5 max=1" doc:"confidence of the intervals" example:"0.95"`
}

type shapeIgnore struct {
	Fingerprint string      `yaml:"fingerprint" doc:"of the query, 16 hexadecimal digits; or like" example:"\"9f86d081884c7d65\""`
	Like        string      `yaml:"like" rule:"min=3" doc:"pattern of LIKE for the query's normal form, such as a report shows it" example:"\"select version%\""`
	Kinds       []string    `yaml:"kinds" rule:"nonempty unique" doc:"kinds of findings; absent: all but syntax" example:"[content, order]"`
	Who         string      `yaml:"who" rule:"required nonempty" doc:"who says so" example:"mira"`
	Why         string      `yaml:"why" rule:"required nonempty max=300" doc:"why it does not matter" example:"the page shows no dates after 2038"`
	Expires     config.Date `yaml:"expires" rule:"required" doc:"the first day on which it does not count any more" example:"2027-03-01"`
}

// Kind is a document of rules alone. Its objects are of type Rules.
func Kind() config.Kind {
	return config.Define("ReplayRules", "what a replay of captured queries is judged by", ShapeDefaults, func(s *Shape, r *config.Report) Rules {
		rules := s.Rules(r.At())
		rules.Retests = false // a campaign runs retests, the command does not
		return rules
	})
}

// ShapeDefaults is the shape of Once: a file with nothing but an ignore rule changes nothing else.
func ShapeDefaults() Shape { return ShapeOf(Once()) }

// ShapeOf writes rules as a shape, such as the defaults of a document.
func ShapeOf(r Rules) Shape {
	s := Shape{MinTime: r.MinTime, MinStatements: r.MinStatements, MinFingerprints: r.MinFingerprints, MinCompared: r.MinCompared, MinLatency: r.MinLatency, Leeway: r.Leeway,
		Latency: shapeLatency{r.Latency.Least, r.Latency.Factor, r.Latency.Budget, r.Latency.FDR, r.Latency.Interval}, Levels: map[string]string{}}
	for k, l := range r.Levels {
		s.Levels[string(k)] = string(l)
	}
	return s
}

// Rules makes rules of the shape, which stands at that place of its file.
func (s *Shape) Rules(at config.Spot) Rules {
	r := Rules{MinTime: s.MinTime, MinStatements: s.MinStatements, MinFingerprints: s.MinFingerprints, MinCompared: s.MinCompared, MinLatency: s.MinLatency, Leeway: s.Leeway, Retests: true,
		Latency: LatencyRules{s.Latency.Pairs, s.Latency.Factor, s.Latency.Budget, s.Latency.FDR, s.Latency.Interval}, Levels: map[compare.Kind]Level{}}
	for _, name := range slices.Sorted(maps.Keys(s.Levels)) {
		k, level := compare.Kind(name), Level(s.Levels[name])
		switch spot := at.At("levels", name); {
		case !known(k):
			spot.KeyProblem(config.CodeValue, fmt.Sprintf("there is no kind of finding %q", name), "write one of "+kinds())
		case (k == compare.Syntax || k == compare.Conflict) && level != Fail:
			spot.Problem(config.CodeContradiction, fmt.Sprintf("a finding of kind %s always fails", name), "remove it; an ignore rule with who, why and expires lets one query through")
		}
		r.Levels[k] = level
	}
	for i, g := range s.Ignore {
		r.Ignore = append(r.Ignore, g.rule(at.At("ignore", i)))
	}
	return r
}

func (g shapeIgnore) rule(at config.Spot) Ignore {
	out := Ignore{Fingerprint: strings.ToLower(g.Fingerprint), Like: g.Like, Who: g.Who, Why: g.Why, Expires: day(g.Expires)}
	switch {
	case g.Fingerprint == "" && g.Like == "":
		at.Problem(config.CodeMissing, "it is not said which query this is about", "add \"fingerprint:\" with the one in the report, or \"like:\" with a pattern")
	case g.Fingerprint != "" && g.Like != "":
		at.At("like").Problem(config.CodeContradiction, "a fingerprint is given, too", "keep one of the two")
	}
	if g.Fingerprint != "" {
		var f tally.Fingerprint
		if err := f.UnmarshalText([]byte(g.Fingerprint)); err != nil || len(g.Fingerprint) != 16 {
			at.At("fingerprint").Problem(config.CodeValue, fmt.Sprintf("%q is no fingerprint", g.Fingerprint), "write the 16 hexadecimal digits that the report shows")
		}
	}
	if strings.Trim(g.Like, "%_ ") == "" && g.Like != "" {
		at.At("like").Problem(config.CodeValue, fmt.Sprintf("%q fits every query", g.Like), "write some of the query's own words")
	}
	for i, name := range g.Kinds {
		k := compare.Kind(name)
		if !known(k) {
			at.At("kinds", i).Problem(config.CodeValue, fmt.Sprintf("there is no kind of finding %q", name), "write one of "+kinds())
		}
		out.Kinds = append(out.Kinds, k)
	}
	return out
}

func known(k compare.Kind) bool { return slices.Contains(compare.Kinds(), k) }

func kinds() string {
	var names []string
	for _, k := range compare.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func day(d config.Date) time.Time {
	t, err := time.Parse(time.DateOnly, d.String())
	if err != nil {
		return time.Time{} // it was absent, which is a problem of its own
	}
	return t
}
