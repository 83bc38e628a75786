package run

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// client is what is known of a captured connection at the place to which the capture was read.
type client struct {
	w       *worker // stands for it; nil: nothing was sent yet
	mine    bool    // of our share
	known   bool    // a Session event told of it
	partial bool    // its settings are not wholly known

	env     *session.Env
	mode    query.Mode
	changed bool // by a statement that was sent since the last Session event
	stmts   map[uint32]*prepared
	temps   map[string]bool // names of temporary tables that it made, in lower case
	assigns bool            // it has user variables whose values are not known

	noAuto bool   // autocommit is off
	theirs uint64 // the capture's number of the transaction
	txn    uint64 // ours; 0: none
	txns   uint64
	wrote  bool // in the transaction

	counted bool // the statement before was a read that was sent: FOUND_ROWS is its
	open    *job // whose answer was not read yet
}

// prepared is a prepared statement of a client.
type prepared struct {
	p      *session.Prepared
	class  *session.Class
	fp     tally.Fingerprint
	normal []byte
}

// verdict is what is known of a text.
type verdict struct {
	class  *session.Class
	fp     tally.Fingerprint
	normal []byte // until the next one
}

// classes are remembered by fingerprint, as the class depends on the normal form alone.
type classes struct {
	known map[uint64]*session.Class
	buf   []byte
}

// mostClasses bounds what is remembered.
const mostClasses = 1 << 16

func (c *classes) of(text []byte, mode query.Mode) verdict {
	var fp uint64
	fp, c.buf = query.Fingerprint(c.buf, text, mode)
	class := c.known[fp]
	if class == nil || class.Kind == session.Set { // what a SET sets is in its values
		made := session.Classify(text, c.buf, query.Look(text, mode))
		class = &made
		if c.known == nil || len(c.known) >= mostClasses {
			c.known = map[uint64]*session.Class{}
		}
		c.known[fp] = class
	}
	return verdict{class, tally.Fingerprint(fp), c.buf}
}

// session takes a Session event.
func (rd *reader) session(ctx context.Context, s *stream, e *capture.Event) error {
	c := s.clients[e.Conn]
	if c == nil {
		c = &client{mine: rd.r.Share.has(s.key, e.Conn), stmts: map[uint32]*prepared{}}
		s.clients[e.Conn] = c
	}
	if !c.mine {
		return nil
	}
	env, mode, assigns := session.NewEnv(e.User, e.Schema, e.Charset, slices.Clone(e.Settings))
	was := c.env
	c.partial, c.assigns = e.Partial, c.assigns || assigns
	if c.known && was != nil && same(was, env) {
		c.changed = false
		return nil
	}
	op := opEnter
	if c.known && c.changed && was.Schema == env.Schema && was.Charset == env.Charset {
		op = opAdopt // the statements that changed it were sent
	}
	c.known, c.changed, c.env, c.mode = true, false, env, mode
	return rd.send(ctx, s, c, &job{op: op, env: env, at: e.At})
}

