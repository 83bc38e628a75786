package query

// Traits are what decides whether, and how, a statement can be replayed and its results compared. They depend on the normal form alone, but for
// Multi, so that they can be kept by fingerprint.
type Traits uint32

// The traits. Volatile to LimitAlone say why two runs on equal data may differ.
const (
	Reads       Traits = 1 << iota // gives rows and changes no table: SELECT, WITH … SELECT, VALUES, TABLE, and SHOW, DESCRIBE, EXPLAIN
	Writes                         // INSERT, UPDATE, DELETE, REPLACE, LOAD, CALL, DO and whatever is not known
	Defines                        // CREATE, ALTER, DROP, TRUNCATE, RENAME, GRANT and the like
	Sets                           // changes its session: SET, USE, PREPARE, and variables that are assigned within a statement
	Begins                         // BEGIN, START TRANSACTION
	Ends                           // COMMIT, ROLLBACK, not to a savepoint
	Locks                          // FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE, LOCK TABLES, GET_LOCK
	Files                          // INTO OUTFILE, INTO DUMPFILE, LOAD_FILE
	Volatile                       // RAND, UUID, SLEEP and the like: no two runs are equal
	Clock                          // NOW and the like, that SET TIMESTAMP tames
	OwnSession                     // LAST_INSERT_ID, FOUND_ROWS, CONNECTION_ID, user variables, temporary tables: means something in its session alone
	OwnServer                      // @@variables, VERSION, information_schema and performance_schema, SHOW: servers differ in it
	LimitAlone                     // a LIMIT without an ORDER BY at its level: any rows may be the first
	Multi                          // several statements in one text
	SortedLimit                    // a LIMIT with an ORDER BY at its level: of rows that are equal in what they are sorted by, any may be the last
)

// Has reports whether all of those are there.
func (t Traits) Has(all Traits) bool { return t&all == all }

// Any reports whether one of those is there.
func (t Traits) Any(of Traits) bool { return t&of != 0 }

// firsts are the traits by the first word.
var firsts = map[string]Traits{
	"select": Reads, "with": Reads, "values": Reads, "table": Reads, "show": Reads | OwnServer, "describe": Reads | OwnServer, "desc": Reads | OwnServer, "explain": Reads | OwnServer, "analyze": Reads | OwnServer,
	"checksum": Reads, "help": Reads | OwnServer,
	"create": Defines, "alter": Defines, "drop": Defines, "truncate": Defines, "rename": Defines, "grant": Defines, "revoke": Defines, "optimize": Defines, "repair": Defines, "flush": Defines,
	"set": Sets, "use": Sets, "prepare": Sets, "deallocate": Sets, "execute": Sets | Writes,
	"begin": Begins, "start": Begins, "commit": Ends, "rollback": Ends, "savepoint": Sets, "release": Sets, "xa": Begins | Ends,
	"lock": Locks | Sets, "unlock": Sets, "handler": OwnSession | Sets,
}

// calls are the traits by the name of a function that is called.
var calls = map[string]Traits{
	"rand": Volatile, "uuid": Volatile, "uuid_short": Volatile, "sys_guid": Volatile, "sleep": Volatile, "benchmark": Volatile, "sysdate": Volatile, "random_bytes": Volatile, "nextval": Volatile, "lastval": Volatile, "setval": Volatile,
	"now": Clock, "current_timestamp": Clock, "localtime": Clock, "localtimestamp": Clock, "curdate": Clock, "current_date": Clock, "curtime": Clock, "current_time": Clock, "unix_timestamp": Clock, "utc_date": Clock, "utc_time": Clock, "utc_timestamp": Clock,
	"last_insert_id": OwnSession, "found_rows": OwnSession, "row_count": OwnSession, "connection_id": OwnSession,
	"get_lock": Locks | OwnSession, "release_lock": OwnSession, "release_all_locks": OwnSession, "is_free_lock": OwnServer, "is_used_lock": OwnServer,
	"version": OwnServer, "user": OwnServer, "current_user": OwnServer, "session_user": OwnServer, "system_user": OwnServer, "load_file": Files,
	"master_pos_wait": OwnServer, "source_pos_wait": OwnServer, "master_gtid_wait": OwnServer, "wait_for_executed_gtid_set": OwnServer, "binlog_gtid_pos": OwnServer,
}

// bare are those of calls that need no brackets.
var bare = map[string]Traits{
	"current_timestamp": Clock, "localtime": Clock, "localtimestamp": Clock, "current_date": Clock, "current_time": Clock, "utc_date": Clock, "utc_time": Clock, "utc_timestamp": Clock, "sql_calc_found_rows": OwnSession, "current_user": OwnServer, "nextval": Volatile,
	"information_schema": OwnServer, "performance_schema": OwnServer, "temporary": OwnSession, "outfile": Files, "dumpfile": Files,
}

// Look gives the traits of a statement. What it does not know it calls a write.
func Look(text []byte, m Mode) Traits {
	s := scanner{text: text, mode: m}
	var t Traits
	var first, before string // words in lower case; the one before this token, or ""
	var ordered, limited uint64
	depth, over := 0, false
	level := func() uint64 { return 1 << min(depth, 63) }
	for {
		k, from, to := s.next()
		if k != end && k != semicolon && over {
			return t | Multi | Writes // the others are not looked at
		}
		w := ""
		switch k {
		case end:
			if first == "" {
				return t
			}
			if limited&^ordered != 0 {
				t |= LimitAlone
			}
			if limited&ordered != 0 {
				t |= SortedLimit
			}
			return t
		case semicolon:
			over = first != ""
		case open:
			t |= calls[before]
			depth++
			ordered, limited = ordered&^level(), limited&^level()
		case closing:
			switch {
			case limited&level() == 0:
			case ordered&level() == 0:
				t |= LimitAlone
			default:
				t |= SortedLimit
			}
			ordered, limited = ordered&^level(), limited&^level()
			depth--
		case variable:
			switch {
			case to-from > 1 && text[from+1] == '@':
				t |= OwnServer
			default:
				t |= OwnSession
			}
		case operator:
			if to == from+2 && text[from] == ':' {
				t |= Sets
			}
		case word:
			w = string(lower(nil, text[from:to]))
			t |= bare[w]
			switch {
			case first == "":
				var known bool
				first = w
				if t, known = t|firsts[w], firsts[w] != 0; !known {
					t |= Writes
				}
			case first == "with" && (w == "insert" || w == "update" || w == "delete") && depth == 0:
				t = t&^Reads | Writes
			case first == "set" && w == "statement" && before == "set":
				t &^= Sets
				first = "set statement"
			case first == "set statement" && w == "for":
				first = "" // its own statement follows
			case first == "rollback" && w == "to":
				t = t&^Ends | Sets
			case first == "start" && before == "start" && w != "transaction":
				t = t&^Begins | Writes // START REPLICA and the like
			case (first == "analyze" || first == "explain" || first == "describe" || first == "desc") && (w == "insert" || w == "update" || w == "delete" || w == "replace"):
				if first == "analyze" || before == "analyze" {
					t = t&^Reads | Writes // it is run
				}
			case first == "analyze" && w == "table":
				t = t&^Reads | Defines
			case w == "into" && t.Has(Reads):
				t |= Sets // into a variable, or a file
			case before == "for" && (w == "update" || w == "share"), before == "share" && w == "mode":
				t |= Locks
			case w == "by" && before == "order":
				ordered |= level()
			case w == "limit", w == "fetch":
				limited |= level()
			}
		}
		if k != hint && k != version && k != versionEnd {
			before = w
		}
	}
}
