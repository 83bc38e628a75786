package gateway

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// state is what a server keeps for a session, as far as it can be read from the session itself and made again on
// another server (trap 26). docs/gateway.md has the table of everything: moved, blocks, or lost.
type state struct {
	schema    text
	role      text
	variables map[string]variable // lower case; those that differ from the server's global value
	user      map[string]userVariable
	insertID  string // last_insert_id
	nextID    string // insert_id, for the next INSERT alone
	seeds     [2]string
	timestamp string // of SET timestamp; empty if the clock runs
	counts    map[string]int64
	next      string // SET TRANSACTION … for the next transaction alone
	mysql     bool   // read on MySQL, not on MariaDB
}

// text is a string that may be NULL.
type text struct {
	value string
	null  bool
}

// variable is a system variable of the session.
type variable struct {
	kind   string // as information_schema calls it: INT, ENUM, FLAGSET, …
	value  text
	global text
}

// userVariable is one of @name.
type userVariable struct {
	kind      string // INT, INT UNSIGNED, DOUBLE, DECIMAL, VARCHAR
	value     string
	null      bool
	collation string
}

// sentinel tells whether the session's character_set_results lets us read what it answers.
const sentinel = "windlass"

// harvestSQL reads a session's state in one round trip. Everything is hexadecimal, so that no character set can change it, and
// has a LIMIT, so that sql_select_limit does not.
var harvestSQL = []string{
	"SELECT '" + sentinel + "', HEX(DATABASE()), HEX(CURRENT_ROLE()), @@last_insert_id, @@insert_id, @@rand_seed1, @@rand_seed2, @@timestamp, ABS(@@timestamp - UNIX_TIMESTAMP(SYSDATE(6))) > 1 LIMIT 1",
	"SELECT HEX(VARIABLE_NAME), VARIABLE_TYPE, HEX(SESSION_VALUE), HEX(GLOBAL_VALUE) FROM information_schema.SYSTEM_VARIABLES" +
		" WHERE READ_ONLY = 'NO' AND NOT (SESSION_VALUE <=> GLOBAL_VALUE) AND VARIABLE_SCOPE IN ('SESSION', 'SESSION ONLY')" +
		// The default collations as compiled in are of a session that logged in before the server was given the old version's, as after its restart:
		// nobody set them, and the old version has no such variable.
		" AND NOT (VARIABLE_NAME = 'CHARACTER_SET_COLLATIONS' AND SESSION_VALUE RLIKE '^([a-z0-9]+=[a-z0-9]+_uca1400_ai_ci(,|$)){5}$') LIMIT 10000",
	"SELECT HEX(VARIABLE_NAME), VARIABLE_TYPE, HEX(VARIABLE_VALUE) FROM information_schema.USER_VARIABLES LIMIT 100000",
	"SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME IN ('" + strings.Join(countNames, "', '") + "') LIMIT 100",
}

// countNames are the session's own counters that tell what can't be moved.
var countNames = []string{
	"COM_CREATE_TEMPORARY_TABLE", "COM_DROP_TEMPORARY_TABLE", "COM_HA_OPEN", "COM_HA_CLOSE", "COM_PREPARE_SQL", "COM_DEALLOC_SQL",
	"COM_XA_PREPARE", "COM_XA_COMMIT", "COM_XA_ROLLBACK", "COM_LOCK_TABLES",
}

// notMoved are variables that follow from something else, or that are read on their own.
var notMoved = map[string]bool{
	"character_set_database": true, "collation_database": true, // of the schema
	"last_insert_id": true, "identity": true, "insert_id": true, "rand_seed1": true, "rand_seed2": true, "timestamp": true,
	"pseudo_thread_id": true, "in_transaction": true, "error_count": true, "warning_count": true, "last_gtid": true,
	"proxy_user": true, "external_user": true, "wsrep_gtid_seq_no": true, "redirect_url": true,
	"statement_id": true, "gtid_owned": true,
}

