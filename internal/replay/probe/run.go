package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/session"
	"github.com/windlass-db/windlass/internal/replay/tally"
	"github.com/windlass-db/windlass/internal/rowhash"
	"github.com/windlass-db/windlass/internal/wire"
)

// Result is what came of a statement.
type Result struct {
	Answer compare.Answer
	Data   compare.Result // every row, unless Cut
	Cut    bool           // the rows are too many to keep: Answer has the hash of all of them
	Insert uint64         // the number that AUTO_INCREMENT gave
}

// errNotOne means that there is no statement to run by itself.
var errNotOne = errors.New("this event is no statement that can be run by itself")

// Enter gives the session what the statement had around it. Nothing of it ends or begins a transaction, or changes what one sees. A character set, schema or setting that the server
// does not know is a refusal (*wire.ServerError): the session's state is then not known any more, and nothing should be run in it. Settings that reach beyond a session are left out.
func (p *Session) Enter(ctx context.Context, s tally.Statement) error {
	var settings, set []string
	for _, stmt := range s.Settings {
		settings = append(settings, harmlessParts(stmt)...)
	}
	want := scene{schema: s.Schema, charset: s.Charset, mode: s.SQLMode, settings: strings.Join(settings, "\x00")}
	if p.fresh || want.settings != p.in.settings || want.mode != p.in.mode || want.charset != p.in.charset {
		// What an earlier statement's session had set is put back first; then comes what a login brings, then what was set after it.
		for _, stmt := range p.set {
			set = append(set, undo(stmt)...)
		}
		mode := "DEFAULT"
		if want.mode != "" {
			mode = node.Quote(want.mode)
		}
		set = append(set, p.names(want.charset), "SET SESSION sql_mode="+mode)
		set = append(set, settings...)
	}
	if want.schema != "" && (p.fresh || want.schema != p.in.schema) {
		set = append(set, "USE "+node.Ident(want.schema))
	}
	if !s.At.IsZero() {
		set = append(set, fmt.Sprintf("SET SESSION timestamp=%d.%06d", s.At.Unix(), s.At.Nanosecond()/1000))
	}
	p.fresh, p.set = true, append(slices.Clone(p.set), settings...) // of an entry that fails half-way nothing is known
	for _, stmt := range set {
		if _, err := p.query(ctx, stmt); err != nil {
			return fmt.Errorf("%s: %w", stmt, err)
		}
	}
	if want.schema == "" {
		want.schema = p.in.schema // there is no way back to none; a statement without one names its tables whole
	}
	p.in, p.fresh, p.set = want, false, settings
	return nil
}

// own are settings that a probe's session decides: those that would commit what is open (autocommit) or can't be changed within a transaction, and the limits of time.
var own = regexp.MustCompile(`\b(?:autocommit|tx_isolation|transaction_isolation|tx_read_only|transaction_read_only|completion_type|transaction|` +
	`max_statement_time|max_execution_time|wait_timeout|interactive_timeout|lock_wait_timeout|innodb_lock_wait_timeout|net_read_timeout|net_write_timeout|idle_\w*transaction_timeout)\b`)

// harmlessParts leaves out of a SET what is not harmless, assignment by assignment.
func harmlessParts(stmt string) []string {
	if harmless(stmt) {
		return []string{stmt}
	}
	head, list := stmt[:min(4, len(stmt))], stmt[min(4, len(stmt)):]
	parts := assignments(list)
	if !strings.EqualFold(head, "set ") || len(parts) < 2 {
		return nil
	}
	var out []string
	for _, part := range parts {
		if one := "SET " + strings.TrimSpace(part); harmless(one) {
			out = append(out, one)
		}
	}
	return out
}

// harmless reports whether a setting stays within its session, and leaves a snapshot as it is.
func harmless(stmt string) bool {
	text := []byte(stmt)
	_, normal := query.Fingerprint(nil, text, query.Mode{})
	return session.Classify(text, normal, query.Look(text, query.Mode{})).Kind == session.Set && !own.Match(normal)
}

