package replay

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/rowhash"
)

// BenchmarkCompare: what it costs to compare a row of 240 bytes of an answer with a captured one: its hash as it comes, and at the end what Decide makes of the two; the goal is 20 ns.
func BenchmarkCompare(b *testing.B) {
	const rows, bytes, answers, rounds = 200, 240, 2000, 9 // a read of a connection holds about as many
	payload := make([][]byte, rows)
	for i := range payload {
		payload[i] = make([]byte, bytes)
		for j := range payload[i] {
			payload[i][j] = byte(i * (j + 1))
		}
	}
	hashed := func() compare.Answer {
		var h rowhash.Hash
		for _, row := range payload {
			h.Row(row)
		}
		return compare.Answer{Rows: h.Rows(), Bytes: h.Bytes(), Ordered: h.Ordered(), Multiset: h.Multiset(), Columns: 5}
	}
	captured := hashed()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for b.Loop() {
		var costs []float64
		for range rounds {
			began := processor(b)
			for range answers {
				ask, outcome := compare.Decide(compare.Round{Traits: query.Reads, Captured: &captured, New: hashed()})
				if ask != compare.Done || !outcome.Same {
					b.Fatal(ask, outcome)
				}
			}
			costs = append(costs, float64((processor(b)-began).Nanoseconds())/(rows*answers))
		}
		b.ReportMetric(slices.Min(costs), "ns/row") // what others do on the machine only adds to it
		b.ReportMetric(0, "ns/op")
	}
}

// processor is the processor's time that this thread has had: the machine may do other things beside it.
func processor(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