// neutral are the values of variables that have no global one to differ from, when nobody set them.
var neutral = map[string]string{
	"pseudo_slave_mode": "OFF", "default_master_connection": "", "skip_parallel_replication": "OFF", "skip_replication": "OFF",
	"gtid_seq_no": "0", "sql_log_bin": "ON", "debug_sync": "",
	// MySQL's:
	"gtid_next": "AUTOMATIC", "pseudo_replica_mode": "OFF", "immediate_server_version": "999999", "original_server_version": "999999",
	"original_commit_timestamp": "36028797018963968", "require_row_format": "OFF", "resultset_metadata": "FULL",
	"show_create_table_skip_secondary_engine": "OFF", "transaction_allow_batching": "OFF", "use_secondary_engine": "ON",
}

// names are the variables of the connection's character set, which are restored last and together.
var names = []string{"character_set_client", "character_set_results", "character_set_connection", "collation_connection"}

// harvest reads the state. The error means that the connection is lost; a *unreadable that it can't be read.
func harvest(b *wire.Backend) (*state, error) {
	res, refused, err := b.QueryMany(harvestSQL...)
	if err != nil {
		return nil, err
	}
	for i, no := range refused {
		if no != nil {
			return nil, &unreadable{fmt.Sprintf("the session's state could not be read (%s…): %v", harvestSQL[i][:40], no)}
		}
	}
	if res[0].Value(0, 0) != sentinel {
		return nil, &unreadable{fmt.Sprintf("the session's state could not be read, perhaps because its character_set_results does not contain ASCII: %.40q", res[0].Rows)}
	}
	st := &state{variables: map[string]variable{}, user: map[string]userVariable{}, counts: map[string]int64{}}
	row := res[0].Rows[0]
	st.schema, st.role = unhex(row[1]), unhex(row[2])
	st.insertID, st.nextID, st.seeds = string(row[3]), string(row[4]), [2]string{string(row[5]), string(row[6])}
	if string(row[8]) == "1" {
		st.timestamp = string(row[7])
	}
	for _, row := range res[1].Rows {
		st.keep(strings.ToLower(unhex(row[0]).value), variable{kind: string(row[1]), value: unhex(row[2]), global: unhex(row[3])})
	}
	for _, alias := range []string{"isolation", "read_only"} { // 11.8 has both names, 10.11 the old ones, MySQL the new ones
		if _, both := st.variables["tx_"+alias]; both {
			delete(st.variables, "transaction_"+alias)
		}
	}
	if err := st.userVariables(b, res[2]); err != nil {
		return nil, err
	}
	for _, row := range res[3].Rows {
		n, _ := strconv.ParseInt(string(row[1]), 10, 64)
		st.counts[strings.ToUpper(string(row[0]))] = n
	}
	return st, nil
}

// keep notes a system variable that differs from the server's, unless it is one that needs no restoring.
func (st *state) keep(name string, v variable) {
	if n, special := neutral[name]; notMoved[name] || special && (v.value.value == n || v.value.null) {
		return
	}
	if name == "character_set_results" && v.value.value == "" {
		v.value.null = true
	}
	st.variables[name] = v
}

// userVariables reads @variables; texts need a question of their own, for their bytes and collation.
func (st *state) userVariables(b *wire.Backend, listed wire.Result) error {
	var texts []string
	for _, row := range listed.Rows {
		name := unhex(row[0]).value
		v := unhex(row[2])
		st.user[name] = userVariable{kind: string(row[1]), value: v.value, null: v.null}
		if string(row[1]) == "VARCHAR" && !v.null {
			texts = append(texts, name)
		}
	}
	for part := range slices.Chunk(texts, 300) {
		var sql strings.Builder
		for i, name := range part {
			if i > 0 {
				sql.WriteString(", ")
			}
			fmt.Fprintf(&sql, "HEX(@%s), COLLATION(@%s), %s", quoteName(name), quoteName(name), understood(name))
		}
		res, err := b.Query("SELECT " + sql.String() + " LIMIT 1")
		if err != nil {
			return err
		}
		for i, name := range part {
			if row := res.Rows[0][3*i:]; row[0] == nil || !nameIs(row[2], name) {
				return &unreadable{fmt.Sprintf("the user variable @%s could not be read: its name can't be said in the session's character set", name)}
			}
			v := st.user[name]
			v.value, v.collation = unhex(res.Rows[0][3*i]).value, string(res.Rows[0][3*i+1])
			st.user[name] = v
		}
	}
	return nil
}

