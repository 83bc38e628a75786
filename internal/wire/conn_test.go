package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// memory is a socket that gives what it was given, in chunks.
type memory struct {
	in    *bytes.Reader
	chunk int
	out   bytes.Buffer
}

func (m *memory) Read(b []byte) (int, error) {
	if m.chunk > 0 && len(b) > m.chunk {
		b = b[:m.chunk]
	}
	return m.in.Read(b)
}
func (m *memory) Write(b []byte) (int, error)      { return m.out.Write(b) }
func (m *memory) Close() error                     { return nil }
func (m *memory) LocalAddr() net.Addr              { return nil }
func (m *memory) RemoteAddr() net.Addr             { return nil }
func (m *memory) SetDeadline(time.Time) error      { return nil }
func (m *memory) SetReadDeadline(time.Time) error  { return nil }
func (m *memory) SetWriteDeadline(time.Time) error { return nil }

func TestPacketsOfEverySizeComeBack(t *testing.T) {
	for _, size := range []int{0, 1, 100, firstBuffer - 4, firstBuffer, 3 * firstBuffer, MaxFrame - 1, MaxFrame, MaxFrame + 1} {
		payload := bytes.Repeat([]byte{byte(size), 1, 2}, size/3+1)[:size]
		m := &memory{in: bytes.NewReader(nil)}
		w := NewConn(m, 1<<26)
		if err := w.WritePacket(payload); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket([]byte("next")); err != nil {
			t.Fatal(err)
		}
		for _, chunk := range []int{0, 1 << 15} {
			r := NewConn(&memory{in: bytes.NewReader(m.out.Bytes()), chunk: chunk}, 1<<26)
			got, err := r.ReadPacket()
			if err != nil || !bytes.Equal(got, payload) {
				t.Fatalf("%d bytes: %d came back, %v", size, len(got), err)
			}
			if got, err := r.ReadPacket(); err != nil || string(got) != "next" {
				t.Fatalf("after %d bytes: %q, %v", size, got, err)
			}
			if _, err := r.ReadPacket(); !errors.Is(err, io.EOF) {
				t.Fatalf("at the end: %v", err)
			}
		}
	}
}

func TestPacketAboveTheLimitIsRefusedBeforeItIsRead(t *testing.T) {
	c := NewConn(&memory{in: bytes.NewReader([]byte{0xff, 0xff, 0x7f, 0, 1, 2, 3})}, 1000)
	if _, err := c.ReadPacket(); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if len(c.buf) > firstBuffer {
		t.Errorf("the buffer grew to %d", len(c.buf))
	}
}

func TestPacketOutOfOrderIsRefused(t *testing.T) {
	c := NewConn(&memory{in: bytes.NewReader([]byte{1, 0, 0, 3, 1})}, 1000)
	if _, err := c.ReadPacket(); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

// FuzzPackets looks that no bytes make the reader panic, hold more than its limit, or change what they say.
func FuzzPackets(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 3, 2, 0, 0, 1, 1, 2}, 1)
	f.Add([]byte{0xff, 0xff, 0xff, 0}, 3)
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 2)
	f.Fuzz(func(t *testing.T, stream []byte, chunk int) {
		const limit = 1 << 10
		c := NewConn(&memory{in: bytes.NewReader(stream), chunk: max(1, chunk&0xff)}, limit)
		var back bytes.Buffer
		m := &memory{in: bytes.NewReader(nil)}
		w := NewConn(m, limit)
		for {
			p, err := c.ReadPacket()
			if err != nil {
				break
			}
			if len(p) > limit {
				t.Fatalf("%d bytes above the limit", len(p))
			}
			w.WritePacket(p)
		}
		back.Write(m.out.Bytes())
		if !bytes.HasPrefix(stream, back.Bytes()) {
			t.Fatalf("read %x, wrote %x", stream, back.Bytes())
		}
		if len(c.buf) > 16*firstBuffer {
			t.Fatalf("the buffer grew to %d", len(c.buf))
		}
	})
}

// FuzzParsers looks that no payload makes a parser panic, and that what was understood is written as it was read.
func FuzzParsers(f *testing.F) {
	f.Add(Greeting{Version: "5.5.5-10.11.18-MariaDB", ThreadID: 9, Salt: NewSalt(), Caps: CapProtocol41 | CapPluginAuth | CapSecureConnection, Ext: ExtBulkOperations, Plugin: NativePassword}.Append(nil), uint32(0))
	f.Add(Login{Caps: CapProtocol41 | CapSecureConnection | CapPluginAuth | CapConnectWithDB | CapPluginAuthLenenc, User: "u", Schema: "d", Plugin: "p", Auth: []byte{1, 2}}.Append(nil), uint32(0))
	f.Add(OK{Status: StatusSessionChanged, Info: []byte("i"), State: []byte{1, 2, 1, 'd'}}.Append(nil), uint32(CapSessionTrack))
	f.Add(okPacket(0, 2), uint32(0))
	f.Add(errPacket(), uint32(0))
	f.Add(AuthSwitch{Plugin: "x", Salt: []byte("salt")}.Append(nil), uint32(0))
	f.Add([]byte("\x11u\x00\x01pdb\x00\x2d\x00mysql_native_password\x00"), uint32(CapPluginAuth))
	f.Fuzz(func(t *testing.T, p []byte, caps uint32) {
		if g, err := ParseGreeting(p); err == nil {
			if again, err := ParseGreeting(g.Append(nil)); err != nil && g.Caps&CapSecureConnection != 0 && g.Caps&CapPluginAuth != 0 {
				t.Fatalf("%+v is not read again: %+v, %v", g, again, err)
			}
		}
		if l, err := ParseLogin(p); err == nil && len(l.Auth) < 256 {
			if _, err := ParseLogin(l.Append(nil)); err != nil {
				t.Fatalf("%+v is not read again: %v", l, err)
			}
		}
		ParseChangeUser(p, Capability(caps))
		ParseAuthSwitch(p)
		ParseEOF(p)
		if e, err := ParseERR(p); err == nil {
			if again, err := ParseERR(e.Append(nil)); err != nil || *again != *e {
				t.Fatalf("%+v is read as %+v", e, again)
			}
		}
		if ok, err := ParseOK(p, Capability(caps)); err == nil {
			ParseState(ok.State)
			again, err := ParseOK(ok.Append(nil), CapSessionTrack)
			if Capability(caps)&CapSessionTrack != 0 && (err != nil || again.Affected != ok.Affected || again.InsertID != ok.InsertID || !bytes.Equal(again.Info, ok.Info) || !bytes.Equal(again.State, ok.State)) {
				t.Fatalf("%+v is read as %+v, %v", ok, again, err)
			}
		}
	})
}

func TestScrambleKnowsPasswords(t *testing.T) {
	salt := []byte("0123456789abcdefghij")
	for _, plugin := range []string{NativePassword, CachingSHA2} {
		a, err := Scramble(plugin, "secret", salt)
		if err != nil {
			t.Fatal(err)
		}
		if !Verify(plugin, "secret", salt, a) || Verify(plugin, "Secret", salt, a) || Verify(plugin, "secret", []byte("1123456789abcdefghij"), a) || Verify(plugin, "", salt, a) {
			t.Errorf("%s does not tell passwords apart", plugin)
		}
		if !Verify(plugin, "", salt, nil) || Verify(plugin, "secret", salt, nil) {
			t.Errorf("%s: empty passwords", plugin)
		}
	}
	if _, err := Scramble("auth_socket", "x", salt); err == nil {
		t.Error("an unknown method gives no error")
	}
}
