// Package catalog reads the objects of a server, so that they can be copied, and compared between two versions.
//
// Model. Every object is a Fact: its kind, its name, and attributes as text. What differs between two healthy servers
// (row estimates, creation times, the next AUTO_INCREMENT) is no attribute. Passwords are kept as a digest.
//
// Invariants. Schemas of the server itself, and what Windlass keeps on each server for that server alone, are never in
// a catalog: they are neither copied nor compared.
//
// Failure. A catalog is whole or an error; nothing that could not be read is left out of it.
package catalog

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// Kind is a sort of object.
type Kind string

// The kinds, in the order in which differences are told.
const (
	KindSchema     Kind = "schema"
	KindTable      Kind = "table"
	KindColumn     Kind = "column"
	KindIndex      Kind = "index"
	KindForeignKey Kind = "foreign key"
	KindCheck      Kind = "check constraint"
	KindPartition  Kind = "partition"
	KindSequence   Kind = "sequence"
	KindView       Kind = "view"
	KindRoutine    Kind = "routine"
	KindTrigger    Kind = "trigger"
	KindEvent      Kind = "event"
	KindAccount    Kind = "account"
	KindGrant      Kind = "grant"
	KindServer     Kind = "server definition"
	KindFunction   Kind = "loadable function"
)

var kinds = []Kind{KindSchema, KindTable, KindColumn, KindIndex, KindForeignKey, KindCheck, KindPartition, KindSequence, KindView, KindRoutine, KindTrigger, KindEvent, KindAccount, KindGrant, KindServer, KindFunction}

// ID names an object.
type ID struct {
	Kind Kind
	Name string // such as "app.orders" or "app.orders.total"
}

func (id ID) String() string { return string(id.Kind) + " " + id.Name }

// Catalog is every object of a server.
type Catalog struct {
	Facts    map[ID]map[string]string
	Schemas  []string
	Tables   []Table // base tables, by schema and name
	Programs []Program
	Accounts []Account
}

// Table is one base table.
type Table struct {
	Schema, Name  string
	Engine        string
	Versioned     bool
	Rows          int64 // the server's estimate
	Bytes         int64 // of data and indexes, the server's estimate
	AutoIncrement string
	Columns       []Column
	Key           []Column // columns of the primary key, or of a unique one without NULLs; empty if there is none
	KeyName       string
	RowStart      string // names of the period's columns of a versioned table
	RowEnd        string
}

// String is schema.name.
func (t Table) String() string { return t.Schema + "." + t.Name }

// Column is one column.
type Column struct {
	Name      string
	Type      string // such as "varchar"
	Full      string // such as "varchar(20)"
	Charset   string // "" for what has none
	Collation string
	Length    int64 // characters; 0 for what has none
	Virtual   bool  // computed when it is read
	Stored    bool  // computed when it is written
	Indexed   bool
	Auto      bool // AUTO_INCREMENT
}

// Program is an object whose definition is text: a sequence, view, routine, trigger or event.
type Program struct {
	Kind         Kind
	Schema, Name string
	Type         string // of a routine: "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY"
	Status       string // of an event
}

// String is schema.name.
func (p Program) String() string { return p.Schema + "." + p.Name }

// Account is a user or a role.
type Account struct {
	User, Host string
	Role       bool
}

// Quoted is the account as it is written in statements.
func (a Account) Quoted() string {
	if a.Role && a.Host == "" {
		if strings.EqualFold(a.User, "public") {
			return "PUBLIC"
		}
		return node.Ident(a.User)
	}
	return node.Ident(a.User) + "@" + node.Ident(a.Host)
}

// String is user@host.
func (a Account) String() string {
	if a.Role && a.Host == "" {
		return a.User
	}
	return a.User + "@" + a.Host
}

// Ours names the schema of what Windlass keeps on servers.
const Ours = "windlass"

// local are the tables that belong to one server alone. What else is in our schema is replicated like any table.
var local = []string{"fence", "standing", "seed", "seed_object"}

// System lists the schemas of the server itself.
func System() []string { return []string{"mysql", "information_schema", "performance_schema", "sys"} }

func ignored(schema, table string) bool {
	return slices.Contains(System(), strings.ToLower(schema)) || strings.ToLower(schema) == Ours && slices.Contains(local, strings.ToLower(table))
}

// skipped tells whether a whole schema's programs are left out: in our own schema they are each server's.
func skipped(schema string) bool {
	return ignored(schema, "") || strings.ToLower(schema) == Ours
}

// Read reads a server's catalog. It does not see a transaction's snapshot: read it twice to know that it stood still.
func Read(ctx context.Context, c *node.Conn) (*Catalog, error) {
	k := &Catalog{Facts: map[ID]map[string]string{}}
	r := reader{ctx: ctx, c: c, k: k, tables: map[string]*Table{}}
	for _, part := range []struct {
		what string
		read func() error
	}{
		{"schemas", r.schemas}, {"tables", r.readTables}, {"columns", r.columns}, {"indexes", r.indexes}, {"constraints", r.constraints}, {"partitions", r.partitions},
		{"views", r.views}, {"routines", r.routines}, {"triggers", r.triggers}, {"events", r.events}, {"accounts", r.accounts}, {"other objects", r.others},
	} {
		if err := part.read(); err != nil {
			return nil, fmt.Errorf("read the %s of %s: %w", part.what, c.Node.Name, err)
		}
	}
	for _, name := range r.order {
		k.Tables = append(k.Tables, *r.tables[name])
	}
	return k, nil
}

// reader holds one reading.
type reader struct {
	ctx    context.Context
	c      *node.Conn
	k      *Catalog
	tables map[string]*Table
	order  []string
}

// rows reads a query. Names of columns are lower case, as the versions disagree about them.
func (r *reader) rows(query string) ([]node.Row, error) {
	rs, err := r.c.Rows(r.ctx, query)
	for i, row := range rs {
		lower := make(node.Row, len(row))
		for k, v := range row {
			lower[strings.ToLower(k)] = v
		}
		rs[i] = lower
	}
	return rs, err
}

// fact notes an object with those of the row's columns that are named.
func (r *reader) fact(kind Kind, name string, row node.Row, columns ...string) {
	at := make(map[string]string, len(columns))
	for _, col := range columns {
		v, ok := row[col]
		if !ok {
			v = "NULL"
		}
		at[strings.ReplaceAll(col, "_", " ")] = v
	}
	r.k.Facts[ID{kind, name}] = at
}