// understood asks for the bytes of a variable's name as the session's character set makes the server understand it: there may be another
// variable by the name that it takes it for. Every character set understands ASCII.
func understood(name string) string {
	if isASCII(name) {
		return "''"
	}
	return "HEX(CONVERT('" + strings.ReplaceAll(name, "'", "''") + "' USING utf8mb4))"
}

// nameIs looks at the answer to that.
func nameIs(answer []byte, name string) bool {
	return isASCII(name) || answer != nil && unhex(answer).value == name
}

// isASCII reports whether the text is printable ASCII.
func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// unreadable says that a session's state can't be read, while its connection is well.
type unreadable struct{ why string }

func (u *unreadable) Error() string { return u.why }

func unhex(b []byte) text {
	if b == nil {
		return text{null: true}
	}
	raw, err := hex.DecodeString(string(b))
	if err != nil {
		return text{value: string(b)}
	}
	return text{value: string(raw)}
}

// blockers are what the session holds that can't be moved.
func (st *state) blockers() []adminapi.Blocker {
	var bs []adminapi.Blocker
	add := func(kind, format string, args ...any) {
		bs = append(bs, adminapi.Blocker{Kind: kind, Detail: fmt.Sprintf(format, args...)})
	}
	if made, gone := st.counts["COM_CREATE_TEMPORARY_TABLE"], st.counts["COM_DROP_TEMPORARY_TABLE"]; made > gone {
		add(adminapi.BlockTempTable, "%d temporary tables were made and %d dropped by DROP TEMPORARY TABLE", made, gone)
	}
	if opened, closed := st.counts["COM_HA_OPEN"], st.counts["COM_HA_CLOSE"]; opened > closed {
		add(adminapi.BlockHandler, "%d handlers were opened and %d closed", opened, closed)
	}
	if made, gone := st.counts["COM_PREPARE_SQL"], st.counts["COM_DEALLOC_SQL"]; made > gone {
		add(adminapi.BlockSQLPrepare, "%d statements were prepared by PREPARE … FROM and %d deallocated", made, gone)
	}
	if made, gone := st.counts["COM_XA_PREPARE"], st.counts["COM_XA_COMMIT"]+st.counts["COM_XA_ROLLBACK"]; made > gone {
		add(adminapi.BlockXA, "%d XA transactions were prepared and %d ended", made, gone)
	}
	return bs
}

// change is one statement that restores a part of the state.
type change struct {
	sql  string
	kind string // of the blocker if the server refuses it
	name string
}

// follows reports whether a connection in the state `from` can be given this one: what is used up by the statement after it can't be
// taken back.
func (st *state) follows(from *state) bool {
	return (from.nextID == "0" || from.nextID == st.nextID) && (from.next == "" || from.next == st.next)
}