// start takes a statement.
func (rd *reader) start(ctx context.Context, s *stream, e *capture.Event) error {
	c := s.clients[e.Conn]
	if c == nil {
		c = &client{mine: rd.r.Share.has(s.key, e.Conn), stmts: map[uint32]*prepared{}}
		s.clients[e.Conn] = c
	}
	if !c.mine {
		return nil
	}
	rd.unanswered(s, c)
	if err := rd.transaction(ctx, s, c, e); err != nil {
		return err
	}
	if e.Lost > 0 && c.txn != 0 {
		c.wrote = true // nobody knows what it did
	}
	switch cmd := wire.Command(e.Command); cmd {
	case wire.ComStmtLongData:
		if p := c.stmts[e.Statement]; p != nil && rd.counts && c.known && p.class.Kind == session.Read {
			return rd.send(ctx, s, c, &job{op: opLongData, env: c.env, at: e.At, req: session.Request{Prepared: p.p, Params: bytes.Clone(e.Payload)}})
		}
		return nil
	case wire.ComStmtClose:
		p := c.stmts[e.Statement]
		delete(c.stmts, e.Statement)
		if p != nil && c.w != nil {
			return rd.send(ctx, s, c, &job{op: opForget, env: c.env, at: e.At, req: session.Request{Prepared: p.p}})
		}
		return nil
	case wire.ComQuery:
		return rd.statement(ctx, s, c, e, rd.classes.of(e.Payload, c.mode), session.Request{Command: cmd, Text: e.Payload})
	case wire.ComInitDB:
		v := rd.classes.of(append([]byte("use "), e.Payload...), c.mode)
		return rd.statement(ctx, s, c, e, v, session.Request{Command: cmd, Text: e.Payload})
	case wire.ComStmtPrepare:
		v := rd.classes.of(e.Payload, c.mode)
		p := &prepared{p: &session.Prepared{Text: bytes.Clone(e.Payload)}, class: v.class, fp: v.fp, normal: bytes.Clone(v.normal)}
		c.stmts[e.Statement] = p
		return rd.statement(ctx, s, c, e, v, session.Request{Command: cmd, Prepared: p.p})
	case wire.ComStmtExecute:
		p := c.stmts[e.Statement]
		if p == nil {
			return rd.unreplayable(s, e, verdict{class: nothing}, tally.UnreplayableUnknownStatement)
		}
		v := verdict{p.class, p.fp, p.normal}
		if k := p.class.Kind; k != session.Read && k != session.Skip { // BEGIN and the like, prepared: as a text they are the same
			return rd.statement(ctx, s, c, e, v, session.Request{Command: wire.ComQuery, Text: p.p.Text})
		}
		if len(e.Payload) > 4 && e.Payload[4] != 0 && p.class.Kind == session.Read {
			return rd.unreplayable(s, e, v, unreplayableCursor) // the rows are fetched by a cursor: they are not this one's answer
		}
		return rd.statement(ctx, s, c, e, v, session.Request{Command: cmd, Prepared: p.p, Params: e.Payload, Types: e.Types})
	case wire.ComResetConnection, wire.ComChangeUser:
		rd.skip(s, e, verdict{class: nothing}, tally.SkipSession)
		if err := rd.commit(ctx, s, c, e); err != nil {
			return err
		}
		clear(c.stmts)
		c.temps, c.assigns, c.noAuto = nil, false, false
		if c.env == nil || cmd == wire.ComChangeUser {
			return nil // a Session event says who it is now
		}
		c.env, c.mode, c.partial = &session.Env{User: c.env.User, Schema: c.env.Schema, Charset: c.env.Charset}, query.Mode{}, false
		return rd.send(ctx, s, c, &job{op: opEnter, env: c.env, at: e.At})
	}
	rd.skip(s, e, verdict{class: nothing}, tally.SkipCommand)
	return nil
}

// nothing is the class of what has no text.
var nothing = &session.Class{Reason: tally.SkipCommand}

// temporary finds the name of a temporary table that is made.
var temporary = regexp.MustCompile(`^create (?:or replace )?temporary (?:table|sequence) (?:if not exists )?(?:[^ (]+\.)?([^ (]+)`)

