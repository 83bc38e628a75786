package gateway

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/wire"
)

// inspector asks servers with the monitoring account, beside the monitor's polls: for their roles when a switch is released, and on MySQL for what is
// shown of a session to nobody but an account with SELECT on performance_schema. It keeps its connections until rest is called.
type inspector struct {
	dial    wire.Dial     // without an address
	timeout time.Duration // of all that is asked about one session

	mu    sync.Mutex
	idle  map[string][]*wire.Backend
	ids   map[string]map[uint32]bool // of all its connections, by the server's address
	over  bool                       // keeps none any more
	known map[string]*settings
}

// settings are a server's variables that sessions have, as of a moment.
type settings struct {
	at     time.Time
	uuid   string
	kinds  map[string]string // by lower-case name: INT, DOUBLE, FLAGSET, or what MySQL calls other kinds
	global map[string]string // those that have a global value, too
}

// settingsFor is how long settings are believed. They only tell what a session has in common with its server: an old one makes a value be
// restored by name that the new server has by itself.
const settingsFor = 10 * time.Second

// ofStatements reports whether it is a lock of statements that have ended, kept for a transaction: with autocommit=0 for what the gateway itself
// asked, too. LOCK TABLES … READ LOCAL keeps the same.
func (l metadataLock) ofStatements(lockTables bool) bool {
	if l.duration == "EXPLICIT" {
		return false
	}
	switch l.kind {
	case "SHARED_READ", "SHARED_WRITE", "SHARED_WRITE_LOW_PRIO", "INTENTION_EXCLUSIVE":
		return !lockTables || l.schema == "performance_schema"
	}
	return false
}

// thread is what a server shows of one session.
type thread struct {
	uuid      string
	group     string            // resource group
	variables map[string]string // system variables, by lower-case name
	user      []string          // names of user variables
	locks     []metadataLock
}

// metadataLock is one row of performance_schema.metadata_locks.
type metadataLock struct{ object, schema, name, kind, duration string }

func newInspector(d wire.Dial, timeout time.Duration) *inspector {
	return &inspector{dial: d, timeout: timeout, idle: map[string][]*wire.Backend{}, ids: map[string]map[uint32]bool{}, known: map[string]*settings{}}
}

// isMariaDB tells the two kinds of servers apart.
func isMariaDB(g wire.Greeting) bool { return strings.Contains(g.Version, "MariaDB") }

// with lets do talk to a server. A connection that was kept may have died meanwhile: then it is done once more, on a new one.
func (i *inspector) with(ctx context.Context, address string, do func(*wire.Backend) error) error {
	i.mu.Lock()
	kept := i.idle[address]
	var b *wire.Backend
	if n := len(kept); n > 0 {
		b, i.idle[address] = kept[n-1], kept[:n-1]
	}
	i.mu.Unlock()
	if b != nil {
		if err := i.try(ctx, address, b, do); err == nil || isTimeout(err) || answered(err) {
			return err
		}
	}
	d := i.dial
	d.Address = address
	b, err := d.Connect(ctx)
	if err != nil {
		return err
	}
	i.mu.Lock()
	if i.ids[address] == nil {
		i.ids[address] = map[uint32]bool{}
	}
	i.ids[address][b.Greeting.ThreadID] = true
	i.mu.Unlock()
	return i.try(ctx, address, b, do)
}

// connections are the ids of its own connections to a server.
func (i *inspector) connections(address string) []uint32 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Sorted(maps.Keys(i.ids[address]))
}

// close closes a connection to a server. mu is held.
func (i *inspector) close(address string, b *wire.Backend) {
	delete(i.ids[address], b.Greeting.ThreadID)
	b.Close()
}

// answered reports whether the error is something that the server said: its connection is well.
func answered(err error) bool {
	var no *wire.ServerError
	var why *unreadable
	return errors.As(err, &no) || errors.As(err, &why)
}

func (i *inspector) try(ctx context.Context, address string, b *wire.Backend, do func(*wire.Backend) error) error {
	release := b.Bound(ctx)
	err := do(b)
	if cut := release(); err == nil && cut != nil {
		err = cut
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if err != nil && !answered(err) || len(i.idle[address]) >= movers || i.over {
		i.close(address, b)
		return err
	}
	i.idle[address] = append(i.idle[address], b)
	return err
}

// end closes the connections, and lets none be kept.
func (i *inspector) end() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
	i.rest()
}

// rest closes the connections that are not in use.
func (i *inspector) rest() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for address, list := range i.idle {
		for _, b := range list {
			i.close(address, b)
		}
	}
	clear(i.idle)
}

