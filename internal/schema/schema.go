// Package schema is the schema step of a rolling upgrade: it proves that a migration only expands, tells what it locks and for how
// long, and applies it.
//
// Model. A migration takes a schema from one state to another, statement by statement. Each of its statements is run on an empty
// development database, and the state before and after is read from the catalog (tables by Atlas, the rest by queries of ours). The
// rules judge what changed, not how the statement was written; since old nodes go on working while a migration runs, the state
// after every single statement must serve them, and not the last one alone. What a statement locks and rewrites is measured on the
// development server by the server itself: PostgreSQL's pg_locks, file nodes and scan counters, the ALGORITHM and LOCK that MySQL
// and MariaDB accept.
//
// Invariants. Check changes nothing but databases that it made itself on the development server, and samples of its own on a live one,
// which are rolled back or dropped. A failed read is an error, never an empty schema. No error, finding or text holds a password.
//
// Failure handling. Errors are *Error: what, where (file and line) and what to do.
//
// See docs/design/schema.md.
package schema

import (
	"fmt"
	"strings"
)

// Dialect is a family of servers.
type Dialect string

// The dialects. MySQL includes MariaDB.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// ParseDialect reads the name of a dialect.
func ParseDialect(s string) (Dialect, error) {
	switch strings.ToLower(s) {
	case "postgres", "postgresql":
		return Postgres, nil
	case "mysql", "mariadb":
		return MySQL, nil
	}
	return "", &Error{What: fmt.Sprintf("%q is no dialect", s), Hint: "give --dialect postgres, or --dialect mysql, which is MariaDB's too", Usage: true}
}

// Statement is one statement of a migration, with the place where it stands.
type Statement struct {
	SQL  string `json:"sql"`
	File string `json:"file,omitempty"` // as the user named it; empty if it was planned from the difference of two states
	Line int    `json:"line,omitempty"` // 1 for the first
}

// Where is "file:line", or empty.
func (s Statement) Where() string {
	if s.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", s.File, s.Line)
}

// Short is the statement on one line, cut to a length that fits a table.
func (s Statement) Short() string { return short(s.SQL) }

func short(sql string) string {
	text := []rune(strings.Join(strings.Fields(sql), " "))
	if len(text) > 120 {
		return string(text[:117]) + "..."
	}
	return string(text)
}

// Error says what is wrong, where, and what to do.
type Error struct {
	What  string
	Where string // file:line, or which server; may be empty
	Hint  string
	Usage bool  // what was asked is wrong, rather than that it did not work
	Err   error // the cause, or nil; its text holds no secret
}

// Error is the message without the hint.
func (e *Error) Error() string {
	msg := e.What
	if e.Where != "" {
		msg = e.Where + ": " + msg
	}
	if e.Err != nil {
		msg += ": " + e.Err.Error()
	}
	return msg
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorHint says what to do.
func (e *Error) ErrorHint() string { return e.Hint }
