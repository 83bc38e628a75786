package writes

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/windlass-db/windlass/internal/capture"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/conns"
	"github.com/windlass-db/windlass/internal/replay/patterns"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/wire"
)

// step is one statement to run.
type step struct {
	id       uint64
	conn     conns.Key
	stmt     tally.Statement
	fp       tally.Fingerprint
	normal   string
	traits   query.Traits
	captured compare.Answer
	insert   uint64
	start    time.Time
	end      time.Time
	seq      uint64
	txn      *txn
	gtid     gtid // of what it commits; the number 0: not told
	made     bool // by us: a BEGIN that autocommit=0 stood for, or the ROLLBACK of a connection that ended
}

// txn is one transaction; a statement that commits by itself is one, too.
type txn struct {
	number uint64 // the capture's; 0: not known yet
	steps  []*step
	writes bool
	bad    string // why it can't be replayed
}

// pending is a Start that has no End yet.
type pending struct {
	event  capture.Event
	step   *step
	reason string // why it is not replayed; "": it may be
	skip   bool   // by design
}

// loader makes steps of a capture's events.
type loader struct {
	t       *tally.Tally
	conns   conns.All
	open    map[conns.Key]*pending
	txns    map[conns.Key]*txn
	done    []*txn
	long    map[prepared]bool // statements of which a parameter was sent apart
	held    int64
	most    int64
	masked  bool
	finder  patterns.Finder
	dropped map[[2]any]map[string]uint64 // by gateway and run, the last that was told
}

// prepared names a prepared statement.
type prepared struct {
	conn   conns.Key
	number uint32
}

// load reads the capture and gives the steps in the order in which they are run.
func (r *run) load(ctx context.Context) ([]*step, error) {
	l := &loader{t: r.out.Tally, open: map[conns.Key]*pending{}, txns: map[conns.Key]*txn{}, long: map[prepared]bool{}, most: r.Most, dropped: map[[2]any]map[string]uint64{}}
	for b, err := range r.Events(ctx) {
		if err != nil {
			return nil, fmt.Errorf("read the capture: %w", err)
		}
		if err := l.block(&b); err != nil {
			return nil, err
		}
	}
	l.finish()
	patterns.Tell(l.t, l.finder.Found())
	var steps []*step
	steps, r.out.Order, r.out.Transactions = arrange(l.done, r.after, r.Since, l.t)
	return steps, nil
}

func (l *loader) block(b *capture.Block) error {
	l.masked = b.Meta.Masked
	l.dropped[[2]any{b.Meta.Gateway, b.Meta.Run}] = b.Dropped
	for i := range b.Events {
		e := &b.Events[i]
		l.finder.Event(&b.Meta, e)
		c := l.conns.Event(&b.Meta, e)
		switch e.Kind {
		case capture.Start:
			l.unanswered(c.Key)
			l.started(c, e)
		case capture.End:
			if p := l.open[c.Key]; p != nil && p.event.Seq == e.Of {
				delete(l.open, c.Key)
				l.ended(c, p, e)
			}
		case capture.Close:
			l.unanswered(c.Key)
			l.over(c.Key, "ROLLBACK", e.At)
		}
	}
	if l.held > l.most {
		return fmt.Errorf("the writes of this capture take more than %d MiB of memory: give a shorter time of it", l.most>>20)
	}
	return nil
}

// started counts a statement and looks at what it is.
func (l *loader) started(c *conns.Conn, e *capture.Event) {
	cmd := wire.Command(e.Command)
	p := &pending{event: *e}
	text, _ := c.Text(e)
	hash, normal := query.Fingerprint(nil, text, c.Mode)
	s := &step{conn: c.Key, fp: tally.Fingerprint(hash), normal: string(normal), traits: query.Look(text, c.Mode), start: e.At, seq: e.Seq}
	s.id = xxh3.HashString(fmt.Sprintf("%s\x00%d\x00%d", c.Key.Gateway, c.Key.Run, e.Seq))
	p.step = s
	l.t.AddCaptured(s.fp, tally.Seen{Text: normal, Traits: s.traits, At: e.At})
	switch cmd {
	case wire.ComStmtPrepare, wire.ComStmtClose, wire.ComStmtReset, wire.ComStmtLongData, wire.ComInitDB, wire.ComSetOption, wire.ComResetConnection, wire.ComChangeUser, wire.ComFieldList, wire.ComStmtFetch:
		l.t.AddSkipped(s.fp, tally.SkipCommand)
		switch at := (prepared{c.Key, e.Statement}); cmd {
		case wire.ComStmtLongData:
			l.long[at] = true // its value is not in the EXECUTE
		case wire.ComStmtClose, wire.ComStmtReset:
			delete(l.long, at)
		case wire.ComResetConnection, wire.ComChangeUser:
			l.over(c.Key, "ROLLBACK", e.At)
		}
		return
	}
	var reason string
	if s.stmt, reason = c.Statement(e); reason == tally.SkipCredential {
		p.reason, p.skip = reason, true
	} else if p.reason = reason; reason == "" && l.masked {
		p.reason = tally.UnreplayableMasked
	}
	if at := (prepared{c.Key, e.Statement}); cmd == wire.ComStmtExecute && l.long[at] {
		p.reason = tally.UnreplayablePart
		delete(l.long, at)
	}
	s.stmt.Settings = withoutAutocommit(s.stmt.Settings)
	l.open[c.Key] = p
}

