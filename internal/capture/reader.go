package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
)

// What can be wrong with a whole file. Damage to some of its blocks is not an error, see Loss.
var (
	ErrNotCapture = errors.New("this is not a capture file")
	ErrNewer      = errors.New("this capture file is of a newer format: read it with a newer windlass")
	ErrOlder      = errors.New("this capture file is of an older format, whose hashes of answers mean something else: capture anew")
	ErrKey        = errors.New("this capture file is sealed, and the key is missing or another one")
)

// Loss is what could not be read of a file.
type Loss struct {
	Bytes   int64  // passed over, because they were no block or a damaged one
	Damaged int    // places where that happened
	Cut     bool   // the file ends in the middle of a block, as after a crash
	Blocks  uint64 // missing between the first and the last one that were read
	Events  uint64 // missing in their sequence between those
}

// Any reports whether something was lost.
func (l Loss) Any() bool { return l != Loss{} }

// Reader reads a file, block by block, with the memory of one block.
type Reader struct {
	from io.Reader
	key  *Key
	zstd *zstd.Decoder
	buf  []byte // read, and not used yet
	over bool
	loss Loss
	lost bool  // the bytes before belong to the damage that was counted last
	last Block // its numbers alone

	headsOnly  bool
	statements uint64 // in blocks whose head alone was read
}

// NewReader looks at the file's beginning. The key may be nil if the file is not sealed.
func NewReader(from io.Reader, key *Key) (*Reader, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain))
	if err != nil {
		return nil, err
	}
	r := &Reader{from: from, key: key, zstd: z}
	if err := r.fill(len(preamble)); err != nil {
		return nil, err
	}
	head := r.buf[:min(len(r.buf), len(preamble))]
	switch {
	case string(head) == preamble:
	case len(head) == len(preamble) && bytes.HasPrefix(head, []byte("WLCAPT")) && head[7] == '\n' && head[6] >= '1' && head[6] <= '9':
		if head[6] < preamble[6] {
			return nil, ErrOlder
		}
		return nil, ErrNewer
	default:
		return nil, ErrNotCapture
	}
	r.buf = r.buf[len(preamble):]
	return r, nil
}

// Close frees what the reader holds; the file is the caller's.
func (r *Reader) Close() { r.zstd.Close() }

// Loss is what could not be read up to here.
func (r *Reader) Loss() Loss { return r.loss }

// fill reads until so many bytes are there, or the file is over.
func (r *Reader) fill(n int) error {
	for len(r.buf) < n && !r.over {
		if cap(r.buf)-len(r.buf) < 4096 {
			grown := make([]byte, len(r.buf), max(2*len(r.buf), n, 64<<10)+4096)
			copy(grown, r.buf)
			r.buf = grown
		}
		m, err := r.from.Read(r.buf[len(r.buf):cap(r.buf)])
		r.buf = r.buf[:len(r.buf)+m]
		if errors.Is(err, io.EOF) {
			r.over = true
		} else if err != nil {
			return fmt.Errorf("read: %w", err)
		}
	}
	return nil
}

// skip passes over bytes that are no block.
func (r *Reader) skip(n int) {
	if !r.lost {
		r.loss.Damaged++
	}
	r.lost = true
	r.loss.Bytes += int64(n)
	r.buf = r.buf[n:]
}

// Next gives the next block that is whole; at the end io.EOF. The events' payloads are the caller's.
func (r *Reader) Next() (Block, error) {
	for {
		if err := r.fill(headSize); err != nil {
			return Block{}, err
		}
		if len(r.buf) == 0 {
			return Block{}, io.EOF
		}
		if at := bytes.Index(r.buf, []byte(blockMagic)); at != 0 {
			switch {
			case at > 0:
				r.skip(at)
			case r.over && bytes.HasPrefix([]byte(blockMagic), r.buf):
				return Block{}, r.end()
			case r.over:
				r.skip(len(r.buf))
			case len(r.buf) >= len(blockMagic):
				r.skip(len(r.buf) - len(blockMagic) + 1) // the magic may begin in the last bytes
			}
			continue
		}
		if len(r.buf) < headSize { // the file is over
			return Block{}, r.end()
		}
		flags, size, sum := r.buf[4], int(binary.LittleEndian.Uint32(r.buf[5:])), binary.LittleEndian.Uint32(r.buf[9:])
		if size > maxBody || flags&^flagSealed != 0 {
			r.skip(len(blockMagic))
			continue
		}
		if err := r.fill(headSize + size); err != nil {
			return Block{}, err
		}
		if len(r.buf) < headSize+size {
			if bytes.Contains(r.buf[headSize:], []byte(blockMagic)) { // the length is damaged, or a text holds the magic
				r.skip(len(blockMagic))
				continue
			}
			return Block{}, r.end()
		}
		body := r.buf[headSize : headSize+size]
		if crc32.Checksum(body, castagnoli) != sum {
			r.skip(len(blockMagic))
			continue
		}
		b, err := r.block(body, flags&flagSealed != 0)
		if errors.Is(err, ErrKey) {
			return Block{}, err
		}
		if err != nil {
			r.skip(headSize + size)
			continue
		}
		r.buf, r.lost = r.buf[headSize+size:], false
		r.count(b)
		return b, nil
	}
}

// end is that of a file that ends in the middle of a block.
func (r *Reader) end() error {
	r.loss.Cut = true
	r.loss.Bytes += int64(len(r.buf))
	r.buf = nil
	return io.EOF
}

func (r *Reader) block(body []byte, sealed bool) (Block, error) {
	if sealed {
		if r.key == nil || len(body) < r.key.aead.NonceSize() {
			return Block{}, ErrKey
		}
		n := r.key.aead.NonceSize()
		var err error
		if body, err = r.key.aead.Open(nil, body[:n], body[n:], nil); err != nil {
			return Block{}, ErrKey // the checksum was right
		}
	}
	if r.headsOnly {
		b, h, err := decodeHeadAlone(body, r.zstd)
		r.statements += h.statements
		return b, err
	}
	return decodeBlock(body, r.zstd)
}

// Count gives the number of statements (Starts) in the blocks of a file that can be read. It reads no events.
func Count(from io.Reader, key *Key) (statements uint64, err error) {
	r, err := NewReader(from, key)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	r.headsOnly = true
	for {
		if _, err := r.Next(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return r.statements, err
		}
	}
}

// count finds what is missing between this block and the one before it.
func (r *Reader) count(b Block) {
	if r.last.Index > 0 && b.Meta.Run == r.last.Meta.Run {
		if b.Index > r.last.Index+1 {
			r.loss.Blocks += b.Index - r.last.Index - 1
		}
		if last := r.last.Last(); b.First() > last+1 && last > 0 {
			r.loss.Events += b.First() - last - 1
		}
	}
	r.last = Block{Meta: b.Meta, Index: b.Index}
	if n := len(b.Events); n > 0 {
		r.last.Events = []Event{{Seq: b.Last()}}
	}
}
