package seed

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/wire"
)

// flavour is what differs between MariaDB and MySQL. Positions are in the server's own words.
type flavour interface {
	positions
	words
}

// positions are told, compared, held and set.
type positions interface {
	// source refuses a server that can't be read exactly.
	source(j *job) error
	// snapshot opens a snapshot on the source and tells its exact position.
	snapshot(ctx context.Context, j *job) (string, error)
	// reached tells whether the server has executed all of the position, and what it has executed.
	reached(ctx context.Context, c *node.Conn, position string) (has bool, executed string, err error)
	// served is an error unless the primary's logs hold all that follows the position.
	served(ctx context.Context, primary *node.Conn, position string) error
	// read begins to read the log at the position.
	read(c *wire.Backend, position string) error
	// logged lists transactions of the target that no copy accounts for; m is the mark on it, or nil.
	logged(ctx context.Context, j *job, m *mark) (string, error)
	// set makes a position the target's own; "" forgets an earlier copy's.
	set(ctx context.Context, c *node.Conn, position string) error
	// variable names where the position is set, for people.
	variable() string
}

// words are statements that the products write differently.
type words interface {
	// session are the settings under which tables and programs are made; every rule that could refuse or change what the source has is off.
	session() []setting
	// schema makes an empty schema, in place of one that is there.
	schema(name string, at map[string]string) []string
	user(a catalog.Account, created []string) (create []string, later []string)
	role(a catalog.Account) []string
	// accounts refuses those that can't be made as they are.
	accounts(ctx context.Context, j *job) error
	// isRole is an expression over mysql.user.
	isRole() string
	asleep(create string) string
	// unlock lets an administrator write on a read-only server, lock ends that.
	unlock() string
	lock() string
}

// setting is a session variable; what a version does not know is left out if known is false.
type setting struct {
	name, value string
	everywhere  bool
}

func flavourOf(c *node.Conn) flavour {
	if c.MariaDB {
		return mariadb{}
	}
	return oracle{}
}

// settle sets the session.
func settle(ctx context.Context, c *node.Conn, f flavour) error {
	for _, s := range f.session() {
		var err error
		if s.everywhere {
			err = c.Exec(ctx, "SET SESSION "+s.name+"="+s.value)
		} else {
			err = c.SetIfKnown(ctx, s.name, s.value)
		}
		if err != nil {
			return fmt.Errorf("set %s on %s: %w", s.name, c.Node.Name, err)
		}
	}
	return nil
}

// tableMode is the SQL mode in which tables are made.
const tableMode = "'NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES'"

// asleep puts an event to sleep whose definition says that it is enabled.
func asleep(create, word string) string {
	at := eventStatus.FindStringIndex(create)
	if at == nil {
		return create
	}
	return create[:at[1]-len("ENABLE")] + word + create[at[1]:]
}

// replaced puts other words in place of the first ones of each statement.
func replaced(stmts []string, from, to string) []string {
	out := make([]string, len(stmts))
	for i, s := range stmts {
		out[i] = strings.Replace(s, from, to, 1)
	}
	return out
}
