// Package tap keeps what clients say to a gateway, and what servers answer, in capture files.
//
// # Model
//
// Each client connection has a Session. What it hands over goes into the Tap's ring, in memory: a copy, under a lock that is held for a few hundred
// nanoseconds. One goroutine, Run, takes it out of there, masks it, encodes and compresses it, and writes files into a spool folder. From there a shipper
// takes them; this package knows nothing of where they go.
//
// A Session knows what its connection is (user, schema, the SET statements in force) whether or not anything is kept, so that capture can begin in the
// middle of it. It tells that to each file before its first event there.
//
// # Invariants
//
//   - Nothing here waits for a disk but Run. A statement that finds no room in the ring is dropped and counted. Room for its answer is set aside with it, so
//     a statement that was kept has its answer, too.
//   - started = kept + waiting + dropped, by reason, at every time; each block of a file says what was dropped so far.
//   - A statement that holds or may hold a credential has no text in any file.
//   - Every file can be read alone: whatever it needs of older ones is told in it again.
//
// # Failure
//
// A disk that is full or slow, or a folder that is gone, costs events, never a session: the ring fills, first statements that come often are sampled
// by fingerprint (`overload`), then all are dropped (`full`). What could not be written counts as `disk`. A killed process leaves a file that is whole up to
// its last block.
package tap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
)

// Statements says which ones are kept.
type Statements string

// Selects keeps what reads, and what changes a session; writes within a transaction are kept without their text, others are dropped.
const (
	All     Statements = "all"
	Selects Statements = "selects"
)

// Config says what is kept, and where.
type Config struct {
	Gateway    string
	Run        uint64 // of this capture: no other one of the gateway has it
	Folder     string // of the spool
	Key        *capture.Key
	Mask       []byte // key of the literals' hashes; nil: they stay as they are
	Statements Statements
	Sample     float64       // of the statements of each fingerprint; 1: all
	Rotate     int64         // bytes after which a file ends
	Every      time.Duration // and the time
	Quota      int64         // bytes of all files of the gateway in the spool
	Ring       int           // bytes in memory
	Flush      time.Duration // how long an event is held back at the most before it is written
	Started    time.Time     // what the clock counts from

	retry time.Duration // after which it is tried again when a write has failed; 0: a second

	// Server says what is behind the gateway now.
	Server func() (kind, version string)
	// Open makes a new file; nil: in the file system. Tests of slow and full disks have their own.
	Open func(path string) (File, error)
}

// Reasons for which statements are dropped.
const (
	Sampled  = "sample"   // by the setting
	Overload = "overload" // sampled by fingerprint, because the ring fills
	Full     = "full"     // the ring was full
	Kind     = "kind"     // a write, and SELECTs alone are kept
	Disk     = capture.DroppedDisk
	Ends     = capture.DroppedEnds // answers alone
	Quota    = "quota"             // in files that were deleted for newer ones
	Closing  = "closing"           // capture was being switched off

	// QuotaEarlier are those in deleted files of captures before this one, which did not see them.
	QuotaEarlier = "quota-earlier"
)

// reason is an index of what the sessions drop for.
type reason int

const (
	bySample reason = iota
	byOverload
	byFull
	byKind
	byClosing
	reasonCount
)

var reasons = [reasonCount]string{Sampled, Overload, Full, Kind, Closing}

// Tap is one capture, from start to stop.
type Tap struct {
	cfg     Config
	log     *slog.Logger
	ring    *ring
	started atomic.Uint64
	conns   atomic.Uint64 // that have told something
	dropped [reasonCount]atomic.Uint64
	samples table // by setting
	squeeze table // by the ring's fill
	stopped atomic.Bool

	mu     sync.Mutex
	status Status // what Run knows
}

// Status is what a tap says of itself. Started = Kept + Waiting + the sum of Dropped, but for Ends and QuotaEarlier in it.
type Status struct {
	Since   time.Time
	Started uint64            // statements
	Kept    uint64            // in files
	Waiting uint64            // in memory
	Dropped map[string]uint64 // by reason
	Events  uint64            // written, of all kinds
	Files   uint64            // begun
	Bytes   uint64            // written
	Spool   int64             // bytes that all of the gateway's files have in the spool
	Lag     time.Duration     // age of the oldest event in memory
	Err     string            // of the last write, if it failed
}