// withoutAutocommit leaves out what would change where transactions begin: that is told by the capture itself.
func withoutAutocommit(settings []string) []string {
	var out []string
	for _, s := range settings {
		_, normal := query.Fingerprint(nil, []byte(s), query.Mode{})
		if session.Classify([]byte(s), normal, query.Look([]byte(s), query.Mode{})).Auto == session.AutoSame {
			out = append(out, s)
		}
	}
	return out
}

var (
	accounts = regexp.MustCompile(`^(?:grant|revoke|(?:create|alter|drop|rename|set) (?:or replace )?(?:user|role|password|default role)|flush|optimize|repair|analyze|check|install|uninstall|(?:create|drop|alter) server)\b`)
	dml      = regexp.MustCompile(`^(?:with .*)?(?:insert|update|delete|replace)\b`)
)

// ended puts a statement where it belongs.
func (l *loader) ended(c *conns.Conn, p *pending, e *capture.Event) {
	s := p.step
	s.end, s.captured, s.insert = p.event.At.Add(e.Took), compare.Captured(e, 0), e.InsertID
	s.gtid = parseGTID(e.GTID)
	t := s.traits
	switch e.Errno {
	case 1213, 1205: // it changed nothing, and would do so again only if everything ran at once
		l.t.AddUnreplayable(s.fp, tally.UnreplayableEnvironment)
		if e.Errno == 1213 { // the server has rolled the transaction back
			l.over(c.Key, "ROLLBACK", s.end)
		}
		return
	}
	current := l.txns[c.Key]
	if p.event.Lost > 0 && current != nil {
		current.bad = tally.UnreplayablePart
	}
	in := p.event.Txn
	switch {
	case p.reason == "" && t.Has(query.Begins) && !t.Has(query.Ends):
		l.over(c.Key, "COMMIT", s.start)
		l.add(&txn{number: in}, c.Key, s, true)
	case in > 0 && t.Has(query.Defines) && !t.Has(query.OwnSession): // it commits what is open before it begins
		l.over(c.Key, "COMMIT", s.start)
		l.alone(s, p)
		return
	case in > 0 || inTransaction(e): // the first of a transaction that no BEGIN began has no number yet
		if in == 0 && current != nil && current.number > 0 {
			l.over(c.Key, "COMMIT", s.start)
		}
		x := l.within(c.Key, in)
		if p.reason != "" {
			x.bad = tally.UnreplayablePart
		}
		l.add(x, c.Key, s, true)
	default:
		l.over(c.Key, "COMMIT", s.start)
		l.alone(s, p)
		return
	}
	if e.Errno == 1020 { // the server has rolled it back
		l.over(c.Key, "ROLLBACK", s.end)
		return
	}
	if x := l.txns[c.Key]; x != nil && (t.Has(query.Ends) && e.Errno == 0 || e.Errno == 0 && e.Status != 0 && !inTransaction(e)) {
		delete(l.txns, c.Key)
		l.close(x)
	}
}

func inTransaction(e *capture.Event) bool { return wire.Status(e.Status)&wire.StatusInTrans != 0 }

// within gives the connection's transaction of that number.
func (l *loader) within(k conns.Key, number uint64) *txn {
	x := l.txns[k]
	if x != nil && x.number == 0 {
		x.number = number
	}
	if x == nil || number != 0 && x.number != number {
		if x != nil {
			delete(l.txns, k)
			l.close(x)
		}
		x = &txn{number: number}
		l.txns[k] = x
	}
	return x
}

// add puts a statement into a transaction.
func (l *loader) add(x *txn, k conns.Key, s *step, counted bool) {
	l.txns[k] = x
	s.txn, s.made = x, !counted
	x.steps = append(x.steps, s)
	l.held += int64(len(s.stmt.Text)+len(s.stmt.Params)+len(s.normal)) + 600
	t := s.traits
	switch {
	case t.Any(query.Multi | query.Files), t.Has(query.Begins | query.Ends): // the latter is XA, of which another session may do the end
		x.bad = tally.UnreplayablePart
	case t.Any(query.Writes | query.Defines):
		x.writes = true
	}
}

