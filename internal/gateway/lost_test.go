package gateway

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/wire"
)

// A server that is gone after a command was sent to it has done it or has not: the command is sent to nobody again, the client's connection ends as it
// would without a gateway, and it is counted as unknown. What was answered is not. (trap 13)
func TestALostReplyIsCountedAsUnknown(t *testing.T) {
	insert := packet(0, append([]byte{byte(wire.ComQuery)}, "INSERT INTO t VALUES (1)"...))
	ok := answerOK(insert[4:])
	for name, x := range map[string]struct {
		answer  []byte // before the server's end of the connection; nil: none
		unknown uint64
	}{
		"no answer":      {nil, 1},
		"half an answer": {ok[:6], 1},
		"an answer":      {ok, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var sent atomic.Int32
			g := fakeGateway(t, &fakeServer{wait: 20 * time.Millisecond, answer: func(command []byte) []byte {
				if !bytes.Contains(command, []byte("INSERT")) {
					return answerOK(command)
				}
				sent.Add(1)
				return x.answer
			}})
			said := say(t, g, func(greeting []byte) []byte { return append(login(t, greeting, 0), insert...) })
			if n := g.counts.unknown.Load(); n != x.unknown || sent.Load() != 1 {
				t.Errorf("%d unknown, sent %d times", n, sent.Load())
			}
			if answered := bytes.HasSuffix(said, ok); answered != (x.unknown == 0) {
				t.Errorf("the client was told %q", said)
			}
		})
	}
}
