package tap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/capture/store/name"
)

// File is a file of the spool while it grows.
type File interface {
	io.WriteCloser
	Truncate(size int64) error
	Sync() error
}

// openFile makes a new file that nobody else takes for one that has ended: it is locked as long as it is open.
func openFile(path string) (File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// spooler is Run's side: it turns chunks into files.
type spooler struct {
	*Tap
	out   *capture.Writer
	mask  *mask
	event capture.Event

	file    File // nil: none
	at      name.File
	began   time.Time
	turn    uint64 // the generation that the file is for
	least   uint64 // what is for files before that one can't be read any more: they were lost with their sessions
	index   uint64 // of the last file
	wall    int64  // wall clock less the tap's clock, in nanoseconds
	retry   time.Time
	failing bool
	kept    uint64 // statements when the file began
	events  uint64
	before  uint64 // events when the file began
	disk    disk
	drops   [reasonCount]uint64 // told to the writer
}

func newSpooler(t *Tap) (*spooler, error) {
	meta := capture.Meta{Gateway: t.cfg.Gateway, Run: t.cfg.Run, Masked: t.cfg.Mask != nil}
	out, err := capture.NewWriter(meta, t.cfg.Key)
	if err != nil {
		return nil, err
	}
	w := &spooler{Tap: t, out: out, disk: disk{root: t.cfg.Folder, gateway: name.Folder(t.cfg.Gateway), quota: t.cfg.Quota}}
	if t.cfg.Mask != nil {
		w.mask = newMask(t.cfg.Mask)
	}
	w.setClock()
	w.on()
	w.disk.look(true)
	return w, nil
}

func (w *spooler) setClock() { w.wall = time.Now().UnixNano() - w.Clock() }

// on says that the capture is on now.
func (w *spooler) on() { w.out.On(time.Unix(0, w.wall+w.Clock()), hold) }

// write takes what is in the ring; with flush also what fills no chunk yet, up to the file.
func (w *spooler) write(flush bool) {
	seen := w.wall + w.Clock()
	w.takeAll(flush, 0)
	if flush {
		if !time.Now().Before(w.retry) {
			w.out.On(time.Unix(0, seen), hold)
		}
		w.flush()
	}
	if w.file != nil && (w.out.Size() >= w.cfg.Rotate || time.Since(w.began) >= w.rotates()) {
		turn := w.ring.turn()
		w.takeAll(false, turn)
		if w.file != nil && w.turn < turn {
			w.finish()
		}
	}
	w.publish()
}

// A file says at least every beat that the capture is on, and a reader may count on it within hold. One that says nothing else lives for a while: a quiet gateway makes few files.
const (
	beat      = 10 * time.Second
	hold      = 15 * time.Second
	quietFile = time.Minute
)

func (w *spooler) rotates() time.Duration {
	if w.events == w.before {
		return max(w.cfg.Every, quietFile)
	}
	return w.cfg.Every
}

func (w *spooler) takeAll(all bool, before uint64) {
	for {
		c := w.ring.take(all, before)
		if c == nil {
			return
		}
		w.chunk(c)
		w.ring.release(c)
	}
}

// chunk writes what is in it.
func (w *spooler) chunk(c *chunk) {
	if w.file != nil && c.file != w.turn {
		w.finish()
	}
	if c.file < w.least {
		w.lose(c.records)
		return
	}
	if time.Now().Before(w.retry) {
		w.least = w.ring.turn() // what sessions told is lost
		w.lose(c.records)
		return
	}
	if w.file == nil {
		if err := w.begin(c.file); err != nil {
			w.fail(err)
			w.lose(c.records)
			return
		}
	}
	for i := range c.records {
		e := w.decode(c, &c.records[i])
		if err := w.out.Add(e); err != nil {
			w.fail(err)
			w.lose(c.records[i:])
			return
		}
		w.events++
	}
}

// decode makes a record an event, without what must not reach a file.
func (w *spooler) decode(c *chunk, r *record) *capture.Event {
	e := &w.event
	*e = capture.Event{Kind: r.kind, Seq: r.seq, Conn: r.conn, At: time.Unix(0, w.wall+r.at), Settings: e.Settings[:0]}
	switch r.kind {
	case capture.Session:
		e.Epoch, e.Charset, e.Partial = r.epoch, r.charset, r.flags&flagPartial != 0
		rest := c.bytes(r.more)
		e.User, rest = cutText(rest)
		e.Schema, rest = cutText(rest)
		for len(rest) > 0 {
			var s string
			s, rest = cutText(rest)
			e.Settings = append(e.Settings, s)
		}
	case capture.Start, capture.Known:
		e.Epoch, e.Command, e.Statement, e.Txn, e.Cut, e.Lost, e.Withheld = r.epoch, r.command, r.number, r.txn, r.cut, r.lost, withheldTexts[r.withheld]
		if r.big > 0 {
			e.Payload = c.big[r.big-1]
		} else {
			e.Payload = c.bytes(r.payload)
		}
		e.Types = c.bytes(r.types)
		if hasText(r) && Credential(e.Payload) {
			e.Payload, e.Withheld, e.Cut = nil, capture.WithheldCredential, 0
		}
	case capture.End:
		e.Of, e.FirstByte, e.Took, e.Errno, e.Warnings, e.Status = r.of, time.Duration(r.firstByte), time.Duration(r.took), r.errno, r.warnings, r.status
		if r.errno != 0 {
			e.SQLState = string(r.sqlState[:])
		}
		e.Affected, e.InsertID, e.Columns, e.Rows, e.Bytes, e.Ordered, e.Multiset = r.affected, r.insertID, r.columns, r.rows, r.bytes, r.ordered, r.multiset
		e.Unfinished = r.flags&flagUnfinished != 0
		if r.more.size > 0 {
			e.GTID = string(c.bytes(r.more))
		}
	}
	if w.mask != nil {
		w.mask.event(e, r.mode())
		e.Ordered, e.Multiset = 0, 0 // a row of which there are few kinds is found by trying them all
	}
	return e
}

// cutText takes a text with its length before it.
func cutText(b []byte) (s string, rest []byte) {
	n, l := binary.Uvarint(b)
	return string(b[l : l+int(n)]), b[l+int(n):]
}

// hasText reports whether the payload is the text of statements.
func hasText(r *record) bool {
	return r.kind == capture.Known || r.command == comQuery || r.command == comPrepare
}

// lose counts records that are not written: statements, and answers to statements that are not among them.
func (w *spooler) lose(records []record) {
	var sent, alone uint64
	for i := range records {
		switch r := &records[i]; r.kind {
		case capture.Start:
			sent++
		case capture.End:
			if r.of < records[0].seq {
				alone++
			}
		}
	}
	if sent > 0 {
		w.out.Drop(Disk, sent)
	}
	if alone > 0 {
		w.out.Drop(Ends, alone)
	}
}

// flush writes the block that is not full, and what was dropped, if that is all there is to tell.
func (w *spooler) flush() {
	told := true
	for r := range w.drops {
		if n := w.dropped[r].Load(); n > w.drops[r] {
			w.out.Drop(reasons[r], n-w.drops[r])
			w.drops[r] = n
			told = false
		}
	}
	due := w.out.Due(beat)
	if w.file == nil {
		if told && !due || time.Now().Before(w.retry) {
			return
		}
		if err := w.begin(w.ring.turn()); err != nil {
			w.fail(err)
			return
		}
	}
	write := w.out.Flush
	if due {
		write = w.out.Beat
	}
	if err := write(); err != nil {
		w.fail(err)
	}
}

// begin makes the next file.
func (w *spooler) begin(turn uint64) error {
	w.disk.keepQuota(w.out, w.cfg.Key)
	w.began = time.Now()
	at := name.File{Gateway: w.cfg.Gateway, Run: w.cfg.Run, Index: w.index + 1, Began: w.began}
	path := filepath.Join(w.cfg.Folder, at.Growing())
	f, err := w.cfg.Open(path)
	if err != nil {
		return err
	}
	w.setClock()
	w.out.Server(w.cfg.Server())
	if err := w.out.Begin(f); err != nil {
		return errors.Join(err, f.Close(), os.Remove(path))
	}
	w.file, w.at, w.turn, w.index, w.kept, w.before = f, at, turn, w.index+1, w.out.Kept(), w.events
	if w.failing {
		w.failing = false
		w.log.Info("capture goes on", "file", path)
	}
	return nil
}

// finish ends the file: from then on a shipper takes it.
func (w *spooler) finish() {
	if err := w.out.Flush(); err != nil {
		w.fail(err)
		return
	}
	if err := w.settle(); err != nil {
		w.fail(err)
	}
}

// settle gives the file the name of one that has ended.
func (w *spooler) settle() error {
	f := w.file
	w.file = nil
	from, to := filepath.Join(w.cfg.Folder, w.at.Growing()), filepath.Join(w.cfg.Folder, w.at.Spool())
	err := f.Sync()
	err = errors.Join(err, os.Rename(from, to), f.Close()) // locked until it has its name
	if err == nil {
		w.disk.add(to, w.out.Size(), w.out.Kept()-w.kept)
	}
	return err
}

// retryAfter is how long nothing is written after a write has failed.
const retryAfter = time.Second

// fail ends the file at its last whole block. What sessions have told to it is lost with what came behind: they tell it again to the next one.
func (w *spooler) fail(err error) {
	if f := w.file; f != nil {
		if cut := f.Truncate(w.out.Size()); cut == nil {
			if e := w.settle(); e != nil {
				err = errors.Join(err, e)
			}
		} else { // a reader sees where it breaks off
			w.file = nil
			err = errors.Join(err, cut, f.Close())
		}
	}
	w.out.Off()
	w.least = w.ring.turn()
	w.retry = time.Now().Add(w.cfg.retry)
	if !w.failing {
		w.log.Error("capture can't write: statements are dropped, and counted", "folder", w.cfg.Folder, "err", err)
	}
	w.failing = true
	w.mu.Lock()
	w.status.Err = err.Error()
	w.mu.Unlock()
}

// end closes the last file, with a block that says that nothing follows.
func (w *spooler) end() {
	if !w.failing {
		w.on()
	}
	w.flush()
	if w.file == nil && w.index > 0 && !w.failing {
		if err := w.begin(w.ring.turn()); err != nil {
			w.fail(err)
		}
	}
	if w.file != nil {
		if err := w.out.End(); err != nil {
			w.fail(err)
		} else {
			w.finish()
		}
	}
	w.publish()
}

// publish tells Status what is known here.
func (w *spooler) publish() {
	dropped := w.out.Dropped()
	for _, own := range reasons {
		delete(dropped, own) // counted by the sessions
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	st := &w.status
	st.Kept, st.Dropped, st.Files = w.out.Kept()-dropped[Quota], dropped, w.index
	st.Bytes, st.Events = w.disk.written, w.events
	st.Spool = w.disk.size
	if w.file != nil {
		st.Bytes += uint64(w.out.Size())
		st.Spool += w.out.Size()
	}
	if !w.failing {
		st.Err = ""
	}
}

// disk is what the gateway's files take in the spool.
type disk struct {
	root, gateway string
	quota         int64
	size          int64  // of the files that have ended, as far as is known: a shipper takes them away
	written       uint64 // bytes of this run's files that have ended
	kept          map[string]uint64
}

// add notes a file that has ended, with so many statements.
func (d *disk) add(path string, size int64, statements uint64) {
	if d.kept == nil {
		d.kept = map[string]uint64{}
	}
	d.kept[path] = statements
	d.size += size
	d.written += uint64(size)
}

// look counts what is there, oldest first. A file that has a growing file's name and no writer is what a killed process left: its name is set right.
func (d *disk) look(repair bool) (paths []string, sizes []int64) {
	d.size = 0
	base := filepath.Join(d.root, d.gateway)
	_ = filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error { // what can't be read is not ours to count
		if err != nil || e.IsDir() {
			return nil
		}
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			return nil
		}
		if _, growing := name.ParseGrowing(filepath.ToSlash(rel)); growing && repair && abandoned(path) {
			ended := path[:len(path)-len(name.Growing)] + name.Ended
			if os.Rename(path, ended) == nil {
				path = ended
				rel, _ = filepath.Rel(d.root, path)
			}
		}
		info, err := os.Stat(path)
		if _, ended := name.Parse(filepath.ToSlash(rel)); ended && err == nil {
			paths, sizes = append(paths, path), append(sizes, info.Size())
			d.size += info.Size()
		}
		return nil
	})
	return paths, sizes // runs are named by their time, and files by their number: in order of age
}

// statementsIn counts the statements of a file that another capture wrote, as far as it can be read.
func statementsIn(path string, key *capture.Key) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	n, _ := capture.Count(f, key) // what it has counted up to an error
	return n
}

// abandoned reports whether nobody has a growing file open.
func abandoned(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// keepQuota deletes the oldest files until there is room for the next one, and counts what was in those of this run.
func (d *disk) keepQuota(out *capture.Writer, key *capture.Key) {
	if d.size <= d.quota {
		return
	}
	paths, sizes := d.look(false) // some may have been shipped
	there := make(map[string]bool, len(paths))
	for i, path := range paths {
		if d.size <= d.quota {
			there[path] = true
			continue
		}
		var earlier uint64
		if _, own := d.kept[path]; !own {
			earlier = statementsIn(path, key)
		}
		if os.Remove(path) != nil {
			there[path] = true
			continue
		}
		d.size -= sizes[i]
		if n, own := d.kept[path]; own {
			out.Drop(Quota, n)
		} else if earlier > 0 {
			out.Drop(QuotaEarlier, earlier)
		}
	}
	for path := range d.kept { // shipped, or deleted
		if !there[path] {
			delete(d.kept, path)
		}
	}
}
