package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The shape of a file.
const (
	preamble   = "WLCAPT2\n"
	blockMagic = "WLBK"
	headSize   = 4 + 1 + 4 + 4 // magic, flags, length and CRC32C of the body
	flagSealed = 1

	blockTarget = 256 << 10 // of events, before compression
	// MaxPayload is the most of a statement that is kept.
	MaxPayload = 16 << 20
	maxBody    = MaxPayload + 1<<20
	maxPlain   = MaxPayload + blockTarget + 1<<20
)

// Reasons that the writer itself drops for: the block with the statement, or with its answer alone, could not be written.
const (
	DroppedDisk = "disk"
	DroppedEnds = "end"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Key seals blocks with AES-256-GCM.
type Key struct{ aead cipher.AEAD }

// ParseKey reads a key as it is in a file: 32 bytes in base64.
func ParseKey(text string) (*Key, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("a key is 32 bytes in base64, and this is no base64")
	}
	return NewKey(secret)
}

// NewKey makes a key of 32 bytes.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) != 32 {
		return nil, fmt.Errorf("a key has 32 bytes, and this has %d", len(secret))
	}
	c, err := aes.NewCipher(secret)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(c)
	if err != nil {
		return nil, err
	}
	return &Key{aead}, nil
}

// Writer writes blocks, to one file after the other. It is not safe for concurrent use.
type Writer struct {
	to      io.Writer
	key     *Key
	zstd    *zstd.Encoder
	meta    Meta
	index   uint64
	dropped map[string]uint64
	told    bool  // what was dropped is in a block
	ended   bool  // the next block is the run's last
	on      watch // since the last block; hold 0: On was never called

	enc   encoder
	count int
	sent  uint64 // statements in the block
	alone uint64 // answers in it whose statement is not
	kept  uint64 // statements in blocks that were written
	bytes int    // of the events in the block, about
	base  int64  // when the first of them was
	late  int64  // and the latest
	last  uint64
	size  int64
	out   []byte
	plain []byte // the columns, before they are sealed
}

// NewWriter makes a writer for one run of a gateway. A nil key leaves blocks readable. Begin comes before the first event.
func NewWriter(meta Meta, key *Key) (*Writer, error) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	return &Writer{meta: meta, key: key, zstd: z, dropped: map[string]uint64{}, told: true}, nil
}

// Begin ends the file that was written and begins another one.
func (w *Writer) Begin(to io.Writer) error {
	if w.count > 0 { // what was dropped is told in the next file, too
		if err := w.Flush(); err != nil {
			return err
		}
	}
	w.to, w.size = to, int64(len(preamble))
	_, err := io.WriteString(to, preamble)
	return err
}

// Add writes an event. Its Seq is larger than that of the event before. The event may be used again when Add has returned.
func (w *Writer) Add(e *Event) error {
	if w.to == nil {
		return errors.New("no file was begun")
	}
	if e.Seq <= w.last {
		return fmt.Errorf("event %d comes after event %d", e.Seq, w.last)
	}
	if n := len(e.Payload); n > MaxPayload {
		short := *e
		short.Payload, short.Cut = e.Payload[:MaxPayload], e.Cut+uint64(n-MaxPayload)
		e = &short
	}
	size := eventCost + len(e.Payload) + len(e.Types)
	for _, s := range e.Settings {
		size += len(s)
	}
	if w.count > 0 && w.bytes+size > blockTarget {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.base, w.bytes, w.late = e.At.UnixMicro(), 0, 0
		w.enc.reset(w.base)
	}
	switch e.Kind {
	case Start:
		w.sent++
	case End:
		if _, ok := w.enc.find(e.Of); !ok {
			w.alone++
		}
	}
	w.late = max(w.late, e.At.UnixMicro())
	w.enc.add(e)
	w.count++
	w.bytes += size
	w.last = e.Seq
	return nil
}

// Drop counts events that were not kept. The count goes out with the next block, and with every one after it.
func (w *Writer) Drop(reason string, n uint64) {
	w.dropped[reason] += n
	w.told = false
}

