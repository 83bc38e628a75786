package gateway

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/wire"
)

// A query on its way through allocates nothing, captured or not. (What is done beside it, in the capture's own goroutine, is not every query's.)
func TestQueryAllocatesNothing(t *testing.T) {
	t.Run("plain", func(t *testing.T) { queryAllocatesNothing(t, nil) })
	t.Run("captured", func(t *testing.T) {
		held, err := tap.New(tap.Config{Gateway: "fake", Folder: t.TempDir(), Statements: tap.All, Sample: 1, Rotate: 1 << 26, Every: time.Hour, Quota: 1 << 30, Ring: 64 << 20, Flush: time.Hour, Started: time.Now(),
			Server: func() (string, string) { return "", "" }}, slog.New(slog.DiscardHandler)) // nobody runs it: all stays in its memory
		if err != nil {
			t.Fatal(err)
		}
		queryAllocatesNothing(t, held)
		if st := held.Status(); st.Started < 1000 || st.Waiting != st.Started {
			t.Errorf("%+v", st)
		}
	})
}

func queryAllocatesNothing(t *testing.T, held *tap.Tap) {
	answer := answerOK([]byte{byte(wire.ComQuery)})
	g := fakeGateway(t, &fakeServer{answer: func([]byte) []byte { return answer }})
	g.capturing.tap.Store(held)
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