// alone takes a statement outside of a transaction.
func (l *loader) alone(s *step, p *pending) {
	t := s.traits
	switch {
	case p.skip:
		l.t.AddSkipped(s.fp, p.reason)
	case p.reason != "":
		l.t.AddUnreplayable(s.fp, p.reason)
	case t.Any(query.Multi):
		l.t.AddSkipped(s.fp, tally.SkipMulti)
	case t.Any(query.Files) || loads.MatchString(s.normal):
		l.t.AddSkipped(s.fp, tally.SkipFiles)
	case accounts.MatchString(s.normal):
		l.t.AddSkipped(s.fp, tally.SkipDefinition)
	case t.Any(query.Writes | query.Defines):
		x := &txn{writes: true, steps: []*step{s}}
		s.txn = x
		l.held += int64(len(s.stmt.Text)+len(s.stmt.Params)+len(s.normal)) + 600
		l.done = append(l.done, x)
	case t.Any(query.Locks):
		l.t.AddSkipped(s.fp, tally.SkipLocks)
	case t.Has(query.Reads):
		l.t.AddSkipped(s.fp, tally.SkipRead)
	case t.Any(query.Ends | query.Begins):
		l.t.AddSkipped(s.fp, tally.SkipTransaction)
	default:
		l.t.AddSkipped(s.fp, tally.SkipSession)
	}
}

var loads = regexp.MustCompile(`^load (?:data|xml)\b`)

// unanswered gives up a Start without an End.
func (l *loader) unanswered(k conns.Key) {
	p := l.open[k]
	if p == nil {
		return
	}
	delete(l.open, k)
	l.t.AddUnreplayable(p.step.fp, tally.UnreplayableCut)
	if x := l.txns[k]; x != nil {
		x.bad = tally.UnreplayablePart
	}
}

// over ends a transaction that no statement has ended.
func (l *loader) over(k conns.Key, how string, at time.Time) {
	x := l.txns[k]
	if x == nil {
		return
	}
	delete(l.txns, k)
	if n := len(x.steps); n > 0 {
		last := x.steps[n-1]
		s := last.stmt
		s.Command, s.Text, s.Params, s.Types = byte(wire.ComQuery), []byte(how), nil, nil
		x.steps = append(x.steps, &step{conn: k, stmt: s, traits: query.Ends, start: at, end: at, seq: last.seq, txn: x, made: true})
	}
	l.close(x)
}

// close decides about a transaction that is over.
func (l *loader) close(x *txn) {
	if len(x.steps) == 0 {
		return
	}
	if x.bad == "" && x.writes {
		if first := x.steps[0]; !first.traits.Has(query.Begins) {
			s := first.stmt
			s.Command, s.Text, s.Params, s.Types = byte(wire.ComQuery), []byte("START TRANSACTION"), nil, nil
			x.steps = append([]*step{{conn: first.conn, stmt: s, traits: query.Begins, start: first.start, end: first.start, seq: first.seq, txn: x, made: true}}, x.steps...)
		}
		l.done = append(l.done, x)
		return
	}
	for _, s := range x.steps {
		l.held -= int64(len(s.stmt.Text)+len(s.stmt.Params)+len(s.normal)) + 600
		leave(l.t, s, x.bad)
	}
}

// leave counts a step that is not run.
func leave(t *tally.Tally, s *step, bad string) {
	switch {
	case s.made:
	case bad == tally.SkipBefore:
		t.AddSkipped(s.fp, bad)
	case bad != "":
		t.AddUnreplayable(s.fp, bad)
	case s.traits.Any(query.Begins | query.Ends):
		t.AddSkipped(s.fp, tally.SkipTransaction)
	case s.traits.Has(query.Reads):
		t.AddSkipped(s.fp, tally.SkipRead)
	default:
		t.AddSkipped(s.fp, tally.SkipSession)
	}
}

// finish gives up what the capture's end left open.
func (l *loader) finish() {
	for k := range l.open {
		l.unanswered(k)
	}
	for k, x := range l.txns {
		delete(l.txns, k)
		if x.writes && x.bad == "" {
			x.bad = tally.UnreplayableUnended
		}
		l.close(x)
	}
	for _, reasons := range l.dropped {
		for reason, n := range reasons {
			if reason != "end" {
				l.t.AddDropped(reason, int64(n))
			}
		}
	}
}
