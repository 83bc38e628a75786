// Package conns follows the connections of a capture: who each is, what its session was given, and the texts of its prepared statements; so that a captured statement can be
// run by itself.
//
// Model. Events are told in the order of a gateway's run. A capture's file says of each connection, before its first event, all that is needed, so that reading may begin with any file.
//
// Failure. What the capture does not hold is told as missing, never guessed: a statement of an unknown prepared text, or of a session that is only partly known, is none that can be run.
package conns

import (
	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// Key names a connection over all gateways and runs.
type Key struct {
	Gateway   string
	Run, Conn uint64
}

// All are the connections of a capture. The zero value is ready.
type All struct{ m map[Key]*Conn }

// Conn is one connection.
type Conn struct {
	Key      Key
	Known    bool // a Session event was seen
	Partial  bool // its session's state is not wholly known
	User     string
	Schema   string
	Charset  uint16
	Settings []string
	Mode     query.Mode // how its texts are cut into tokens

	prepared map[uint32][]byte
}

// Event takes what an event says of its connection, and gives the connection; of one that has ended for the last time.
func (a *All) Event(m *capture.Meta, e *capture.Event) *Conn {
	k := Key{m.Gateway, m.Run, e.Conn}
	c := a.m[k]
	if c == nil {
		c = &Conn{Key: k, prepared: map[uint32][]byte{}}
		if a.m == nil {
			a.m = map[Key]*Conn{}
		}
		a.m[k] = c
	}
	switch e.Kind {
	case capture.Session:
		c.Known, c.Partial, c.User, c.Schema, c.Charset, c.Settings = true, e.Partial, e.User, e.Schema, e.Charset, e.Settings
		c.Mode = query.Mode{}
		for _, s := range e.Settings {
			_, normal := query.Fingerprint(nil, []byte(s), query.Mode{})
			if session.Classify([]byte(s), normal, query.Look([]byte(s), query.Mode{})).Modes {
				c.Mode = session.Modes([]byte(s), c.Mode)
			}
		}
	case capture.Known:
		c.prepared[e.Statement] = e.Payload
	case capture.Start:
		switch wire.Command(e.Command) {
		case wire.ComStmtPrepare:
			c.prepared[e.Statement] = e.Payload
		case wire.ComStmtClose:
			delete(c.prepared, e.Statement)
		}
	case capture.Close:
		delete(a.m, k)
	}
	return c
}

// Text is what a Start says; false if that is not in the capture, or if it says nothing.
func (c *Conn) Text(e *capture.Event) ([]byte, bool) {
	switch wire.Command(e.Command) {
	case wire.ComQuery, wire.ComStmtPrepare:
		return e.Payload, e.Withheld == "" && e.Cut == 0
	case wire.ComStmtExecute, wire.ComStmtBulkExecute, wire.ComStmtFetch:
		text, ok := c.prepared[e.Statement]
		return text, ok
	}
	return nil, false
}

// Statement makes a Start one that can be run by itself; otherwise it says why that can't be, by one of the tally's reasons.
func (c *Conn) Statement(e *capture.Event) (s tally.Statement, reason string) {
	text, ok := c.Text(e)
	switch cmd := wire.Command(e.Command); {
	case cmd != wire.ComQuery && cmd != wire.ComStmtExecute:
		return s, tally.SkipCommand
	case e.Withheld != "":
		return s, tally.SkipCredential
	case e.Cut > 0:
		return s, tally.UnreplayableCut
	case !ok:
		return s, tally.UnreplayableUnknownStatement
	case !c.Known:
		return s, tally.UnreplayableUnknownSession
	}
	s = tally.Statement{Schema: c.Schema, User: c.User, Charset: c.Charset, Settings: c.Settings, At: e.At, Command: e.Command, Text: text}
	if wire.Command(e.Command) == wire.ComStmtExecute {
		s.Params, s.Types = e.Payload, e.Types
	}
	return s, ""
}
