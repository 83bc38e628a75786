package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// This file reads a session's state on MySQL, which shows a session less of itself than MariaDB does: the names of its user variables and its locks
// are seen by the monitoring account alone, and their types only in a result's header. What was restored is read again and compared, for
// MySQL has no warning for everything that it changes.

// ownSQL is what a session tells of itself. Everything is hexadecimal or digits, and has a LIMIT, as in harvestSQL.
const ownSQL = "SELECT '" + sentinel + "', HEX(DATABASE()), HEX(CURRENT_ROLE()), @@last_insert_id, @@insert_id, @@timestamp, ABS(@@timestamp - UNIX_TIMESTAMP(SYSDATE(6))) > 1, @@global.server_uuid LIMIT 1"

// ownCounts are a session's own counters that tell what can't be moved. No table has them, and SHOW has no LIMIT.
var ownCounts = []string{"Com_create_table", "Com_ha_open", "Com_ha_close", "Com_prepare_sql", "Com_dealloc_sql", "Com_xa_prepare", "Com_xa_commit", "Com_xa_rollback", "Com_lock_tables"}

// own reads what the session tells of itself, and on which server it says to be.
func own(b *wire.Backend) (st *state, uuid string, err error) {
	res, refused, err := b.QueryMany(ownSQL, "SHOW SESSION STATUS WHERE Variable_name IN ('"+strings.Join(ownCounts, "', '")+"')")
	if err == nil && len(res[1].Rows) != len(ownCounts) { // the session's sql_select_limit is lower
		ask := []string{ownSQL}
		for _, name := range ownCounts {
			ask = append(ask, "SHOW SESSION STATUS LIKE '"+name+"'")
		}
		res, refused, err = b.QueryMany(ask...)
	}
	if err != nil {
		return nil, "", err
	}
	if no := errors.Join(refused...); no != nil {
		return nil, "", &unreadable{fmt.Sprintf("the session's state could not be read: %v", no)}
	}
	if res[0].Value(0, 0) != sentinel {
		return nil, "", &unreadable{fmt.Sprintf("the session's state could not be read, perhaps because its character_set_results does not contain ASCII: %.40q", res[0].Rows)}
	}
	st = &state{mysql: true, variables: map[string]variable{}, user: map[string]userVariable{}, counts: map[string]int64{}}
	row := res[0].Rows[0]
	st.schema, st.role = unhex(row[1]), unhex(row[2])
	st.insertID, st.nextID = string(row[3]), string(row[4])
	if string(row[6]) == "1" {
		st.timestamp = string(row[5])
	}
	for _, r := range res[1:] {
		for _, row := range r.Rows {
			n, err := strconv.ParseInt(string(row[1]), 10, 64)
			if err != nil {
				return nil, "", &unreadable{fmt.Sprintf("the counter %s is %q", row[0], row[1])}
			}
			st.counts[strings.ToUpper(string(row[0]))] = n
		}
	}
	if len(st.counts) != len(ownCounts) {
		return nil, "", &unreadable{fmt.Sprintf("the session shows %d of its %d counters", len(st.counts), len(ownCounts))}
	}
	return st, string(row[7]), nil
}

// readMySQL is read on MySQL. A monitoring account that can't reach the server is no word against the session: errRetry.
func (s *session) readMySQL(ctx context.Context) (st *state, bs []adminapi.Blocker, err error) {
	var uuid string
	if err = s.talk(ctx, func() error { st, uuid, err = own(s.back.Backend); return err }); err != nil {
		return nil, nil, err
	}
	address := s.back.srv.address
	seen, set, err := s.gw.inspect.session(ctx, address, uuid, s.back.Greeting.ThreadID)
	if err != nil {
		return nil, nil, err
	}
	st.system(seen, set)
	if err = s.talk(ctx, func() error { return st.typed(s.back.Backend, seen.user) }); err != nil {
		return nil, nil, err
	}
	return st, s.holds(st, seen), nil
}