// undo makes statements that take back what SET did.
func undo(stmt string) []string {
	rest, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(stmt)), "set ")
	if !ok {
		return nil
	}
	var out []string
	for _, part := range assignments(rest) {
		name, _, ok := strings.Cut(part, "=")
		name = strings.TrimSpace(strings.TrimRight(strings.TrimSpace(name), ":"))
		if !ok || strings.HasPrefix(name, "@") && !strings.HasPrefix(name, "@@") {
			continue // NAMES, or a variable of the user's own
		}
		out = append(out, "SET "+name+"=DEFAULT")
	}
	return out
}

// assignments cuts a list at its commas, but not within quotes or brackets.
func assignments(list string) []string {
	var out []string
	depth, from := 0, 0
	var quote rune
	for i, c := range list {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out, from = append(out, list[from:i]), i+1
		}
	}
	return append(out, list[from:])
}

// names makes SET NAMES of a collation's number. A client that names the collation that its character set is compiled with means the character set:
// servers put their own collation in its place, and versions differ in which.
func (p *Session) names(id uint16) string {
	cs, ok := p.charsets[id]
	switch {
	case !ok:
		return "SET NAMES utf8mb4"
	case cs.usual:
		return "SET NAMES " + cs.name
	}
	return "SET NAMES " + cs.name + " COLLATE " + cs.collation
}

// Run runs one statement as it was sent. What the server refuses is in the answer; an error means that the connection is lost.
func (p *Session) Run(ctx context.Context, s tally.Statement) (Result, error) {
	switch wire.Command(s.Command) {
	case wire.ComQuery, 0:
		return p.send(ctx, wire.ComQuery, append([]byte{byte(wire.ComQuery)}, s.Text...))
	case wire.ComStmtExecute:
	default:
		return Result{}, fmt.Errorf("command %#x: %w", s.Command, errNotOne)
	}
	release := p.b.Bound(ctx)
	prepared, err := p.b.Prepare(append([]byte{byte(wire.ComStmtPrepare)}, s.Text...))
	cut := release()
	var e *wire.ServerError
	if errors.As(err, &e) {
		return Result{Answer: compare.Answer{Errno: e.Code, SQLState: e.State, Message: e.Message}}, nil
	}
	if err = errors.Join(err, cut); err != nil {
		return Result{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	payload, err := Execute(prepared.ID, int(prepared.Params), s.Params, s.Types)
	if err != nil {
		return Result{}, err
	}
	r, err := p.send(ctx, wire.ComStmtExecute, payload)
	if err != nil {
		return r, err
	}
	p.b.Seq = 0
	return r, p.b.WritePacket(binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtClose)}, prepared.ID))
}

// Execute makes the COM_STMT_EXECUTE of another server's statement from a captured one's payload: with that server's number, without a cursor, and with the types that
// the client had sent once.
func Execute(id uint32, params int, payload, types []byte) ([]byte, error) {
	out := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtExecute)}, id)
	out = append(out, 0, 1, 0, 0, 0)
	if params == 0 {
		return out, nil
	}
	nulls := (params + 7) / 8
	if len(payload) < 9+nulls+1 || len(types) < 2*params {
		return nil, fmt.Errorf("an EXECUTE of %d parameters is cut short: %w", params, errNotOne)
	}
	values := payload[9+nulls+1:]
	if payload[9+nulls] != 0 { // its types come with it
		if len(values) < 2*params {
			return nil, fmt.Errorf("an EXECUTE of %d parameters is cut short: %w", params, errNotOne)
		}
		types, values = values[:2*params], values[2*params:]
	}
	out = append(out, payload[9:9+nulls]...)
	out = append(out, 1)
	out = append(out, types[:2*params]...)
	return append(out, values...), nil
}

// send writes a command and reads its answer.
func (p *Session) send(ctx context.Context, cmd wire.Command, payload []byte) (Result, error) {
	release := p.b.Bound(ctx)
	r, err := p.exchange(cmd, payload)
	if cut := release(); err != nil && cut != nil {
		err = cut
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", p.Name, err)
	}
	return r, nil
}

