// Package source reads what servers log of their statements as captured events: the slow log of MariaDB and MySQL, with long_query_time=0, and the query
// log of vtgate, as text or as its not quite valid JSON.
//
// The model: a log has one entry for each statement, written when it ended. It becomes a Start and an End, put in order of time again as far as memory
// goes; sessions are made of what the entries say of their connection. A log is cut by lines, and lines that are no entry are counted and passed over.
//
// Invariants: nothing is made up. What a log does not say is named by Lacks, and a zero in such a field is no zero. What it says of a statement, but not
// enough to run it, is counted as dropped, with the reason. No entry is read twice, and none is lost silently: what can't be read is in Loss.
//
// Failure: a log that begins or ends in the middle of an entry, was rotated, has zeros of a truncated file, or was damaged, gives every entry that is whole.
package source

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/capture"
)

// Format is a kind of log.
type Format string

// The formats.
const (
	SlowLog    Format = "slowlog"
	VTGateText Format = "vtgate-text"
	VTGateJSON Format = "vtgate-json"
)

// Formats are all of them.
func Formats() []Format { return []Format{SlowLog, VTGateText, VTGateJSON} }

// What capture.Meta.Source is for each kind of log.
const (
	slowMariaDB    = "slowlog-mariadb"
	slowMySQL      = "slowlog-mysql"
	slowMySQLExtra = "slowlog-mysql-extra" // with log_slow_extra
)

// Lack is what a source does not say of its statements.
type Lack uint32

// The things that may be lacking.
const (
	LacksHash        Lack = 1 << iota // what the rows held
	LacksColumns                      // the columns' names and types
	LacksRows                         // how many rows a statement gave
	LacksErrors                       // whether it failed, and with which error
	LacksAffected                     // how many rows it changed
	LacksWarnings                     // how many warnings there were
	LacksStatus                       // the server's flags, such as that no index was used
	LacksPrepared                     // prepared statements and their parameters' types: they are there as text
	LacksTransaction                  // which transaction a statement is in, but for BEGIN and COMMIT among the statements
	LacksSession                      // character set and settings of connections that were open before the log began
	LacksMoment                       // when it began, closer than to a second
	LacksFirstByte                    // when the first byte came
	LacksGTID                         // the server's position
)

// all but what every log says: text, connection, user, schema and time.
const lacksMost = LacksHash | LacksColumns | LacksWarnings | LacksStatus | LacksPrepared | LacksTransaction | LacksSession | LacksFirstByte | LacksGTID

// Lacks says what a capture from there lacks; source is that of capture.Meta. A gateway's lacks nothing.
func Lacks(source string) Lack {
	switch source {
	case slowMariaDB:
		return lacksMost | LacksErrors | LacksMoment
	case slowMySQL:
		return lacksMost | LacksErrors | LacksAffected
	case slowMySQLExtra:
		return lacksMost | LacksAffected
	case string(VTGateText), string(VTGateJSON):
		return lacksMost | LacksRows
	}
	return 0
}

var lackNames = []string{"hashes of the rows", "columns", "row counts", "errors", "affected rows", "warnings", "the server's status flags", "prepared statements and parameter types", "transactions", "session settings from before the log", "the moment within a second", "the time of the first byte", "the GTID"}

// Strings names each thing, in words.
func (l Lack) Strings() []string {
	var names []string
	for i, n := range lackNames {
		if l&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String names all of them.
func (l Lack) String() string { return strings.Join(l.Strings(), ", ") }

// Options are what the log itself does not tell.
type Options struct {
	Gateway string         // the name under which the statements go; empty: the format's
	Run     uint64         // that goes with it
	Zone    *time.Location // of times that have none: the server's; nil: UTC
	Every   time.Duration  // after which the sessions are told anew, so that a file can begin there; 0: never
}

// Why a statement of a log can't be run. They are reasons in capture.Block.Dropped.
const (
	DroppedRedacted = "redacted"    // its values were taken out
	DroppedValues   = "no-values"   // its bind variables are not in the log, or a list's values
	DroppedCut      = "cut-in-log"  // its text was shortened
	DroppedUnstated = "unnamed-sql" // the entry has no statement
)

// Reader reads a log, block by block, as capture.Reader reads a file.
type Reader struct {
	*sequence
	parse parser
	lines *lines
}

// parser gives one entry after the other; at the end io.EOF. Other errors are those of reading.
type parser interface {
	next() (*entry, error)
}

// Open begins to read a log, which may be compressed by gzip.
func Open(f Format, from io.Reader, o Options) (*Reader, error) {
	if o.Gateway == "" {
		o.Gateway = string(f)
	}
	if o.Zone == nil {
		o.Zone = time.UTC
	}
	plain, err := Plain(from)
	if err != nil {
		return nil, err
	}
	in, ok := plain.(*bufio.Reader)
	if !ok {
		in = bufio.NewReaderSize(plain, 64<<10)
	}
	l := &lines{from: in}
	r := &Reader{lines: l}
	r.sequence = newSequence(capture.Meta{Gateway: o.Gateway, Run: o.Run})
	r.every = o.Every
	switch f {
	case SlowLog:
		r.parse = &spreader{from: &slowLog{lines: l, zone: o.Zone, about: r.sequence}}
	case VTGateText:
		r.parse = &vtgate{lines: l, zone: o.Zone, about: r.sequence, source: string(f), cut: textFields}
	case VTGateJSON:
		r.parse = &vtgate{lines: l, zone: o.Zone, about: r.sequence, source: string(f), cut: jsonFields}
	default:
		return nil, fmt.Errorf("there is no format %q of a log", f)
	}
	return r, nil
}

// Plain reads what may be compressed by gzip.
func Plain(from io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(from, 64<<10)
	if magic, err := in.Peek(2); err != nil || !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return in, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("read the compressed log: %w", err)
	}
	return z, nil
}

// Next gives the next events; at the end io.EOF. The payloads are the caller's.
func (r *Reader) Next() (capture.Block, error) {
	for !r.full() {
		e, err := r.parse.next()
		if err == io.EOF {
			r.over = true
			break
		}
		if err != nil {
			return capture.Block{}, err
		}
		r.add(e)
	}
	return r.block()
}

// Anew reports whether the last block can be the first of a file: it tells who its sessions are.
func (r *Reader) Anew() bool { return r.anew }

// Loss is what could not be read up to here.
func (r *Reader) Loss() capture.Loss { return r.lines.loss }

// Close frees what the reader holds; the log is the caller's.
func (r *Reader) Close() {}
