package session

import (
	"bytes"
	"regexp"
	"slices"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// Kind is what is done with a statement.
type Kind uint8

// The kinds.
const (
	Skip     Kind = iota // it is not sent, for the Reason
	Read                 // it is sent as it was captured
	Set                  // so is this; its session is another one afterwards
	Use                  // changes the schema
	Begin                // a transaction begins: a read-only one
	End                  // it ends
	NoEffect             // it would change nothing of what reads see
)

// skipSQL is why PREPARE, EXECUTE and XA as statements are not sent, beyond the reasons of package tally.
const skipSQL = "sql-prepare"

// Class is what is known of all statements of one normal form.
type Class struct {
	Kind   Kind
	Reason string // of Skip
	Traits query.Traits

	Writes    bool // rows that its transaction sees from here on are in no replay
	Variables bool // it has user variables: what it gives depends on those that were set
	Assigns   bool // it sets user variables to what is not known here
	FoundRows bool // it asks for what the statement before it counted
	Clock     bool // SET TIMESTAMP, of the session's own
	Snapshot  bool // of Begin: with a consistent snapshot
	Commit    bool // of End: else a rollback
	Auto      Auto // of Set: autocommit
	Modes     bool // of Set: sql_mode
}

// Auto says what a SET does to autocommit.
type Auto uint8

// AutoSame leaves it as it is.
const (
	AutoSame Auto = iota
	AutoOn
	AutoOff
)

// effects are functions, and words, of which a run is felt by others, waits, or gives no two equal answers that could be compared. They lie between what begins and ends a word.
var effects = regexp.MustCompile(`(?i)(?:^|[ (,=.])[\x60"]?(?:nextval|setval|lastval|sleep|benchmark|get_lock|release_lock|release_all_locks|load_file|master_pos_wait|source_pos_wait|master_gtid_wait|wait_for_executed_gtid_set|wait_until_sql_thread_after_gtids|sys_exec|sys_eval|lo_import|kill|` +
	`service_(?:get_read|get_write|release)_locks|asynchronous_connection_failover_\w+|group_replication_\w+|keyring_key_(?:store|generate|remove)|version_tokens_\w+)[\x60"]? *\(|` +
	`\b(?:next|previous) value for\b|read_only|\boutfile\b|\bdumpfile\b`)

// ownCalls mean something in the session alone that wrote.
var ownCalls = regexp.MustCompile(`(?i)(?:^|[ (,=])[\x60"]?(?:last_insert_id|row_count|connection_id|is_used_lock|is_free_lock)[\x60"]? *\(`)

// hidden reports whether a comment that some servers run, and others pass over, has a value or a quoted name in it: what one of them takes for a text the other may take for code.
func hidden(normal []byte) bool {
	for {
		at := bytes.Index(normal, []byte("/*"))
		if at < 0 {
			return false
		}
		normal = normal[at+2:]
		if len(normal) == 0 || normal[0] != '!' && normal[0] != 'M' && normal[0] != 'm' {
			continue
		}
		end := bytes.Index(normal, []byte("*/"))
		if end < 0 || bytes.ContainsAny(normal[:end], "?\x60\"'") {
			return true
		}
		normal = normal[end:]
	}
}

// Classify says what is to be done with a statement, from its normal form and its traits. What is not surely a read, or a change of the session alone, is skipped (trap 38).
func Classify(text, normal []byte, t query.Traits) Class {
	c := Class{Traits: t, Writes: t.Any(query.Writes | query.Defines)}
	skip := func(reason string) Class {
		c.Kind, c.Reason = Skip, reason
		return c
	}
	switch {
	case t.Has(query.Multi):
		c.Assigns = true
		return skip(tally.SkipMulti)
	case len(normal) == 0:
		c.Kind = NoEffect
		return c
	case bytes.HasPrefix(normal, []byte("prepare ")), bytes.HasPrefix(normal, []byte("execute ")), bytes.HasPrefix(normal, []byte("deallocate ")), bytes.HasPrefix(normal, []byte("xa ")):
		c.Assigns = true
		return skip(skipSQL)
	case t.Has(query.Defines):
		return skip(tally.SkipDefinition)
	case t.Has(query.Writes):
		return skip(tally.SkipWrite)
	case t.Has(query.Files):
		return skip(tally.SkipFiles)
	case t.Has(query.Begins):
		c.Kind, c.Snapshot = Begin, bytes.Contains(normal, []byte("consistent snapshot"))
		return c
	case t.Has(query.Ends):
		c.Kind, c.Commit = End, bytes.HasPrefix(normal, []byte("commit"))
		return c
	case t.Has(query.Locks):
		return skip(tally.SkipLocks)
	case t.Has(query.Reads):
		return read(c, normal)
	case bytes.HasPrefix(normal, []byte("use ")):
		c.Kind = Use
		return c
	case bytes.HasPrefix(normal, []byte("set ")):
		return set(c, text, normal)
	case bytes.HasPrefix(normal, []byte("savepoint")), bytes.HasPrefix(normal, []byte("release savepoint")), bytes.HasPrefix(normal, []byte("rollback")):
		c.Kind = NoEffect // nothing was written that could come back
		return c
	}
	return skip(tally.SkipCommand)
}

func read(c Class, normal []byte) Class {
	switch {
	case effects.Match(normal), hidden(normal):
		c.Reason = tally.SkipEffects
	case c.Traits.Has(query.Sets): // SELECT … INTO @x, SELECT @x := …
		c.Reason, c.Assigns = tally.SkipOwnSession, true
	case ownCalls.Match(normal):
		c.Reason = tally.SkipOwnSession
	default:
		c.Kind = Read
		c.FoundRows = bytes.Contains(normal, []byte("found_rows("))
		c.Variables = c.Traits.Has(query.OwnSession) && userVariable.Match(normal)
	}
	return c
}

var (
	userVariable = regexp.MustCompile(`(?:^|[^@])@[^@]`)
	// unsafeSet are words of a SET that reaches beyond its session, or lifts what keeps a replay from writing.
	unsafeSet = regexp.MustCompile(`(?i)\b(?:global|persist|persist_only|password|role|select|sql_log_bin|pseudo_slave_mode|gtid_domain_id|server_id|read write|statement|init_connect|secure_timestamp)\b|read_only|\btransaction read\b`)
	called    = regexp.MustCompile(`(\w+)\(`)
	modes     = regexp.MustCompile(`(?i)\bsql_mode\b`)
	autoOf    = regexp.MustCompile(`(?i)\bautocommit *:?= *(\S+)`)
	clock     = regexp.MustCompile(`(?i)^set (?:@@)?(?:session[ .])?timestamp `)
)

// harmless are functions that a SET may call.
var harmless = []string{"concat", "replace", "trim", "ifnull", "coalesce", "concat_ws", "nullif", "cast"}

func set(c Class, text, normal []byte) Class {
	unsafe := unsafeSet.Match(normal)
	for _, f := range called.FindAllSubmatch(normal, -1) {
		unsafe = unsafe || !slices.Contains(harmless, string(bytes.ToLower(f[1])))
	}
	if unsafe {
		c.Kind, c.Reason, c.Assigns = Skip, tally.SkipSession, userVariable.Match(normal)
		return c
	}
	c.Kind, c.Clock, c.Modes = Set, clock.Match(normal), modes.Match(normal)
	if m := autoOf.FindSubmatch(text); m != nil { // the value is not in the normal form
		switch v := bytes.ToLower(bytes.Trim(m[1], `'";,`)); string(v) {
		case "0", "off", "false":
			c.Auto = AutoOff
		default:
			c.Auto = AutoOn
		}
	}
	return c
}

// Modes reads the modes that change tokens from a SET of sql_mode. One whose value is computed keeps what was, and adds what it names.
func Modes(text []byte, before query.Mode) query.Mode {
	upper := bytes.ToUpper(text)
	m := query.Mode{
		ANSIQuotes:         bytes.Contains(upper, []byte("ANSI")),
		NoBackslashEscapes: bytes.Contains(upper, []byte("NO_BACKSLASH_ESCAPES")),
	}
	if bytes.Contains(upper, []byte("@@")) && bytes.Contains(upper, []byte("(")) {
		m.ANSIQuotes = m.ANSIQuotes || before.ANSIQuotes
		m.NoBackslashEscapes = m.NoBackslashEscapes || before.NoBackslashEscapes
	}
	return m
}
