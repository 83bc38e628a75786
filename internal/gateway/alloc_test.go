package gateway

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/wire"
)

// A query on its way through allocates nothing.
func TestQueryAllocatesNothing(t *testing.T) {
	answer := answerOK([]byte{byte(wire.ComQuery)})
	g := fakeGateway(t, &fakeServer{answer: func([]byte) []byte { return answer }})
	client, served, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		g.client(context.Background(), served, g.writer)
	}()
	client.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 1<<10)
	read := func(n int) []byte {
		if _, err := io.ReadFull(client, buf[:n]); err != nil {
			t.Fatal(err)
		}
		return buf[:n]
	}
	head := read(4)
	client.Write(login(t, read(int(head[0])|int(head[1])<<8), 0))
	read(len(answer)) // as long as the welcome
	query := packet(0, append([]byte{byte(wire.ComQuery)}, "SELECT c FROM sbtest1 WHERE id = 4711"...))
	if n := testing.AllocsPerRun(1000, func() {
		client.Write(query)
		read(len(answer))
	}); n >= 1 {
		t.Errorf("%v allocations a query", n)
	}
	client.Close()
	<-done
}
