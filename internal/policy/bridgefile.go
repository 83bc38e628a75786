package policy

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// BridgeKind is the bridge file's kind of document. Its objects are of type Bridge.
func BridgeKind() config.Kind {
	return config.Define("Bridge", "two versions that are no neighbours, and the evidence that lets them meet", nil, buildBridge)
}

// bridgeFile is the shape of a bridge's document.
type bridgeFile struct {
	Name     string         `yaml:"name" rule:"required name" doc:"the bridge's name" example:"five-to-fourteen"`
	Product  string         `yaml:"product" rule:"required name" doc:"the product" example:"vitess"`
	From     string         `yaml:"from" rule:"required version" doc:"the version that it begins at" example:"5.0"`
	To       string         `yaml:"to" rule:"required version" doc:"the version that it ends at" example:"14.0"`
	Builds   []string       `yaml:"builds" rule:"required nonempty unique" doc:"the builds that were tried together" example:"[\"5.0.1-shop3\", \"14.0.2-shop1\"]"`
	Who      string         `yaml:"who" rule:"required nonempty" doc:"who vouches for it" example:"mira"`
	Evidence []evidenceFile `yaml:"evidence" rule:"required nonempty" doc:"the checks that were made"`
	Expires  config.Date    `yaml:"expires" rule:"required" doc:"the first day on which it is not good any more" example:"2027-03-01"`
}

type evidenceFile struct {
	Check  string      `yaml:"check" rule:"required nonempty" doc:"what was checked" example:"replay of two days of production"`
	Result string      `yaml:"result" rule:"required oneof=pass|fail" doc:"how it ended" example:"pass"`
	At     config.Date `yaml:"at" rule:"required" doc:"when" example:"2026-11-18"`
}

func buildBridge(f *bridgeFile, r *config.Report) Bridge {
	b := Bridge{Name: f.Name, Product: f.Product, From: f.From, To: f.To, Builds: f.Builds, Who: f.Who, Expires: day(f.Expires)}
	for i, e := range f.Evidence {
		b.Evidence = append(b.Evidence, Evidence{e.Check, e.Result, day(e.At)})
		if !b.Expires.IsZero() && day(e.At).After(b.Expires) {
			r.At("evidence", i, "at").Problem(config.CodeContradiction, "the check is dated after the bridge's expiry", "correct one of the dates")
		}
	}
	if len(f.Builds) > 0 && len(f.Builds) != 2 {
		r.At("builds").Problem(config.CodeRange, fmt.Sprintf("%d builds are named", len(f.Builds)), "name the two that were tried together: the old one, then the new one")
	}
	return b
}

func day(d config.Date) time.Time {
	t, err := time.Parse(time.DateOnly, d.String())
	if err != nil {
		return time.Time{} // it was absent, which is a problem of its own
	}
	return t
}
