package sockets

import (
	"net"
	"net/netip"
	"os"
	"testing"
)

func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{"0100007F:1F90": "127.0.0.1:8080", "0000000000000000FFFF00000100007F:0050": "127.0.0.1:80", "00000000000000000000000001000000:0001": "[::1]:1"} {
		if got, err := parse(text); err != nil || got.String() != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, bad := range []string{"", "0100007F", "01:1", "zz:1", "0100007F:fffff"} {
		if got, err := parse(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// A connection of this process is seen from both ends, and its listener is one.
func TestOwnConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mine, err := Of("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	at, from := netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddrPort(c.LocalAddr().String())
	seen := map[string]int{}
	err = Seen("/proc", os.Getpid(), func(k Conn) {
		switch {
		case !mine[k.Inode]:
		case k.Listens && k.Local == at:
			seen["listens"]++
		case k.Local == from && k.Remote == at:
			seen["there"]++
		case k.Local == at && k.Remote == from:
			seen["here"]++
		}
	})
	if err != nil || len(seen) != 3 || seen["there"] != 1 {
		t.Errorf("%v, %v", seen, err)
	}
	if _, err := Of("/proc", 1<<30); !Gone(err) {
		t.Errorf("nobody's sockets: %v", err)
	}
	if err := Seen("/proc", 1<<30, func(Conn) {}); !Gone(err) {
		t.Errorf("nobody's network: %v", err)
	}
	if f, err := Stat("/proc", os.Getpid()); err != nil || f[0] == "" {
		t.Errorf("%v, %v", f, err)
	}
}