// Server tells what the server is, as of the next block.
func (w *Writer) Server(server, version string) { w.meta.Server, w.meta.Version = server, version }

// On says that the capture is on, and that whatever it saw up to then was given to Add or Drop. Blocks tell from when to when that was so, without a gap since the first call; but for times
// whose block could not be written, and none claims more than hold: who comes later was stopped, and so were its sessions. Within hold of a block the next one has to come: see Due.
func (w *Writer) On(at time.Time, hold time.Duration) {
	now := at.UnixMicro()
	if w.on.hold == 0 || now < w.on.from { // it begins, or the clock was set back
		w.on.from = now
	}
	w.on.until, w.on.hold = now, max(hold.Microseconds(), 1)
}

// Off says that what came since the last block is lost, or that nothing is taken now: the capture is on again from the next call of On.
func (w *Writer) Off() { w.on = watch{} }

// Due reports whether it is so long since a block spoke for the capture that another one has to, though there is nothing to tell.
func (w *Writer) Due(every time.Duration) bool {
	return w.on.hold > 0 && w.on.until-w.on.from >= every.Microseconds()
}

// Kept is how many statements are in blocks that were written, over all files.
func (w *Writer) Kept() uint64 { return w.kept }

// Dropped is how many statements were not kept, by reason.
func (w *Writer) Dropped() map[string]uint64 { return maps.Clone(w.dropped) }

// Size is how large the file is, as far as its blocks are whole: without the one that is not full yet, and without what is left of one that could not be
// written.
func (w *Writer) Size() int64 { return w.size }

// Flush writes the block that is not full yet, or one without events if something was dropped since the last. After an error the block's events are
// lost, and counted as dropped; the file may have a part of it behind Size.
func (w *Writer) Flush() error {
	if w.count == 0 && w.told {
		return nil
	}
	return w.Beat()
}

// Beat writes a block also if there is nothing to tell but that the capture is on.
func (w *Writer) Beat() error {
	w.index++
	w.told = true
	if w.count == 0 {
		w.enc.reset(0)
		w.base, w.late = 0, 0
	}
	on := w.on
	if on.hold > 0 {
		on.until = max(on.until, w.late)
		on.from = max(on.from, on.until-on.hold)
	}
	head := appendHead(nil, w.meta, w.index, w.count, w.sent, w.ended, w.base, on, w.dropped)
	w.count = 0

	out := append(w.out[:0], blockMagic...)
	out = append(out, 0)
	out = append(out, make([]byte, 8)...)
	if w.key == nil {
		out = w.enc.pack(out, head, w.zstd)
	} else {
		out[4] = flagSealed
		nonce := make([]byte, w.key.aead.NonceSize())
		rand.Read(nonce)
		out = append(out, nonce...)
		w.plain = w.enc.pack(w.plain[:0], head, w.zstd)
		out = w.key.aead.Seal(out, nonce, w.plain, nil)
	}
	body := out[headSize:]
	if len(body) > maxBody {
		return fmt.Errorf("a block of %d bytes is too large", len(body)) // an event holds MaxPayload at the most, and what does not compress is stored as it is
	}
	binary.LittleEndian.PutUint32(out[5:], uint32(len(body)))
	binary.LittleEndian.PutUint32(out[9:], crc32.Checksum(body, castagnoli))
	w.out = out
	sent, alone := w.sent, w.alone
	w.sent, w.alone = 0, 0
	if _, err := w.to.Write(out); err != nil {
		w.lose(sent, alone)
		w.Off()
		return err
	}
	w.on.from = max(w.on.from, on.until)
	w.size += int64(len(out))
	w.kept += sent
	return nil
}

// End writes the run's last block, which says so.
func (w *Writer) End() error {
	w.ended = true
	return w.Beat()
}

// lose counts the statements of a block that could not be written, and the answers whose statement is in another one.
func (w *Writer) lose(sent, alone uint64) {
	if sent > 0 {
		w.Drop(DroppedDisk, sent)
	}
	if alone > 0 {
		w.Drop(DroppedEnds, alone)
	}
	w.told = false
}