// New checks the settings. Nothing is kept before Run.
func New(cfg Config, log *slog.Logger) (*Tap, error) {
	switch {
	case cfg.Folder == "":
		return nil, errors.New("capture: no folder")
	case cfg.Statements != All && cfg.Statements != Selects:
		return nil, fmt.Errorf("capture: statements %q are neither %q nor %q", cfg.Statements, All, Selects)
	case math.IsNaN(cfg.Sample) || cfg.Sample <= 0 || cfg.Sample > 1:
		return nil, fmt.Errorf("capture: a sample of %v is not above 0 and at the most 1", cfg.Sample)
	case cfg.Rotate <= 0 || cfg.Every <= 0 || cfg.Quota <= 0 || cfg.Ring <= 0 || cfg.Flush <= 0:
		return nil, errors.New("capture: sizes and times have to be above 0")
	case cfg.Started.IsZero() || cfg.Server == nil:
		return nil, errors.New("capture: clock and server are needed")
	}
	if cfg.Open == nil {
		cfg.Open = openFile
	}
	if cfg.retry == 0 {
		cfg.retry = retryAfter
	}
	t := &Tap{cfg: cfg, log: log}
	t.ring = newRing(cfg.Ring)
	t.status.Since = time.Now()
	return t, nil
}

// Clock is the time in the unit of a Statement's At.
func (t *Tap) Clock() int64 { return int64(time.Since(t.cfg.Started)) }

// Stop takes no new statement from now on; answers that are awaited are still taken. Run ends when its context does.
func (t *Tap) Stop() { t.stopped.Store(true) }

// Status says how it is going. It waits for no disk.
func (t *Tap) Status() Status {
	t.mu.Lock()
	st := t.status
	st.Dropped = map[string]uint64{}
	for reason, n := range t.status.Dropped {
		st.Dropped[reason] = n
	}
	t.mu.Unlock()
	for r, name := range reasons {
		if n := t.dropped[r].Load(); n > 0 {
			st.Dropped[name] = n
		}
	}
	st.Started = t.started.Load()
	gone := st.Kept
	for reason, n := range st.Dropped {
		if reason != Ends && reason != QuotaEarlier {
			gone += n
		}
	}
	if st.Started > gone {
		st.Waiting = st.Started - gone
	}
	if oldest, ok := t.ring.oldest(); ok {
		st.Lag = max(time.Duration(t.Clock()-oldest), 0)
	}
	return st
}

// Run writes until the context ends, and then what is in the ring, for as long as the answers that are awaited take, within limits. Its error is that of
// something that can't be: a disk's trouble is counted, and gone on after. What can't be is no reason to end the process, which has clients: from then on
// all statements are dropped.
func (t *Tap) Run(ctx context.Context) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("capture has a defect, and is off: %v", r)
			t.log.Error("capture is off", "err", err, "stack", string(debug.Stack()))
			t.giveUp(err)
		}
	}()
	w, err := newSpooler(t)
	if err != nil {
		return err
	}
	defer w.end()
	tick := time.NewTicker(t.cfg.Flush)
	defer tick.Stop()
	for {
		select {
		case <-t.ring.wake:
			w.write(false)
		case <-tick.C:
			w.write(true)
		case <-ctx.Done():
			t.drain(w)
			return nil
		}
	}
}

// giveUp takes nothing any more, and counts what was not written.
func (t *Tap) giveUp(err error) {
	t.Stop()
	t.ring.close()
	waiting := t.Status().Waiting
	t.mu.Lock()
	defer t.mu.Unlock()
	t.status.Err = err.Error()
	if t.status.Dropped == nil {
		t.status.Dropped = map[string]uint64{}
	}
	t.status.Dropped[Disk] += waiting
}

// lastAnswers is how long a tap that ends waits for the answers of statements that it has kept.
const lastAnswers = 2 * time.Second

func (t *Tap) drain(w *spooler) {
	t.Stop()
	over := time.NewTimer(lastAnswers)
	defer over.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for waiting := true; waiting && t.ring.awaited() > 0; {
		select {
		case <-t.ring.wake:
			w.write(false)
		case <-look.C:
		case <-over.C:
			waiting = false
		}
	}
	t.ring.close()
	w.write(true)
}
