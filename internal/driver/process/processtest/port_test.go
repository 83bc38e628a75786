package processtest

import "testing"

// TestNoPortIsGivenTwice: of 600 ports the kernel gives some twice.
func TestNoPortIsGivenTwice(t *testing.T) {
	seen := map[int]bool{}
	for range 600 {
		p := FreePort(t)
		if seen[p] {
			t.Fatalf("port %d was given twice", p)
		}
		seen[p] = true
	}
}