// session reads what the monitoring account sees of a session on the server with that uuid.
func (i *inspector) session(ctx context.Context, address, uuid string, id uint32) (*thread, *settings, error) {
	ctx, cancel := context.WithTimeout(ctx, i.timeout)
	defer cancel()
	seen, err := i.thread(ctx, address, id)
	if err == nil && seen.uuid != uuid {
		err = &unreadable{fmt.Sprintf("%s is server %s for the session, but %s for the monitoring account: a gateway needs an address of its own for each server", address, uuid, seen.uuid)}
	}
	var set *settings
	if err == nil {
		set, err = i.settings(ctx, address, uuid)
	}
	var why *unreadable
	if err != nil && !errors.As(err, &why) {
		err = fmt.Errorf("%w: the monitoring account on %s: %w", errRetry, address, err)
	}
	return seen, set, err
}

// system keeps the system variables of the session that differ from its server's.
func (st *state) system(seen *thread, set *settings) {
	for name, value := range seen.variables {
		global, known := set.global[name]
		if known && global == value {
			continue
		}
		st.keep(name, variable{kind: set.kinds[name], value: text{value: value}, global: text{value: global, null: !known}})
	}
}

// typed reads the user variables of those names. The type is in the result's header, and nowhere else.
func (st *state) typed(b *wire.Backend, listed []string) error {
	for part := range slices.Chunk(listed, 200) {
		var sql strings.Builder
		for i, name := range part {
			if i > 0 {
				sql.WriteString(", ")
			}
			fmt.Fprintf(&sql, "@%[1]s, HEX(@%[1]s), COLLATION(@%[1]s), %[2]s", quoteName(name), understood(name))
		}
		res, err := b.Query("SELECT " + sql.String() + " LIMIT 1")
		var no *wire.ServerError
		if errors.As(err, &no) {
			return &unreadable{fmt.Sprintf("the user variables could not be read: %v", no)}
		}
		if err != nil {
			return err
		}
		if len(res.Rows) != 1 || len(res.Rows[0]) != 4*len(part) || len(res.Types) != 4*len(part) {
			return &unreadable{"the user variables could not be read"}
		}
		for i, name := range part {
			row := res.Rows[0][4*i:]
			if !nameIs(row[3], name) {
				return &unreadable{fmt.Sprintf("the user variable @%s could not be read: its name can't be said in the session's character set", name)}
			}
			v, err := userValue(row[0], row[1], string(row[2]), res.Types[4*i])
			if err != nil {
				return &unreadable{fmt.Sprintf("the user variable @%s could not be read: %v", name, err)}
			}
			st.user[name] = v
		}
	}
	return nil
}

// userValue makes a value of its text, its bytes in hexadecimal, its collation and its type.
func userValue(plain, bytes []byte, collation string, t wire.ColumnType) (userVariable, error) {
	if plain == nil && bytes == nil {
		return userVariable{null: true}, nil
	}
	if plain == nil || bytes == nil || collation == "" {
		return userVariable{}, errors.New("it has no value, or no bytes")
	}
	switch {
	case t.Type == wire.TypeLongLong && t.Flags&wire.ColumnIsUnsigned != 0:
		return userVariable{kind: "INT UNSIGNED", value: string(plain)}, nil
	case t.Type == wire.TypeLongLong:
		return userVariable{kind: "INT", value: string(plain)}, nil
	case t.Type == wire.TypeDouble:
		return userVariable{kind: "DOUBLE", value: string(plain)}, nil
	case t.Type == wire.TypeNewDecimal:
		return userVariable{kind: "DECIMAL", value: string(plain)}, nil
	case t.Type >= wire.TypeFirstText && t.Type <= wire.TypeLastText:
		return userVariable{kind: "VARCHAR", value: unhex(bytes).value, collation: collation}, nil
	}
	return userVariable{}, fmt.Errorf("its type is number %#x", t.Type)
}

