package wire

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// firstBuffer is the read buffer's first size: what one read of a small reply or command needs.
const firstBuffer = 16 << 10

// ErrTooLarge says that a peer sent a packet above the Conn's limit.
var ErrTooLarge = errors.New("packet above the limit")

// Conn is a socket with a read buffer and the number of the next packet. It is used by one goroutine at a time.
type Conn struct {
	nc    net.Conn
	rw    io.ReadWriter // nc, or its bare calls
	buf   []byte
	r, w  int
	limit int  // largest payload that is held in memory
	Seq   byte // sequence number of the next packet, either way
	out   []byte
}

// NewConn wraps a socket. limit is the largest payload, in bytes, that ReadPacket and Fill hold in memory.
func NewConn(nc net.Conn, limit int) *Conn {
	return &Conn{nc: nc, rw: direct(nc), buf: make([]byte, firstBuffer), limit: limit}
}

// Net is the socket under it.
func (c *Conn) Net() net.Conn { return c.nc }

// Encrypt puts a TLS connection in the place of the socket. What was read ahead belongs to the TLS handshake, which a peer may begin
// without waiting, and goes to it; nothing that came in clear is ever taken for what came encrypted.
func (c *Conn) Encrypt(wrap func(net.Conn) net.Conn) {
	under := c.nc
	if c.r < c.w {
		under = &prefixed{Conn: c.nc, first: append([]byte(nil), c.buf[c.r:c.w]...)}
		c.r, c.w = 0, 0
	}
	c.nc = wrap(under)
	c.rw = c.nc
}

// prefixed is a socket of which some bytes have been read already.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// SetLimit changes the largest payload.
func (c *Conn) SetLimit(limit int) { c.limit = limit }

// SetDeadline bounds reads and writes; the zero time lifts it.
func (c *Conn) SetDeadline(t time.Time) error { return c.nc.SetDeadline(t) }

// Close closes the socket.
func (c *Conn) Close() error { return c.nc.Close() }

// Buffered is what has been read and not yet discarded. It is valid until the next Fill.
func (c *Conn) Buffered() []byte { return c.buf[c.r:c.w] }

// Discard drops the first n buffered bytes.
func (c *Conn) Discard(n int) {
	c.r += n
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
}

// Fill reads once more, and makes room if the buffer is full.
func (c *Conn) Fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w == len(c.buf) {
		if c.r > 0 {
			c.w = copy(c.buf, c.buf[c.r:c.w])
			c.r = 0
		} else {
			if len(c.buf) >= c.limit+8 {
				return ErrTooLarge
			}
			grown := make([]byte, min(len(c.buf)*4, c.limit+8))
			c.w = copy(grown, c.buf[:c.w])
			c.buf = grown
		}
	}
	n, err := c.rw.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Shrink gives a grown buffer back, when nothing is buffered.
func (c *Conn) Shrink() {
	if c.r == c.w && len(c.buf) > firstBuffer {
		c.buf, c.r, c.w = make([]byte, firstBuffer), 0, 0
	}
}

// fillTo reads until n bytes are buffered.
func (c *Conn) fillTo(n int) error {
	for c.w-c.r < n {
		if err := c.Fill(); err != nil {
			if errors.Is(err, io.EOF) && c.w > c.r {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// Header gives the next frame's payload length and sequence number, without taking it.
func (c *Conn) Header() (length int, seq byte, err error) {
	if err := c.fillTo(4); err != nil {
		return 0, 0, err
	}
	b := c.buf[c.r:]
	return frameLength(b), b[3], nil
}

// Peek waits for n bytes and gives them without taking them.
func (c *Conn) Peek(n int) ([]byte, error) {
	if n > c.limit+4 {
		return nil, ErrTooLarge
	}
	if err := c.fillTo(n); err != nil {
		return nil, err
	}
	return c.buf[c.r : c.r+n], nil
}

func frameLength(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// Frame waits for the whole next frame and gives it, header included, without taking it.
func (c *Conn) Frame() ([]byte, error) {
	length, _, err := c.Header()
	if err != nil {
		return nil, err
	}
	if length > c.limit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, length)
	}
	if err := c.fillTo(4 + length); err != nil {
		return nil, err
	}
	return c.buf[c.r : c.r+4+length], nil
}

// ReadPacket reads one payload, joining its frames. It is valid until the next read. The sequence number has to be the
// expected one.
func (c *Conn) ReadPacket() ([]byte, error) {
	payload, _, err := c.ReadWhole()
	return payload, err
}

// ReadWhole is ReadPacket, and gives the frame around the payload, too: nil if there are several. The payload is a part of it.
func (c *Conn) ReadWhole() (payload, whole []byte, err error) {
	var joined []byte
	for {
		frame, err := c.Frame()
		if err != nil {
			return nil, nil, err
		}
		if frame[3] != c.Seq {
			return nil, nil, malformed(fmt.Sprintf("packet number %d instead of %d", frame[3], c.Seq))
		}
		c.Seq++
		payload := frame[4:]
		c.r += len(frame) // not Discard: the payload stays where it is until the next read
		if joined == nil && len(payload) < MaxFrame {
			return payload, frame, nil
		}
		if len(joined)+len(payload) > c.limit {
			return nil, nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, c.limit)
		}
		joined = append(joined, payload...)
		if len(payload) < MaxFrame {
			return joined, nil, nil
		}
	}
}

// WritePacket writes one payload in as many frames as it takes, in one write if it fits one frame.
func (c *Conn) WritePacket(payload []byte) error {
	c.out = c.AppendFrames(c.out[:0], payload)
	err := c.WriteAll(c.out)
	if cap(c.out) > 4*firstBuffer {
		c.out = nil
	}
	return err
}

// AppendFrames adds the payload's frames to b and counts the sequence number on, for writing several packets at once.
func (c *Conn) AppendFrames(b, payload []byte) []byte {
	for {
		n := min(len(payload), MaxFrame)
		b = append(b, byte(n), byte(n>>8), byte(n>>16), c.Seq)
		b = append(b, payload[:n]...)
		c.Seq++
		payload = payload[n:]
		if n < MaxFrame {
			return b
		}
	}
}

// WriteAll writes bytes as they are.
func (c *Conn) WriteAll(b []byte) error {
	_, err := c.rw.Write(b)
	return err
}
