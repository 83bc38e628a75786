package tap

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/windlass-db/windlass/internal/capture"
)

// span is a part of a chunk's data.
type span struct{ from, size uint32 }

// record is an event in the ring. It has no pointers: nobody has to look at it when memory is cleaned up.
type record struct {
	kind     capture.EventKind
	command  byte
	withheld byte
	flags    byte
	sqlState [5]byte
	errno    uint16
	warnings uint16
	status   uint16
	charset  uint16
	number   uint32 // of the prepared statement
	big      int32  // of a large payload: its place in the chunk, plus 1
	payload  span
	types    span
	more     span // user, schema and settings of a Session; GTID of an End

	seq, conn, epoch, txn, cut, lost, of uint64
	at, firstByte, took                  int64
	affected, insertID                   uint64
	columns, rows, bytes                 uint64
	ordered, multiset                    uint64
}

// Flags of a record.
const (
	flagUnfinished  = 1 << iota
	flagPartial     // of a Session's settings
	flagNoBackslash // the text is of a session in which \ is a character as any other
)

// What things in the ring count for.
const (
	recordSize = int(unsafe.Sizeof(record{}))
	// endSize is set aside for the answer of each statement that is kept, with a GTID, and closeSize for the end of each connection.
	endSize   = recordSize + mostGTID
	closeSize = recordSize
	mostGTID  = 256

	chunkSize = 128 << 10
	// large payloads are copied before the lock is taken, and lie beside the chunk.
	large = 16 << 10
	spare = 8 // chunks that are kept for the next events
)

// chunk is what the writer takes at once.
type chunk struct {
	file    uint64 // the generation of files that it is for
	records []record
	data    []byte
	big     [][]byte
	cost    int
}

func (c *chunk) bytes(s span) []byte { return c.data[s.from:][:s.size:s.size] }

func (c *chunk) keep(b []byte) span {
	if len(b) == 0 {
		return span{}
	}
	s := span{uint32(len(c.data)), uint32(len(b))}
	c.data = append(c.data, b...)
	return s
}

// ring is what sessions have said and nobody has written yet, bounded in bytes.
type ring struct {
	wake chan struct{}
	fill atomic.Int32 // in 1/256 of the limit

	mu     sync.Mutex
	limit  int
	used   int // in chunks that are not written yet, and of large statements on their way
	owed   int // set aside for answers and closes
	ends   int // answers that are awaited
	seq    uint64
	file   uint64
	now    *chunk
	full   []*chunk
	free   []*chunk
	taken  *chunk // that the writer has at hand
	closed bool
}

func newRing(limit int) *ring {
	r := &ring{wake: make(chan struct{}, 1), limit: limit, file: 1}
	r.now = r.chunk()
	return r
}

// chunk gives an empty one. mu is held, or nobody else knows the ring.
func (r *ring) chunk() *chunk {
	if n := len(r.free); n > 0 {
		c := r.free[n-1]
		r.free = r.free[:n-1]
		c.file = r.file
		return c
	}
	return &chunk{file: r.file, records: make([]record, 0, chunkSize/recordSize+8), data: make([]byte, 0, chunkSize/2)}
}

// room reports whether so much can come, and something can be set aside for later. mu is held.
func (r *ring) room(cost, later int) bool { return !r.closed && r.used+r.owed+cost+later <= r.limit }

// append adds a record whose data is in the present chunk already. mu is held.
func (r *ring) append(rec *record, cost int) {
	r.seq++
	rec.seq = r.seq
	c := r.now
	c.records = append(c.records, *rec)
	c.cost += cost
	r.used += cost
}

// settle wakes the writer if there is enough for it. mu is held.
func (r *ring) settle() {
	r.fill.Store(int32(int64(r.used+r.owed) * 256 / int64(r.limit)))
	if r.now.cost < chunkSize {
		return
	}
	r.full = append(r.full, r.now)
	r.now = r.chunk()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take gives the oldest chunk that is full, if it is for a file before that generation (0: for any); with all also one that is not full; nil if there is none.
func (r *ring) take(all bool, before uint64) *chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case len(r.full) > 0 && (before == 0 || r.full[0].file < before):
		r.taken = r.full[0]
		r.full = r.full[1:]
	case len(r.full) == 0 && all && len(r.now.records) > 0:
		r.taken = r.now
		r.now = r.chunk()
	default:
		return nil
	}
	return r.taken
}

// release gives a chunk's room back after it was written.
func (r *ring) release(c *chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= c.cost
	r.taken = nil
	r.fill.Store(int32(int64(r.used+r.owed) * 256 / int64(r.limit)))
	if len(r.free) < spare && cap(c.data) <= 4*chunkSize {
		clear(c.big)
		*c = chunk{records: c.records[:0], data: c.data[:0], big: c.big[:0]}
		r.free = append(r.free, c)
	}
}

// turn begins another generation of files: what comes from now on is not in the file of what came before.
func (r *ring) turn() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.file++
	if len(r.now.records) > 0 {
		r.full = append(r.full, r.now)
		r.now = r.chunk()
	}
	r.now.file = r.file
	return r.file
}

// close takes nothing any more.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
}

// awaited is how many answers are still to come.
func (r *ring) awaited() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends
}

// oldest is when the oldest event was that is not written.
func (r *ring) oldest() (at int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.now
	switch {
	case r.taken != nil:
		c = r.taken
	case len(r.full) > 0:
		c = r.full[0]
	}
	if len(c.records) == 0 {
		return 0, false
	}
	return c.records[0].at, true
}

// borrow sets room aside for a large statement that is on its way.
func (r *ring) borrow(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.room(n, 0) {
		return false
	}
	r.used += n
	return true
}

// giveBack is for one that did not come.
func (r *ring) giveBack(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
}