// holds says what of the session can't be moved. mu is held.
func (s *session) holds(st *state, seen *thread) (bs []adminapi.Blocker) {
	add := func(kind string, names []string, format string, args ...any) {
		bs = append(bs, adminapi.Blocker{Kind: kind, Names: names, Detail: fmt.Sprintf(format, args...)})
	}
	// Temporary tables are shown to nobody. Every table that the gateway did not see the session make by CREATE TABLE may be one.
	if made := st.counts["COM_CREATE_TABLE"]; made > s.tables {
		add(adminapi.BlockTempTable, nil, "%d tables were made that may be temporary: MySQL does not tell, also not whether they were dropped; it ends with the connection, or by COM_RESET_CONNECTION", made-s.tables)
	}
	var user, tables []string
	for _, l := range seen.locks {
		switch {
		case l.object == "USER LEVEL LOCK":
			user = append(user, l.name)
		case l.ofStatements(st.counts["COM_LOCK_TABLES"] > 0):
		default:
			tables = append(tables, strings.TrimSpace(fmt.Sprintf("%s of %s %s.%s", l.kind, l.object, l.schema, l.name)))
		}
	}
	slices.Sort(user)
	if len(user) > 0 {
		add(adminapi.BlockUserLock, user, "user locks are held: %q", user)
	}
	if opened, closed := st.counts["COM_HA_OPEN"], st.counts["COM_HA_CLOSE"]; len(tables) > 0 && opened <= closed { // a handler has a lock, and is named by its own count
		add(adminapi.BlockTableLock, nil, "locks are held: %s", strings.Join(tables, ", "))
	}
	if v, set := st.variables["gtid_next"]; set {
		add(adminapi.BlockVariable, []string{"gtid_next"}, "gtid_next is %s: the transaction that it is for has to end first", v.value.value)
	}
	if seen.group != defaultGroup {
		add(adminapi.BlockVariable, []string{"resource group"}, "the session is in the resource group %s", seen.group)
	}
	return bs
}

// defaultGroup is the resource group of sessions that nobody put into another one.
const defaultGroup = "USR_default"

// verify reads a restored session on MySQL again, and names what is not as it should be.
func (s *session) verify(ctx context.Context, b *backend, want *state) ([]adminapi.Blocker, error) {
	got, uuid, err := own(b.Backend)
	var seen *thread
	var set *settings
	if err == nil {
		seen, set, err = s.gw.inspect.session(ctx, b.srv.address, uuid, b.Greeting.ThreadID)
	}
	if err == nil {
		got.system(seen, set)
		err = got.typed(b.Backend, seen.user)
	}
	var why *unreadable
	if errors.As(err, &why) {
		return []adminapi.Blocker{{Kind: adminapi.BlockUnknown, Detail: fmt.Sprintf("what was restored on %s could not be read again: %s", b.srv.address, why.why)}}, nil
	}
	if err != nil {
		return nil, err
	}
	var bs []adminapi.Blocker
	differs := func(name, is, should string) {
		bs = append(bs, adminapi.Blocker{Kind: adminapi.BlockVariable, Names: []string{name}, Detail: fmt.Sprintf("%s changes the value of %s: it is %.60q there, and not %.60q", b.srv.address, name, is, should)})
	}
	for _, pair := range []struct{ name, is, should string }{
		{"schema", got.schema.value, want.schema.value}, {"role", got.role.value, want.role.value}, {"last_insert_id", got.insertID, want.insertID},
		{"insert_id", got.nextID, want.nextID}, {"timestamp", got.timestamp, want.timestamp},
	} {
		if pair.is != pair.should {
			differs(pair.name, pair.is, pair.should)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.variables)) {
		v, is := want.variables[name], seen.variables[name]
		if v.kind == kindFlags {
			now := strings.Split(is, ",")
			for _, f := range v.flags() {
				if !slices.Contains(now, f) {
					differs(name, is, f)
					break
				}
			}
		} else if is != v.value.value {
			differs(name, is, v.value.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want.user)) {
		is, there := got.user[name]
		if !there {
			is.null = true
		}
		if should := want.user[name]; is != should {
			differs("@"+name, is.value, should.value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got.user)) {
		if _, there := want.user[name]; !there && !got.user[name].null {
			differs("@"+name, got.user[name].value, "")
		}
	}
	return bs, nil
}
