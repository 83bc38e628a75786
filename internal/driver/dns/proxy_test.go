package dns_test

import (
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
)

// proxy stands between the driver and the name server, and can do to updates what networks do.
type proxy struct {
	address string
	updates atomic.Int32
	// onUpdate is called with each update before it is passed on; false: the connection is cut instead.
	onUpdate func() bool
	// dropReply cuts the connection instead of passing an update's reply on.
	dropReply atomic.Bool
	// secondhand takes the authority out of every reply, as if it came from a cache.
	secondhand atomic.Bool
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{address: l.Addr().String(), onUpdate: func() bool { return true }}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c, server)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn, server string) {
	defer c.Close()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer s.Close()
	for {
		q, err := message(c)
		if err != nil {
			return
		}
		update := q[4]>>3&0xF == 5 // after two bytes of length: the opcode
		if update {
			p.updates.Add(1)
			if !p.onUpdate() {
				return
			}
		}
		if _, err := s.Write(q); err != nil {
			return
		}
		r, err := message(s)
		if err != nil || update && p.dropReply.Load() {
			return
		}
		if p.secondhand.Load() {
			r[4] &^= 0x04
		}
		if _, err := c.Write(r); err != nil {
			return
		}
	}
}

// message reads one message with its length.
func message(r io.Reader) ([]byte, error) {
	var n [2]byte
	if _, err := io.ReadFull(r, n[:]); err != nil {
		return nil, err
	}
	b := make([]byte, 2+int(binary.BigEndian.Uint16(n[:])))
	copy(b, n[:])
	_, err := io.ReadFull(r, b[2:])
	return b, err
}
