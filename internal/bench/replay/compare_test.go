package replay

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/rowhash"
)

// BenchmarkCompare: what it costs to compare a row of 240 bytes of an answer with a captured one: its hash as it comes, and at the end what Decide makes of the two; the goal is 20 ns. In turns with it, what
// the same rows cost that are hashed by xxh3 and nothing else.
func BenchmarkCompare(b *testing.B) {
	const rows, bytes, answers, rounds = 200, 240, 200, 90 // a read of a connection holds about as many
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
	var sum uint64
	for b.Loop() {
		var ours, plain []float64
		for range rounds {
			began := processor(b)
			for range answers {
				ask, outcome := compare.Decide(compare.Round{Traits: query.Reads, Captured: &captured, New: hashed()})
				if ask != compare.Done || !outcome.Same {
					b.Fatal(ask, outcome)
				}
			}
			between := processor(b)
			for range answers {
				for _, row := range payload {
					sum += xxh3.Hash(row)
				}
			}
			ours = append(ours, float64((between-began).Nanoseconds())/(rows*answers))
			plain = append(plain, float64((processor(b)-between).Nanoseconds())/(rows*answers))
		}
		slices.Sort(ours)
		slices.Sort(plain)
		// What others do on the machine only adds to it. The very least is now and then what the clock has lost.
		b.ReportMetric(ours[rounds/10], "ns/row")
		b.ReportMetric(ours[rounds/2], "median-ns/row")
		b.ReportMetric(plain[rounds/10], "xxh3-ns/row")
		b.ReportMetric(plain[rounds/2], "median-xxh3-ns/row")
		b.ReportMetric(0, "ns/op")
	}
	runtime.KeepAlive(sum)
}

// processor is the processor's time that this thread has had: the machine may do other things beside it.
func processor(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}
