package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Checkpoint keeps what a replay has counted. Save replaces what was there in one step; Load gives nil if there is nothing.
type Checkpoint interface {
	Load(ctx context.Context) ([]byte, error)
	Save(ctx context.Context, data []byte) error
}

// runOf is a run of a gateway's process.
type runOf struct {
	Gateway string `json:"gateway"`
	Run     uint64 `json:"run"`
}

// edge is what is known at a segment's end, for what is missing before the next.
type edge struct {
	Seq     uint64            `json:"seq"`
	Dropped map[string]uint64 `json:"dropped,omitempty"`
}

// part is a segment with what its statements came to.
type part struct {
	segment store.Segment
	edge    edge
	mu      sync.Mutex
	tally   tally.Tally
	pending atomic.Int64 // statements that have not ended, and the reader, as long as it reads it
	cut     atomic.Bool  // the replay's end broke something of it off: it is for whoever goes on
}

func newPart(s store.Segment) *part {
	p := &part{segment: s}
	p.pending.Store(1)
	return p
}

// done says that one of its statements has ended, or that it was read.
func (p *part) done(l *ledger) {
	if p.pending.Add(-1) == 0 {
		l.whole(p)
	}
}

// progress is what is done of a run.
type progress struct {
	Low  uint64          `json:"low"`            // all segments up to this one are done
	Edge edge            `json:"edge"`           // of that one
	Done map[uint64]edge `json:"done,omitempty"` // and these beyond it, with theirs
}

// ledger adds the parts up, and writes them down.
type ledger struct {
	to       Checkpoint
	identity string
	share    Share
	apart    time.Duration // between two writes, at the least

	mu     sync.Mutex
	total  tally.Tally
	runs   map[runOf]*progress
	parts  map[*part]bool // that are not whole
	follow bool           // the capture goes on, and whatever end there is, is somebody's who ended it
	over   bool           // all of the source was replayed
	dirty  bool
	wake   chan struct{}
	save   sync.Mutex
}

// file is what is written down.
type file struct {
	Format   int         `json:"format"`
	Identity string      `json:"identity"`
	Share    Share       `json:"share,omitzero"`
	Follow   bool        `json:"follow,omitempty"` // the capture went on
	Over     bool        `json:"over,omitempty"`   // all that there was, or was asked for, is counted
	Runs     []runState  `json:"runs"`
	Tally    tally.Tally `json:"tally"`
}

// format of what is written down.
const format = 1

type runState struct {
	runOf
	progress
}

func newLedger(to Checkpoint, identity string, share Share) *ledger {
	return &ledger{to: to, identity: identity, share: share, runs: map[runOf]*progress{}, parts: map[*part]bool{}, wake: make(chan struct{}, 1)}
}

func (l *ledger) load(ctx context.Context) error {
	if l.to == nil {
		return nil
	}
	b, err := l.to.Load(ctx)
	if err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	if len(b) == 0 {
		return nil
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	if f.Format != format || f.Identity != l.identity || f.Share != l.share {
		return fmt.Errorf("%w: %q (share %v), not %q (share %v)", ErrIdentity, f.Identity, f.Share, l.identity, l.share)
	}
	l.total = f.Tally
	for _, r := range f.Runs {
		if r.Done == nil {
			r.Done = map[uint64]edge{}
		}
		l.runs[r.runOf] = &r.progress
	}
	return nil
}

// began notes when the replay began, if that is not known from before.
func (l *ledger) began(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total.Began.IsZero() {
		l.total.Began = at.UTC()
	}
}

func (l *ledger) of(s store.Segment) *progress {
	key := runOf{s.Gateway, s.Run}
	p := l.runs[key]
	if p == nil { // the first segment of a run says from where on it is counted
		p = &progress{Low: max(s.Index, 1) - 1, Done: map[uint64]edge{}}
		l.runs[key] = p
	}
	return p
}

// stands says what of a segment was done before: all up to it, with what was known there at its end; or it alone.
func (l *ledger) stands(s store.Segment) (below, done bool, at edge) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.runs[runOf{s.Gateway, s.Run}]
	if p == nil {
		return false, false, edge{}
	}
	_, done = p.Done[s.Index]
	return s.Index <= p.Low, done || s.Index <= p.Low, p.Edge
}

// begin takes a part in that is read from now on.
func (l *ledger) begin(s store.Segment) *part {
	p := newPart(s)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts[p] = true
	l.of(s)
	return p
}

// whole merges a part whose statements have all ended, unless the replay's end was the end of one of them.
func (l *ledger) whole(p *part) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts[p] && !p.cut.Load() {
		l.merge(p)
	}
}

// merge adds a part up. The lock is held.
func (l *ledger) merge(p *part) {
	delete(l.parts, p)
	l.total.Merge(&p.tally)
	l.of(p.segment).Done[p.segment.Index] = p.edge
	l.advance(p.segment)
	l.dirty = true
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// advance moves the mark up over what is done without a hole. A segment that is lost, and will never be done, is a hole; what comes behind it is held by its number alone.
func (l *ledger) advance(s store.Segment) {
	run := l.of(s)
	open := uint64(math.MaxUint64) // the lowest that is being read
	for p := range l.parts {
		if p.segment.Gateway == s.Gateway && p.segment.Run == s.Run {
			open = min(open, p.segment.Index)
		}
	}
	for _, index := range slices.Sorted(maps.Keys(run.Done)) {
		if index != run.Low+1 && index > open {
			return
		}
		run.Low, run.Edge = index, run.Done[index]
		delete(run.Done, index)
	}
}

// learned is how a fingerprint's answers differ from themselves.
func (l *ledger) learned(f tally.Fingerprint) compare.Noise {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.total.Learned(f)
	n.Kinds = maps.Clone(n.Kinds)
	return n
}

// run writes down what changed, as it changes, and not too often.
func (l *ledger) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		if err := l.write(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(l.apart):
		}
	}
}

// finish writes the rest down, and whether it came to the source's end.
func (l *ledger) finish(ctx context.Context, over bool) error {
	l.mu.Lock()
	for p := range l.parts {
		if over && p.pending.Load() == 0 { // nobody goes on
			l.merge(p)
		}
	}
	l.over, l.dirty = over, l.dirty || l.over != over || len(l.runs) > 0 // also when it was
	l.mu.Unlock()
	return l.write(ctx)
}

func (l *ledger) write(ctx context.Context) error {
	if l.to == nil {
		return nil
	}
	l.save.Lock()
	defer l.save.Unlock()
	l.mu.Lock()
	if !l.dirty {
		l.mu.Unlock()
		return nil
	}
	l.dirty = false
	f := file{Format: format, Identity: l.identity, Share: l.share, Follow: l.follow, Over: l.over}
	for key, p := range l.runs {
		f.Runs = append(f.Runs, runState{key, *p})
	}
	f.Tally = l.total
	f.Tally.Ended = time.Now().UTC()
	b, err := json.Marshal(f) // under the lock: the tally is not copied
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	if err := l.to.Save(ctx, b); err != nil {
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		return fmt.Errorf("write the checkpoint: %w", err)
	}
	return nil
}

// result is all that was counted, also of segments that are not whole.
func (l *ledger) result(now time.Time) *tally.Tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := &tally.Tally{}
	t.Merge(&l.total)
	for p := range l.parts {
		p.mu.Lock()
		t.Merge(&p.tally)
		p.mu.Unlock()
	}
	t.Ended = now.UTC()
	return t
}
