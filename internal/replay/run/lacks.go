package run

import (
	"github.com/windlass-db/windlass/internal/capture/source"
	"github.com/windlass-db/windlass/internal/replay/compare"
)

// lacks are the fields of an answer that mean nothing in a capture from there.
func lacks(from string) compare.Lacks {
	if from == "" { // a gateway
		return 0
	}
	var out compare.Lacks
	of := source.Lacks(from)
	for _, l := range []struct {
		in  source.Lack
		out compare.Lacks
	}{
		{source.LacksHash, compare.LacksContent}, {source.LacksColumns, compare.LacksColumns}, {source.LacksRows, compare.LacksRows}, {source.LacksErrors, compare.LacksError},
		{source.LacksAffected, compare.LacksAffected}, {source.LacksWarnings, compare.LacksWarnings}, {source.LacksStatus, compare.LacksStatus},
	} {
		if of&l.in != 0 {
			out |= l.out
		}
	}
	return out
}
