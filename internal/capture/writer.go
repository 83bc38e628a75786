package capture

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"
)

// The shape of a file.
const (
	preamble   = "WLCAPT1\n"
	blockMagic = "WLBK"
	headSize   = 4 + 1 + 4 + 4 // magic, flags, length and CRC32C of the body
	flagSealed = 1

	blockTarget = 256 << 10 // of events, before compression
	// MaxPayload is the most of a statement that is kept.
	MaxPayload = 16 << 20
	maxBody    = MaxPayload + 1<<20
	maxPlain   = MaxPayload + blockTarget + 1<<20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Key seals blocks with AES-256-GCM.
type Key struct{ aead cipher.AEAD }

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
	told    bool // what was dropped is in a block

	enc    encoder
	events []byte
	count  int
	base   time.Time
	last   uint64
	size   int64
	out    []byte
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
	if err := w.Flush(); err != nil {
		return err
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
	if w.count > 0 && len(w.events)+len(e.Payload) > blockTarget {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if w.count == 0 {
		w.base, w.enc.seq, w.enc.at = e.At, 0, e.At.UnixNano()
	}
	w.events = w.enc.append(w.events, e)
	w.count++
	w.last = e.Seq
	return nil
}

// Drop counts events that were not kept. The count goes out with the next block, and with every one after it.
func (w *Writer) Drop(reason string, n uint64) {
	w.dropped[reason] += n
	w.told = false
}

// Server tells what the server is and where it stands, as of the next block.
func (w *Writer) Server(server, version, gtid string) {
	w.meta.Server, w.meta.Version, w.meta.GTID = server, version, gtid
}

// Size is how large the file is, without the block that is not full yet.
func (w *Writer) Size() int64 { return w.size }

// Flush writes the block that is not full yet, or one without events if something was dropped since the last.
func (w *Writer) Flush() error {
	if w.count == 0 && w.told {
		return nil
	}
	w.index++
	w.told = true
	plain := appendHead(nil, w.meta, w.index, w.base, w.dropped)
	plain = append(plain, w.events...)
	w.events, w.count, w.base = w.events[:0], 0, time.Time{}

	out := append(w.out[:0], blockMagic...)
	out = append(out, 0)
	out = append(out, make([]byte, 8)...)
	if w.key == nil {
		out = w.zstd.EncodeAll(plain, out)
	} else {
		out[4] = flagSealed
		nonce := make([]byte, w.key.aead.NonceSize())
		rand.Read(nonce)
		out = append(out, nonce...)
		out = w.key.aead.Seal(out, nonce, w.zstd.EncodeAll(plain, nil), nil)
	}
	body := out[headSize:]
	if len(body) > maxBody {
		return fmt.Errorf("a block of %d bytes is too large", len(body)) // an event holds MaxPayload at the most, and zstd adds next to nothing
	}
	binary.LittleEndian.PutUint32(out[5:], uint32(len(body)))
	binary.LittleEndian.PutUint32(out[9:], crc32.Checksum(body, castagnoli))
	w.out = out
	n, err := w.to.Write(out)
	w.size += int64(n)
	return err
}