// thread reads what a server shows of the session with that connection id. What can't be told completely is an *unreadable.
func (i *inspector) thread(ctx context.Context, address string, id uint32) (t *thread, err error) {
	err = i.with(ctx, address, func(b *wire.Backend) error {
		t, err = i.readThread(b, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// check tries whether what sessions hold can be read on a server. MariaDB's sessions tell it themselves.
func (i *inspector) check(ctx context.Context, address string) error {
	return i.with(ctx, address, func(b *wire.Backend) error {
		if isMariaDB(b.Greeting) {
			return nil
		}
		_, err := i.readThread(b, b.Greeting.ThreadID)
		return err
	})
}

// lockInstrument shows every lock on metadata: GET_LOCK, LOCK TABLES, HANDLER, FLUSH TABLES WITH READ LOCK.
const lockInstrument = "wait/lock/metadata/sql/mdl"

func (i *inspector) readThread(b *wire.Backend, id uint32) (*thread, error) {
	of := fmt.Sprintf("(SELECT THREAD_ID FROM performance_schema.threads WHERE PROCESSLIST_ID = %d)", id)
	res, refused, err := b.QueryMany(
		fmt.Sprintf("SELECT @@global.server_uuid, t.INSTRUMENTED, HEX(t.RESOURCE_GROUP), s.ENABLED FROM performance_schema.threads t, performance_schema.setup_instruments s WHERE t.PROCESSLIST_ID = %d AND s.NAME = '%s'", id, lockInstrument),
		"SELECT HEX(VARIABLE_NAME), HEX(VARIABLE_VALUE) FROM performance_schema.variables_by_thread WHERE THREAD_ID = "+of,
		"SELECT HEX(VARIABLE_NAME) FROM performance_schema.user_variables_by_thread WHERE THREAD_ID = "+of,
		"SELECT OBJECT_TYPE, HEX(OBJECT_SCHEMA), HEX(OBJECT_NAME), LOCK_TYPE, LOCK_DURATION FROM performance_schema.metadata_locks WHERE OWNER_THREAD_ID = "+of,
		"SHOW GLOBAL STATUS LIKE 'Performance_schema_metadata_lock_lost'")
	if err != nil {
		return nil, err
	}
	if err := i.allowed(refused); err != nil {
		return nil, err
	}
	switch {
	case len(res[0].Rows) != 1:
		return nil, &unreadable{"performance_schema does not show the session: it is off (performance_schema=ON in the option file), or too small for all threads"}
	case res[0].Value(0, 1) != "YES" || res[0].Value(0, 3) != "YES":
		return nil, &unreadable{fmt.Sprintf("performance_schema does not watch the session's locks: the instrument %s and the thread's INSTRUMENTED have to be YES", lockInstrument)}
	case res[4].Value(0, 1) != "0":
		return nil, &unreadable{fmt.Sprintf("performance_schema has lost %q locks since the server's start: raise performance_schema_max_metadata_locks", res[4].Value(0, 1))}
	case len(res[1].Rows) == 0:
		return nil, &unreadable{"performance_schema shows no variable of the session"}
	}
	t := &thread{uuid: res[0].Value(0, 0), group: unhex(res[0].Rows[0][2]).value, variables: map[string]string{}}
	for _, row := range res[1].Rows {
		name, value := strings.ToLower(unhex(row[0]).value), unhex(row[1])
		if len(value.value) >= longestShown {
			return nil, &unreadable{fmt.Sprintf("performance_schema may have cut the value of %s", name)}
		}
		t.variables[name] = value.value
	}
	for _, row := range res[2].Rows {
		t.user = append(t.user, unhex(row[0]).value)
	}
	for _, row := range res[3].Rows {
		t.locks = append(t.locks, metadataLock{string(row[0]), unhex(row[1]).value, unhex(row[2]).value, string(row[3]), string(row[4])})
	}
	return t, nil
}

// longestShown is the longest value of a variable that performance_schema shows.
const longestShown = 1024

// allowed turns a refusal into what the operator has to do.
func (i *inspector) allowed(refused []error) error {
	for _, no := range refused {
		var e *wire.ServerError
		switch {
		case no == nil:
		case errors.As(no, &e) && (e.Code == wire.ErrTableAccessDenied || e.Code == wire.ErrDatabaseAccessDenied || e.Code == wire.ErrNeedsPrivilege):
			return &unreadable{fmt.Sprintf("the monitoring account may not read what sessions hold: GRANT SELECT ON performance_schema.* TO '%s' there (%v)", i.dial.User, no)}
		default:
			return &unreadable{fmt.Sprintf("performance_schema could not be read: %v", no)}
		}
	}
	return nil
}

// settings reads, or remembers for a while, which variables sessions of a server have.
func (i *inspector) settings(ctx context.Context, address, uuid string) (s *settings, err error) {
	i.mu.Lock()
	s = i.known[address]
	i.mu.Unlock()
	if s != nil && s.uuid == uuid && time.Since(s.at) < settingsFor {
		return s, nil
	}
	s = &settings{at: time.Now(), uuid: uuid, kinds: map[string]string{}, global: map[string]string{}}
	err = i.with(ctx, address, func(b *wire.Backend) error {
		res, refused, err := b.QueryMany("SELECT LOWER(VARIABLE_NAME), DATA_TYPE FROM performance_schema.variables_metadata WHERE VARIABLE_SCOPE IN ('SESSION', 'SESSION_ONLY')",
			"SELECT LOWER(VARIABLE_NAME), HEX(VARIABLE_VALUE) FROM performance_schema.global_variables")
		if err != nil {
			return err
		}
		if err := i.allowed(refused); err != nil {
			return err
		}
		for _, row := range res[0].Rows {
			kind := string(row[1])
			switch kind {
			case "Integer":
				kind = "INT"
			case "Numeric":
				kind = "DOUBLE"
			}
			s.kinds[string(row[0])] = kind
		}
		for _, row := range res[1].Rows {
			value, err := hex.DecodeString(string(row[1]))
			if err != nil {
				return fmt.Errorf("%w: a variable's value", wire.ErrMalformed)
			}
			name := string(row[0])
			s.global[name] = string(value)
			if s.kinds[name] == "Set" && strings.Contains(string(value), "=") {
				s.kinds[name] = kindFlags
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	i.known[address] = s
	i.mu.Unlock()
	return s, nil
}
