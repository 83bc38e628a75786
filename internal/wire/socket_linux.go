package wire

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket reads and writes a TCP or Unix socket by bare system calls. They never wait, for a socket of Go's is in its poller and asked not to, so the
// scheduler need not be told of each of them, as it is of calls that may: on a busy machine a thread that is preempted within such a call loses its
// place to another one, which has to be woken for it. That made a quarter of a proxied query's processor time.
//
// Deadlines, Close and waiting are the net package's own. One goroutine may read while another one writes.
type socket struct {
	nc  net.Conn
	raw syscall.RawConn
	in  transfer
	out transfer
}

// transfer is one direction. Its function is made once, so that no call allocates.
type transfer struct {
	b    []byte
	n    int
	err  syscall.Errno
	call func(fd uintptr) bool
}

// most is the largest transfer in one bare call, as nothing else runs in its place meanwhile.
const most = 64 << 10

// direct gives a socket its bare calls, if it is one.
func direct(nc net.Conn) io.ReadWriter {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nc
	}
	raw, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nc
	}
	s := &socket{nc: nc, raw: raw}
	s.in.call = s.in.receive
	s.out.call = s.out.send
	return s
}

// receive reads once. It reports false if there is nothing to read yet.
func (t *transfer) receive(fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.b))), uintptr(len(t.b)), syscall.MSG_DONTWAIT, 0, 0)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		case 0:
			t.n = int(n)
		}
		t.err = err
		return true
	}
}

// send writes as much as there is room for. It reports false if there is more.
func (t *transfer) send(fd uintptr) bool {
	for t.n < len(t.b) {
		b := t.b[t.n:min(len(t.b), t.n+most)]
		n, _, err := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		case 0:
			t.n += int(n)
		default:
			t.err = err
			return true
		}
	}
	return true
}

// done ends a transfer, and gives what came of it.
func (s *socket) done(t *transfer, op string, err error) (int, error) {
	n, errno := t.n, t.err
	t.b, t.n, t.err = nil, 0, 0
	if err == nil && errno == 0 {
		return n, nil
	}
	if err == nil {
		err = os.NewSyscallError(op, errno)
	} else if e, ok := err.(*net.OpError); ok {
		err = e.Err
	}
	return n, &net.OpError{Op: op, Net: s.nc.LocalAddr().Network(), Source: s.nc.LocalAddr(), Addr: s.nc.RemoteAddr(), Err: err}
}

// Read is as net.Conn's.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.in.b = b[:min(len(b), most)]
	n, err := s.done(&s.in, "read", s.raw.Read(s.in.call))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Write is as net.Conn's.
func (s *socket) Write(b []byte) (int, error) {
	s.out.b = b
	return s.done(&s.out, "write", s.raw.Write(s.out.call))
}
