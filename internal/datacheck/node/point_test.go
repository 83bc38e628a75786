package node

import "testing"

// The places of several appliers say how far a replica is only if it commits in its source's order. One that does not know the variables, as before MySQL 8.0.26, is not taken
// for one with a single applier.
func TestOrdered(t *testing.T) {
	for _, c := range []struct {
		workers, preserve string
		want              bool
	}{{"4", "ON", true}, {"4", "OFF", false}, {"1", "OFF", true}, {"0", "OFF", true}, {"", "ON", true}, {"", "", false}, {"", "OFF", false}} {
		v := map[string]string{}
		for name, value := range map[string]string{"replica_parallel_workers": c.workers, "replica_preserve_commit_order": c.preserve} {
			if value != "" {
				v[name] = value
			}
		}
		if got := ordered(v); got != c.want {
			t.Errorf("%v: %v", v, got)
		}
	}
}