// statement decides what is done with a statement, and does it.
func (rd *reader) statement(ctx context.Context, s *stream, c *client, e *capture.Event, v verdict, req session.Request) error {
	class := v.class
	found := c.counted
	c.counted = false
	if e.Withheld != "" {
		if c.txn != 0 {
			c.wrote = true
		}
		switch e.Withheld {
		case capture.WithheldAttributes:
			return rd.unreplayable(s, e, verdict{class: nothing}, unreplayableAttributes)
		default:
			rd.skip(s, e, verdict{class: nothing}, e.Withheld) // its words are those of the ledger
			return nil
		}
	}
	prepare := req.Command == wire.ComStmtPrepare
	if !prepare {
		if class.Writes && c.txn != 0 {
			c.wrote = true
		}
		c.assigns = c.assigns || class.Assigns
		if class.Traits.Has(query.Defines) {
			if m := temporary.FindSubmatch(v.normal); m != nil {
				c.made(m[1])
			} else if c.dropped(v.normal); bytes.HasPrefix(v.normal, []byte("drop temporary ")) {
				// which ends no transaction
			} else if err := rd.commit(ctx, s, c, e); err != nil { // a definition ends the transaction
				return err
			}
		}
	}
	switch {
	case class.Kind == session.NoEffect:
		rd.skip(s, e, v, tally.SkipTransaction)
		return nil
	case class.Kind == session.Skip, prepare && class.Kind != session.Read:
		rd.skip(s, e, v, cmp.Or(class.Reason, tally.SkipSession))
		return nil
	case !c.known:
		return rd.unreplayable(s, e, v, tally.UnreplayableUnknownSession)
	case e.Cut > 0:
		return rd.unreplayable(s, e, v, tally.UnreplayableCut)
	case class.Kind == session.Read && s.block.Meta.Masked:
		return rd.unreplayable(s, e, v, tally.UnreplayableMasked)
	case class.Kind == session.Read && !prepare:
		switch {
		case c.wrote && c.txn != 0:
			return rd.unreplayable(s, e, v, tally.UnreplayableOwnWrite)
		case c.partial, len(c.temps) >= mostTemporary:
			return rd.unreplayable(s, e, v, tally.UnreplayableUnknownSession)
		case class.Variables && c.assigns, class.FoundRows && !found, c.temp(v.normal):
			rd.skip(s, e, v, tally.SkipOwnSession)
			return nil
		}
		c.counted = true
	}
	j := &job{env: c.env, class: class, fp: v.fp, at: e.At, txn: c.txn, req: req, seq: e.Seq, id: s.id(e.Seq)}
	j.req.Text, j.req.Params, j.req.Types = bytes.Clone(req.Text), bytes.Clone(req.Params), bytes.Clone(req.Types)
	if class.Traits.Has(query.Clock) {
		j.req.Clock = e.At
	}
	switch class.Kind {
	case session.Begin:
		c.begin()
		j.txn = c.txn
		j.req.Text = []byte("START TRANSACTION READ ONLY")
		if class.Snapshot {
			j.req.Text = []byte("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
		}
	case session.End:
		c.end()
		j.req.Text = []byte("ROLLBACK")
		if class.Commit {
			j.req.Text = []byte("COMMIT")
		}
	case session.Use:
		name := string(req.Text)
		if req.Command == wire.ComQuery {
			name = session.Schema(req.Text)
		}
		c.env, c.changed = c.env.In(name), true
		j.after = c.env
	case session.Set:
		c.env, c.mode = c.env.With(class, j.req.Text, c.mode)
		j.after, c.changed = c.env, true
		switch class.Auto {
		case session.AutoOff:
			c.noAuto = true
		case session.AutoOn:
			c.noAuto = false
			c.end()
		}
	case session.Read:
		if !rd.counts {
			return nil
		}
		if c.noAuto && c.txn == 0 && !prepare {
			c.begin()
			j.txn = c.txn
		}
	}
	if rd.counts {
		rd.captured(s, e, v)
		j.part = s.part
		s.part.pending.Add(1)
		s.open[e.Seq], c.open = j, j
		if n := int64(len(s.open)); n > rd.r.production.Load() {
			rd.r.production.Store(n)
		}
	}
	j.size = min(overhead+int64(len(j.req.Text)+len(j.req.Params)+len(j.req.Types)), rd.r.Memory) // one that is larger has all of it
	return rd.send(ctx, s, c, j)
}

// Reasons beyond those of package tally.
const (
	unreplayableAttributes = "attributes" // the text lies behind attributes, and was not looked for there
	unreplayableCursor     = "cursor"     // its rows are fetched later, and belong to no statement
)

// transaction follows the transaction that the capture says the statement is in.
func (rd *reader) transaction(ctx context.Context, s *stream, c *client, e *capture.Event) error {
	switch {
	case e.Txn == c.theirs:
	case e.Txn == 0:
		c.theirs = 0
		return rd.commit(ctx, s, c, e)
	default:
		if c.theirs != 0 {
			if err := rd.commit(ctx, s, c, e); err != nil {
				return err
			}
		}
		c.theirs = e.Txn
		if c.txn == 0 {
			c.begin()
		}
	}
	return nil
}

// commit ends a transaction whose end is no statement that was sent.
func (rd *reader) commit(ctx context.Context, s *stream, c *client, e *capture.Event) error {
	if c.txn == 0 {
		return nil
	}
	c.end()
	if c.w == nil {
		return nil
	}
	return rd.send(ctx, s, c, &job{class: nothing, env: c.env, at: e.At, req: session.Request{Command: wire.ComQuery, Text: []byte("COMMIT")}})
}

func (c *client) begin() {
	c.txns++
	c.txn, c.wrote = c.txns, false
}

func (c *client) end() { c.txn, c.wrote = 0, false }

// mostTemporary is how many temporary tables of a connection are remembered: of one that makes more nothing is known.
const mostTemporary = 64

// made remembers a temporary table.
func (c *client) made(name []byte) {
	if c.temps == nil {
		c.temps = map[string]bool{}
	}
	if len(c.temps) >= mostTemporary {
		return
	}
	c.temps[string(bytes.ToLower(bytes.Trim(name, "`")))] = true
}

// dropped forgets the temporary tables that a DROP names.
func (c *client) dropped(normal []byte) {
	if len(c.temps) == 0 || !bytes.HasPrefix(normal, []byte("drop ")) {
		return
	}
	lower := bytes.ToLower(normal)
	maps.DeleteFunc(c.temps, func(name string, _ bool) bool { return names(lower, name) })
}

// temp reports whether a statement names a temporary table of the session.
func (c *client) temp(normal []byte) bool {
	if len(c.temps) == 0 {
		return false
	}
	lower := bytes.ToLower(normal)
	for name := range c.temps {
		if names(lower, name) {
			return true
		}
	}
	return false
}

// names reports whether a name is in a text, as a whole.
func names(text []byte, name string) bool {
	for at := 0; ; at++ {
		i := bytes.Index(text[at:], []byte(name))
		if i < 0 {
			return false
		}
		at += i
		if end := at + len(name); (at == 0 || !inName(text[at-1])) && (end == len(text) || !inName(text[end])) {
			return true
		}
	}
}

func inName(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 0x80
}
