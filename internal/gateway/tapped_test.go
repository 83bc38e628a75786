package gateway

import (
	"bytes"
	"testing"

	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/wire"
)

// An EXECUTE of a client that has query attributes is kept as one of a client that has none.
func TestPlainExecute(t *testing.T) {
	head := []byte{7, 0, 0, 0, 0, 1, 0, 0, 0}
	counted := []byte{7, 0, 0, 0, executeHasCount, 1, 0, 0, 0}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	values := []byte("\x05\x00\x00\x00\x01x")
	named := []byte{3, 0, 0, 0xfd, 0, 0}
	types := []byte{3, 0, 0xfd, 0}
	two := &statement{params: 2, types: named, named: true}
	for name, c := range map[string]struct {
		st    *statement
		in    []byte
		want  []byte
		types []byte
	}{
		"types with names":        {two, join(counted, []byte{2, 0, 1}, named, values), join(head, []byte{0, 1}, types, values), types},
		"no types this time":      {two, join(counted, []byte{2, 0, 0}, values), join(head, []byte{0, 0}, values), types},
		"no parameters":           {&statement{}, join(counted, []byte{0}), head, nil},
		"no count":                {&statement{params: 2, types: types}, join(head, []byte{0, 1}, types, values), join(head, []byte{0, 1}, types, values), types},
		"an attribute":            {two, join(counted, []byte{3, 0, 1}, named, []byte{3, 0, 1, 'a'}, values), nil, nil},
		"a parameter with a name": {&statement{params: 1, types: []byte{3, 0, 1, 'a'}, named: true}, join(counted, []byte{1, 0, 1, 3, 0, 1, 'a'}, values), nil, nil},
		"cut":                     {two, join(counted, []byte{2}), nil, nil},
		"short":                   {two, counted[:5], nil, nil},
	} {
		got, gotTypes, ok := plainExecute(c.in, c.st)
		if ok != (c.want != nil) || ok && (!bytes.Equal(got, c.want) || !bytes.Equal(gotTypes, c.types)) {
			t.Errorf("%s: %x, %x, %t", name, got, gotTypes, ok)
		}
	}
}

// A defect of the capture ends the capture: the client gets its answer, and the next one, too.
func TestDefectOfTheCapture(t *testing.T) {
	g := fakeGateway(t, &fakeServer{answer: answerOK})
	g.capturing.tap.Store(&tap.Tap{}) // one that nobody made: it has no memory
	query := packet(0, append([]byte{byte(wire.ComQuery)}, "SET @a = 1"...))
	said := say(t, g, func(greeting []byte) []byte { return append(append(login(t, greeting, 0), query...), query...) })
	if answer := answerOK(query[4:]); !bytes.HasSuffix(said, append(bytes.Clone(answer), answer...)) {
		t.Errorf("the client was told %x", said)
	}
	if g.capturing.tap.Load() != nil {
		t.Error("the capture is on")
	}
}
