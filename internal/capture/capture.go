// Package capture is the file format of captured statements: what a gateway saw of its clients' statements and of the servers' answers, in the order of time.
//
// The model: a statement is two events. Start has the statement as it was sent; End, with the number of its Start, has what came of it. So a
// file is in order of time whatever a statement takes, and a Start without an End was cut (or is of a command that has no answer). A Session event
// says who a connection is, and comes before its first event in each file and whenever that has changed; a Known event gives the text of a prepared
// statement that is older than the file. So every file can be read alone.
//
// A file is a preamble and blocks. A block stands for itself: it has its own checksum, its clock, the range of its sequence numbers and how much was
// dropped before it, by reason. Within it, what is of one kind lies together (columns.go), since that is what makes it small. A block that is damaged is
// passed over and counted; a file that ends in the middle of one is cut, not broken. With a key each block is sealed with AES-256-GCM; what a block says of
// itself outside is its length alone.
//
// A block also says from when to when the capture was on. A gateway writes one now and then though nothing is said, so that a time without a statement is known from a time without a
// capture: what no block speaks for, because the gateway was away, the capture off, or a file is lost, was not seen.
//
// Times have the resolution of a microsecond.
//
// Failure: nothing is left out silently. Reader tells of every byte that it could not read and of every sequence number that is missing.
package capture

import "time"

// EventKind is what an event tells.
type EventKind uint8

// The kinds of events.
const (
	Session EventKind = iota + 1 // a connection, or what it has become: User, Schema, Charset, Settings, Epoch
	Start                        // a statement was sent
	End                          // it was answered
	Close                        // the connection ended
	Known                        // the text of a prepared statement whose PREPARE is not in this file: Statement, Payload
)

// Why a Start has no payload.
const (
	WithheldCredential = "credential" // it holds or may hold one
	WithheldWrite      = "write"      // SELECTs alone are kept, and this is a write within a transaction
	WithheldMasked     = "masked"     // literals are masked, and in its character set they can't be told from the rest for sure
	WithheldIncomplete = "incomplete" // of a prepared statement, whose long data, or whose use of it, was not kept
	WithheldAttributes = "attributes" // the query has attributes, and its text was not looked for behind them
)

// Event is one entry. Which fields are set depends on the kind.
type Event struct {
	Kind EventKind
	Seq  uint64    // grows by one with each event of a gateway's run; an End has its own
	Conn uint64    // the connection, unique in a gateway's run
	At   time.Time // by the gateway's clock; of an End that of its Start and Took

	// Session and Start.
	Epoch uint64 // grows whenever the session's state may have changed

	// Session.
	User, Schema string
	Charset      uint16   // the collation's id, as the client asked for it when it logged in
	Settings     []string // the SET statements that are in force since then, in their order
	Partial      bool     // there are more than were kept: the session's state is not known

	// Start; Statement and Payload of Known, too.
	Command   byte   // of the protocol: 0x03 COM_QUERY, 0x17 COM_STMT_EXECUTE, …
	Payload   []byte // what follows the command's byte; of COM_QUERY and COM_STMT_PREPARE the text alone
	Statement uint32 // of a prepared statement: its number in the session
	Types     []byte // of COM_STMT_EXECUTE: two bytes for each parameter, also when the client left them out
	Txn       uint64 // the transaction that it is in, numbered in its connection; 0: none
	Cut       uint64 // bytes of the payload that were left out, because it was too large
	Lost      uint64 // statements of the connection since the one before that were not kept, but for plain reads
	Withheld  string // why there is no payload, one of Withheld…; empty: it is there

	// End. Hashes are those of package rowhash.
	Of         uint64        // the Seq of its Start
	FirstByte  time.Duration // from the Start to the first byte of the answer
	Took       time.Duration // and to the last
	Errno      uint16        // 0: no error
	SQLState   string
	Warnings   uint16
	Affected   uint64
	InsertID   uint64
	Status     uint16 // the server's flags in the last OK or EOF
	Columns    uint64 // hash of the columns' names and types
	Rows       uint64
	Bytes      uint64 // of the answer
	Ordered    uint64 // hash of the rows in their order
	Multiset   uint64 // hash that does not depend on the order
	Unfinished bool   // the connection ended before the answer did
	GTID       string // that the server told, if it does
}

// Meta is what a block says of its gateway and server.
type Meta struct {
	Gateway string // its name
	Run     uint64 // of the gateway's process: numbers of events and connections mean nothing across runs
	Server  string // "mariadb" or "mysql"
	Version string // full
	Masked  bool   // literals were replaced by their type, length and keyed hash
	Source  string // what it was made of, if not by a gateway: "slowlog", "vtgate-text", "vtgate-json"
}

// Block is what lies between two checksums.
type Block struct {
	Meta    Meta
	Index   uint64            // grows by one with each block of a run
	From    time.Time         // from then to Until the capture was on, and what it saw is in this block or one before it, or counted in Dropped; zero: not told, as by whoever is no gateway
	Until   time.Time         // by the gateway's clock
	Hold    time.Duration     // the next block comes within that after Until, unless the run was ended or killed
	Ended   bool              // the run was ended: nothing of it follows. A run without such a block was killed, and what it had in memory is lost
	Dropped map[string]uint64 // statements since the run began that were not kept, by reason; `end`: answers alone
	Events  []Event
}

// First is the sequence number of its first event, and Last of its last; 0 if there is none.
func (b Block) First() uint64 {
	if len(b.Events) == 0 {
		return 0
	}
	return b.Events[0].Seq
}

// Last is the sequence number of its last event; 0 if there is none.
func (b Block) Last() uint64 {
	if len(b.Events) == 0 {
		return 0
	}
	return b.Events[len(b.Events)-1].Seq
}