// restore lists the statements that make a session in the state `from` have the state st. A fresh session's state is the
// empty one. The connection's schema is not among them unless it changed.
func (st *state) restore(from *state) []change {
	var cs []change
	set := func(kind, name, format string, args ...any) {
		cs = append(cs, change{sql: fmt.Sprintf(format, args...), kind: kind, name: name})
	}
	set(adminapi.BlockVariable, "names", "SET NAMES utf8mb4")
	if st.role != from.role {
		role := "NONE"
		switch {
		case st.mysql:
			role = st.role.value // NONE, or a list with quotes
		case !st.role.null:
			role = quoteName(st.role.value)
		}
		set(adminapi.BlockVariable, "role", "SET ROLE %s", role)
	}
	if st.schema != from.schema && !st.schema.null {
		set(adminapi.BlockVariable, "schema", "USE %s", quoteName(st.schema.value))
	}
	for _, name := range slices.Sorted(maps.Keys(st.user)) {
		if v := st.user[name]; v != from.user[name] {
			set(adminapi.BlockVariable, "@"+name, "SET @%s = %s", quoteName(name), v.literal())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.user)) {
		if _, still := st.user[name]; !still {
			set(adminapi.BlockVariable, "@"+name, "SET @%s = NULL", quoteName(name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(st.variables)) {
		if v := st.variables[name]; v != from.variables[name] && !slices.Contains(names, name) {
			set(adminapi.BlockVariable, name, "SET SESSION %s = %s", name, v.literal())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(from.variables)) {
		if _, still := st.variables[name]; !still && !slices.Contains(names, name) {
			set(adminapi.BlockVariable, name, "SET SESSION %s = DEFAULT", name)
		}
	}
	if st.insertID != "0" || from.insertID != "" && from.insertID != "0" {
		set(adminapi.BlockVariable, "last_insert_id", "SET last_insert_id = %s", st.insertID)
	}
	if st.nextID != "0" {
		set(adminapi.BlockVariable, "insert_id", "SET insert_id = %s", st.nextID)
	}
	if st.seeds != from.seeds {
		set(adminapi.BlockVariable, "rand_seed1", "SET rand_seed1 = %s, rand_seed2 = %s", st.seeds[0], st.seeds[1])
	}
	if st.timestamp != from.timestamp {
		value := st.timestamp
		if value == "" {
			value = "DEFAULT"
		}
		set(adminapi.BlockVariable, "timestamp", "SET timestamp = %s", value)
	}
	// After SET NAMES above, all four have to be set in any case.
	for _, name := range names {
		value := "@@global." + name
		if v, ok := st.variables[name]; ok {
			value = v.literal()
		}
		kind := adminapi.BlockVariable
		if name == "collation_connection" {
			kind = adminapi.BlockCollation
		}
		set(kind, name, "SET SESSION %s = %s", name, value)
	}
	return cs
}

// literal is the value as SQL. A set of flags gives those alone that differ from the old server's default: the other
// version may know others.
func (v variable) literal() string {
	if v.value.null {
		return "NULL"
	}
	switch {
	case v.kind == kindFlags:
		return quoteText(strings.Join(v.flags(), ","))
	case strings.Contains(v.kind, "INT") || v.kind == "DOUBLE":
		return v.value.value
	}
	return quoteText(v.value.value)
}

// kindFlags is a set of flags as in optimizer_switch: name=value, of which a part can be set.
const kindFlags = "FLAGSET"

// flags are those of a set of flags that differ from the server's.
func (v variable) flags() (differ []string) {
	global := strings.Split(v.global.value, ",")
	for _, f := range strings.Split(v.value.value, ",") {
		if !slices.Contains(global, f) {
			differ = append(differ, f)
		}
	}
	return differ
}

func (v userVariable) literal() string {
	switch {
	case v.null:
		return "NULL"
	case v.kind == "VARCHAR":
		charset, _, _ := strings.Cut(v.collation, "_")
		if charset == "binary" {
			return fmt.Sprintf("_binary X'%X'", v.value)
		}
		return fmt.Sprintf("_%s X'%X' COLLATE %s", charset, v.value, v.collation)
	case v.kind == "INT UNSIGNED":
		return "CAST(" + v.value + " AS UNSIGNED)"
	case v.kind == "DOUBLE":
		if !strings.ContainsAny(v.value, "eE") {
			return v.value + "e0"
		}
	}
	return v.value
}

func quoteName(s string) string { return "`" + strings.ReplaceAll(s, "`", "``") + "`" }

// quoteText quotes for any sql_mode: as hexadecimal where quoting could depend on it.
func quoteText(s string) string {
	if strings.ContainsAny(s, `'\`) || !isASCII(s) {
		return fmt.Sprintf("_utf8mb4 X'%X'", s)
	}
	return "'" + s + "'"
}
