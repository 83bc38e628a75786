package sim

import "testing"

func BenchmarkRun(b *testing.B) {
	for i := range b.N {
		if _, err := Run(Config{Seed: uint64(i), Envs: []string{"qa"}, Clusters: 1, Owned: true}); err != nil {
			b.Fatal(err)
		}
	}
}
