package query

import (
	"runtime"
	"slices"
	"testing"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"
)

// processor reports the processor's time of f, in nanoseconds: the median and the least of batches. The time by the wall says little where others are at work.
func processor(b *testing.B, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const batch = 500
	var took []float64
	b.ReportAllocs()
	for b.Loop() {
		before := threadTime(b)
		for range batch {
			f()
		}
		took = append(took, float64(threadTime(b)-before)/batch)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "cpu-ns")
	b.ReportMetric(took[0], "least-cpu-ns")
	b.ReportMetric(0, "ns/op") // of a batch, which would mislead
}

func threadTime(b *testing.B) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return ts.Nano()
}

// BenchmarkFingerprint is one of a statement of 430 bytes, as it is and without the shortcut, on another statement each time: a processor learns a single one by heart. The goal is 1 µs.
// Beside them is what nothing can be below: a hash of the same text, and a look at each of its bytes in a table.
func BenchmarkFingerprint(b *testing.B) {
	buf, one, others := make([]byte, 0, 2048), []byte(long), variants()
	i := 0
	b.Run("one", func(b *testing.B) { processor(b, func() { _, buf = Fingerprint(buf, one, Mode{}) }) })
	b.Run("others", func(b *testing.B) {
		processor(b, func() { _, buf = Fingerprint(buf, others[i%len(others)], Mode{}); i++ })
	})
	b.Run("one-token-by-token", func(b *testing.B) { processor(b, func() { buf = slow(buf[:0], one, Mode{}) }) })
	b.Run("others-token-by-token", func(b *testing.B) {
		processor(b, func() { buf = slow(buf[:0], others[i%len(others)], Mode{}); i++ })
	})
	var sum uint64
	b.Run("hash-of-the-text", func(b *testing.B) { processor(b, func() { sum += xxh3.Hash(one) }) })
	b.Run("look-at-each-byte", func(b *testing.B) {
		processor(b, func() {
			var seen class
			for _, c := range one {
				seen += classes[c]
			}
			sum += uint64(seen)
		})
	})
}