func (p *Session) exchange(cmd wire.Command, payload []byte) (Result, error) {
	a := answer{binary: cmd == wire.ComStmtExecute, limit: p.limit}
	p.b.Seq = 0
	began := time.Now()
	if err := p.b.WritePacket(payload); err != nil {
		return a.res, err
	}
	var reply wire.Reply
	reply.Reset(cmd, p.b.Caps)
	for !reply.Done() {
		packet, err := p.b.ReadPacket()
		if err != nil {
			return a.res, err
		}
		if a.res.Answer.FirstByte == 0 {
			a.res.Answer.FirstByte = time.Since(began)
		}
		before, ev := reply.Rows, wire.EventMore
		if len(packet) < wire.MaxFrame {
			frame := append([]byte{byte(len(packet)), byte(len(packet) >> 8), byte(len(packet) >> 16), 0}, packet...)
			if _, ev, err = reply.Scan(frame); err != nil {
				return a.res, err
			}
		} else if !a.rows { // nothing but a row is that long
			return a.res, errors.New("a packet of 16 MB that is no row")
		}
		if err := a.packet(ev, packet, ev == wire.EventMore && (reply.Rows > before || len(packet) >= wire.MaxFrame), p.b.Caps); err != nil {
			return a.res, err
		}
	}
	out := &a.res.Answer
	out.Took = time.Since(began)
	out.Columns, out.Ordered, out.Multiset = a.hash.Columns(), a.hash.Ordered(), a.hash.Multiset()
	p.b.Seq = 0
	return a.res, nil
}

// answer gathers an answer's packets.
type answer struct {
	res    Result
	binary bool
	rows   bool // the definitions are over
	limit  int64
	hash   rowhash.Answer // as captures and replays have it

	decimals []byte // of each column
}

func (a *answer) packet(ev wire.Event, packet []byte, row bool, caps wire.Capability) error {
	out := &a.res.Answer
	switch ev {
	case wire.EventERR:
		e, err := wire.ParseERR(packet)
		if err != nil {
			return err
		}
		out.Errno, out.SQLState, out.Message = e.Code, e.State, e.Message
	case wire.EventOK:
		ok, err := wire.ParseOK(packet, caps)
		if err != nil {
			return err
		}
		out.Status, out.Warnings = uint16(ok.Status), ok.Warnings
		out.Affected += ok.Affected
		if ok.InsertID != 0 {
			a.res.Insert = ok.InsertID
		}
	case wire.EventEOF:
		e, err := wire.ParseEOF(packet)
		if err != nil {
			return err
		}
		a.rows = true
		out.Status, out.Warnings = uint16(e.Status), e.Warnings
	case wire.EventColumns:
		a.res.Data.Columns, a.decimals, a.rows = nil, nil, false
		a.hash.Result(int(wire.NewCursor(packet).Lenenc()))
	case wire.EventLocalFile:
		return errors.New("the server asks for a local file, which was never offered")
	case wire.EventMore:
		if !row {
			c, decimals, err := column(packet)
			a.decimals = append(a.decimals, decimals)
			a.res.Data.Columns = append(a.res.Data.Columns, c)
			a.hash.Column(packet)
			return err
		}
		a.rows = true
		return a.row(packet)
	}
	return nil
}

func (a *answer) row(packet []byte) error {
	out := &a.res.Answer
	out.Rows++
	out.Bytes += uint64(len(packet))
	a.hash.Row(packet, true)
	if a.res.Cut || int64(out.Bytes) > a.limit {
		a.res.Cut, a.res.Data.Rows = true, nil
		return nil
	}
	var values [][]byte
	var err error
	if a.binary {
		values, err = binaryRow(packet, a.res.Data.Columns, a.decimals)
	} else {
		values, err = textRow(packet, a.res.Data.Columns)
	}
	a.res.Data.Rows = append(a.res.Data.Rows, values)
	return err
}
