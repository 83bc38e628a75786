package rowhash

import (
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"
)

// A row is hashed by wyhash, or by xxh3 if it is long: xxh3 has a processor's wide registers, but takes long to begin. Where the border is, both take as long.
const (
	mostShort = 448 // bytes of a row that is short
	stripe    = 48  // bytes of it that are taken at a time
	pair      = 16  // bytes that are multiplied with one another
)

// The numbers of wyhash, final version 4, https://github.com/wangyi-fudan/wyhash, and what it makes of a seed of 0: fold(secret0, secret1).
const (
	secret0 = 0x2d358dccaa6c78a5
	secret1 = 0x8bb84b93962eacc9
	secret2 = 0x4b33a62ed433d4a3
	secret3 = 0x4d5a2da51de1aa47
	seed0   = 0xca813bf4c7abf0a9
)

// Row adds a row that is there as a whole. wyhash is written out here, as calls would cost a tenth of it.
func (h *Hash) Row(p []byte) {
	n := len(p)
	h.bytes += uint64(n)
	if n <= pair || n > mostShort {
		h.add(other(p))
		return
	}
	end := (*[pair]byte)(p[n-pair:])
	x, y := binary.LittleEndian.Uint64(end[:]), binary.LittleEndian.Uint64(end[8:])
	a := uint64(seed0)
	if n >= stripe {
		b, c := a, a // lanes: a processor begins a product before the one before is done
		for len(p) >= 2*stripe {
			a = fold(binary.LittleEndian.Uint64(p)^secret1, binary.LittleEndian.Uint64(p[8:])^a)
			b = fold(binary.LittleEndian.Uint64(p[16:])^secret2, binary.LittleEndian.Uint64(p[24:])^b)
			c = fold(binary.LittleEndian.Uint64(p[32:])^secret3, binary.LittleEndian.Uint64(p[40:])^c)
			a = fold(binary.LittleEndian.Uint64(p[48:])^secret1, binary.LittleEndian.Uint64(p[56:])^a)
			b = fold(binary.LittleEndian.Uint64(p[64:])^secret2, binary.LittleEndian.Uint64(p[72:])^b)
			c = fold(binary.LittleEndian.Uint64(p[80:])^secret3, binary.LittleEndian.Uint64(p[88:])^c)
			p = p[2*stripe:]
		}
		if len(p) >= stripe {
			a = fold(binary.LittleEndian.Uint64(p)^secret1, binary.LittleEndian.Uint64(p[8:])^a)
			b = fold(binary.LittleEndian.Uint64(p[16:])^secret2, binary.LittleEndian.Uint64(p[24:])^b)
			c = fold(binary.LittleEndian.Uint64(p[32:])^secret3, binary.LittleEndian.Uint64(p[40:])^c)
			p = p[stripe:]
		}
		a ^= b ^ c
	}
	for len(p) > pair {
		a = fold(binary.LittleEndian.Uint64(p)^secret1, binary.LittleEndian.Uint64(p[8:])^a)
		p = p[pair:]
	}
	h.add(last(x, y, a, n))
}

// last is how wyhash ends.
func last(x, y, a uint64, n int) uint64 {
	hi, lo := bits.Mul64(x^secret1, y^a)
	return fold(lo^secret0^uint64(n), hi^secret1)
}

// other hashes a row that is tiny, by wyhash, or long.
func other(p []byte) uint64 {
	var x, y uint64
	switch n := len(p); {
	case n > pair:
		return xxh3.Hash(p)
	case n >= 4:
		mid := n >> 3 << 2
		x = word(p)<<32 | word(p[mid:])
		y = word(p[n-4:])<<32 | word(p[n-4-mid:])
	case n > 0:
		x = uint64(p[0])<<16 | uint64(p[n>>1])<<8 | uint64(p[n-1])
	}
	return last(x, y, seed0, len(p))
}

func word(p []byte) uint64 { return uint64(binary.LittleEndian.Uint32(p)) }

// fold multiplies, and all 128 bits of the product count.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}

// part is a row that comes in pieces.
type part struct {
	n     int             // bytes so far
	short [mostShort]byte // has them, if they are not more
	long  *xxh3.Hasher    // has had them, if they are
}

func (p *part) write(b []byte) {
	before := p.n
	p.n += len(b)
	if p.n <= mostShort {
		copy(p.short[before:], b)
		return
	}
	if before <= mostShort {
		if p.long == nil {
			p.long = xxh3.New()
		}
		p.long.Reset()
		_, _ = p.long.Write(p.short[:before]) // never fails
	}
	_, _ = p.long.Write(b)
}

// end adds the row.
func (p *part) end(h *Hash) {
	if p.n <= mostShort {
		h.Row(p.short[:p.n])
		return
	}
	h.bytes += uint64(p.n)
	h.add(p.long.Sum64())
}
