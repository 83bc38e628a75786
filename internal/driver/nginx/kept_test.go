package nginx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// kept counts what came of requests on connections that clients keep.
type kept struct {
	asked, reused, idle, closed, broken atomic.Int64
	mu                                  sync.Mutex
	first                               string
}

func (k *kept) fails(format string, args ...any) {
	k.broken.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first == "" {
		k.first = fmt.Sprintf(format, args...)
	}
}

// client asks on one connection for as long as nginx keeps it. That nginx closes it before the first byte of an answer is what a client of HTTP/1.1 has to
// expect of any kept connection, and asks again (RFC 9112, 9.3.1); anything else is a request that failed.
func (k *kept) client(front string, pause func() time.Duration, done <-chan struct{}) {
	var c net.Conn
	var said *bufio.Reader
	for n := 0; ; n++ {
		select {
		case <-done:
			if c != nil {
				c.Close()
			}
			return
		case <-time.After(pause()):
		}
		if c != nil { // what nginx has closed by now a client sees before it asks
			_ = c.SetReadDeadline(time.Now().Add(time.Microsecond))
			if _, err := said.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
				k.idle.Add(1)
				c.Close()
				c = nil
			}
		}
		again := c != nil
		if !again {
			var err error
			if c, err = net.Dial("tcp", front); err != nil {
				k.fails("connect: %v", err)
				continue
			}
			said = bufio.NewReader(c)
		} else {
			k.reused.Add(1)
		}
		k.asked.Add(1)
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		request := "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		if n%2 == 1 {
			request = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
		}
		_, werr := io.WriteString(c, request)
		if _, err := said.Peek(1); err != nil || werr != nil && said.Buffered() == 0 {
			if c.Close(); again {
				k.closed.Add(1)
			} else {
				k.fails("no answer on a new connection: %v, %v", werr, err)
			}
			c = nil
			continue
		}
		r, err := http.ReadResponse(said, nil)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil || r.StatusCode != http.StatusOK {
			k.fails("%+v, %v", r, err)
			c.Close()
			c = nil
			continue
		}
		if r.Close {
			c.Close()
			c = nil
		}
	}
}

// Clients keep their connections, and nginx its own to the nodes, over reload after reload: no answer breaks off, and none is an error. What happens is that
// nginx closes a kept connection as it reloads, with the client's next request on its way; where it keeps none of a client that does not happen either.
func TestClientsThatKeepTheirConnections(t *testing.T) {
	p := newPlace(t)
	each := fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
	text, err := os.ReadFile(p.path("nginx.conf"))
	must(t, err)
	server := strings.Index(string(text), "  server {")
	one := strings.Replace(string(text[server:]), "listen "+p.Front+";", "listen "+each+";\n    keepalive_timeout 0;", 1)
	must(t, os.WriteFile(p.path("nginx.conf"), []byte(string(text[:server])+strings.TrimSuffix(string(text[server:]), "}\n")+one), 0o644))
	p.Drain(2, 1)
	var keeps, keepsNone kept
	done := make(chan struct{})
	var all sync.WaitGroup
	for front, k := range map[string]*kept{p.Front: &keeps, each: &keepsNone} {
		for range 3 {
			all.Go(func() { k.client(front, func() time.Duration { return rand.N(3 * time.Millisecond) }, done) })
		}
	}
	for range 4 {
		p.Drain(0, 1)
		from := keeps.asked.Load() + keepsNone.asked.Load()
		p.Until("requests come", func() bool { return keeps.asked.Load()+keepsNone.asked.Load() > from+20 })
		p.Admit(0, 100, 1)
	}
	close(done)
	all.Wait()
	for name, k := range map[string]*kept{"kept": &keeps, "one request each": &keepsNone} {
		t.Logf("%s: %d asked, %d of them on a kept connection; %d connections were closed while idle, %d before an answer; %d requests failed: %s",
			name, k.asked.Load(), k.reused.Load(), k.idle.Load(), k.closed.Load(), k.broken.Load(), k.first)
		if k.broken.Load() > 0 {
			t.Errorf("%s: %d requests failed: %s", name, k.broken.Load(), k.first)
		}
	}
	if keeps.reused.Load() == 0 || keepsNone.asked.Load() == 0 || keepsNone.reused.Load() > 0 {
		t.Errorf("connections are not kept as they should be: %d, %d", keeps.reused.Load(), keepsNone.reused.Load())
	}
}
