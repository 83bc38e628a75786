package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// sockets are the two ends of a connection over TCP, each with the bare calls if the system has them.
func sockets(t *testing.T) (a, b *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, _ := l.Accept()
		accepted <- nc
	}()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	other := <-accepted
	if other == nil {
		t.Fatal("nobody was accepted")
	}
	a, b = NewConn(dialed, 1<<26), NewConn(other, 1<<26)
	for _, c := range []*Conn{a, b} {
		if c.rw == io.ReadWriter(c.nc) && runtime.GOOS == "linux" {
			t.Fatal("no bare calls")
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

// What is larger than the sockets' buffers is written as the other side takes it, and comes whole.
func TestSocketCarriesMoreThanItHolds(t *testing.T) {
	a, b := sockets(t)
	payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	sent := make(chan error, 1)
	go func() { sent <- a.WritePacket(payload) }()
	got, err := b.ReadPacket()
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("%d of %d bytes came, %v", len(got), len(payload), err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	a.Close()
	if _, err := b.ReadPacket(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A read that waits ends by what the net package ends it by.
func TestSocketReadEnds(t *testing.T) {
	t.Run("deadline", func(t *testing.T) {
		a, _ := sockets(t)
		a.SetDeadline(time.Now().Add(10 * time.Millisecond))
		var no net.Error
		if _, err := a.ReadPacket(); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &no) || !no.Timeout() {
			t.Errorf("%v", err)
		}
		if err := a.WriteAll([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after it: %v", err)
		}
		a.SetDeadline(time.Time{})
		if err := a.WriteAll([]byte("x")); err != nil {
			t.Errorf("a write after it was lifted: %v", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		a, _ := sockets(t)
		ended := make(chan error, 1)
		go func() { ended <- a.Fill() }()
		a.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("the read: %v", err)
		}
		if err := a.WriteAll([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the write: %v", err)
		}
	})
	t.Run("reset", func(t *testing.T) {
		a, b := sockets(t)
		b.Net().(*net.TCPConn).SetLinger(0)
		b.Close()
		if err := a.Fill(); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the read: %v", err)
		}
		if err := a.WriteAll([]byte("x")); !errors.Is(err, syscall.EPIPE) {
			t.Errorf("the write: %v", err)
		}
	})
}

// A round trip allocates nothing.
func TestSocketAllocatesNothing(t *testing.T) {
	a, b := sockets(t)
	said := []byte("0123")
	if n := testing.AllocsPerRun(100, func() {
		for _, way := range [][2]*Conn{{a, b}, {b, a}} {
			if err := way[0].WriteAll(said); err != nil {
				t.Fatal(err)
			}
			if err := way[1].Fill(); err != nil {
				t.Fatal(err)
			}
			way[1].Discard(len(way[1].Buffered()))
		}
	}); n >= 1 {
		t.Errorf("%v allocations", n)
	}
}
