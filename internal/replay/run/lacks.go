package run

import "github.com/windlass-db/windlass/internal/replay/compare"

// lacks are the fields of an answer that mean nothing in a capture from there.
func lacks(from string) compare.Lacks {
	if from == "" { // a gateway
		return 0
	}
	return compare.LacksContent | compare.LacksColumns | compare.LacksRows | compare.LacksError | compare.LacksAffected | compare.LacksWarnings | compare.LacksStatus
}
