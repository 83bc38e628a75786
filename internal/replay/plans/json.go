package plans

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// operational are the members of FORMAT=JSON that say what is done, and that both versions name alike.
var operational = []string{"filesort", "temporary_table", "materialized", "duplicates_removal", "range-checked-for-each-record", "union_result", "rowid_filter", "index_merge", "window_functions_computation", "block-nl-join"}

// operations counts what a plan of FORMAT=JSON does. Older servers write one member several times in an object, so that it is read as a stream. What can't be read is nothing.
func operations(text []byte) map[string]int {
	out := map[string]int{}
	d := json.NewDecoder(bytes.NewReader(text))
	name := true // the next string is a member's name
	var in []bool
	for {
		t, err := d.Token()
		if err != nil {
			return out
		}
		switch v := t.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				in = append(in, v == '{')
			default:
				in = in[:len(in)-1]
			}
			name = len(in) > 0 && in[len(in)-1]
			continue
		case string:
			if name && len(in) > 0 && in[len(in)-1] {
				if slices.Contains(operational, v) {
					out[v]++
				}
				name = false
				continue
			}
		}
		name = len(in) > 0 && in[len(in)-1]
	}
}

func operationDiff(old, new map[string]int) []Change {
	if old == nil || new == nil {
		return nil
	}
	var out []Change
	for _, name := range operational {
		if name == "filesort" || name == "temporary_table" { // the classic form has told of them
			continue
		}
		if a, b := old[name], new[name]; a != b {
			out = append(out, Change{What: fmt.Sprintf("%s: %d → %d", strings.ReplaceAll(name, "_", " "), a, b)})
		}
	}
	return out
}
