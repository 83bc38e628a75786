package gateway

import (
	"bytes"

	"github.com/windlass-db/windlass/internal/wire"
)

// This file looks at the text of statements. Text never decides that something is safe to lose: what it finds makes the gateway ask
// the server, or refrain. Whatever it is not sure of it calls "not a read" and "not safe to repeat".

// found is what a text was found to contain.
type found struct {
	suspicious bool // may make temporary tables, locks, handlers or prepared statements: the session's state is read before a hold is complete
	foundRows  bool // counts rows that FOUND_ROWS() may be asked for
}

// wordEnds marks the last letters of the words that scan looks for.
var wordEnds = [256]bool{'k': true, 'K': true, 'y': true, 'Y': true, 'r': true, 'R': true, 'e': true, 'E': true, 's': true, 'S': true}

// scan goes over a text once. It runs for every query, but after the query was sent.
func scan(text []byte) (f found) {
	for i, c := range text {
		if !wordEnds[c] {
			continue
		}
		head := text[:i+1]
		switch c {
		case 'k', 'K':
			f.suspicious = f.suspicious || endsWith(head, "LOCK")
		case 'y', 'Y':
			f.suspicious = f.suspicious || endsWith(head, "TEMPORARY")
		case 'r', 'R':
			f.suspicious = f.suspicious || endsWith(head, "HANDLER")
		case 'e', 'E':
			f.suspicious = f.suspicious || endsWith(head, "PREPARE")
		case 's', 'S':
			f.foundRows = f.foundRows || endsWith(head, "SQL_CALC_FOUND_ROWS")
		}
	}
	return f
}

// endsWith compares the end of the text with an upper-case word, whatever the text's case.
func endsWith(text []byte, word string) bool {
	return len(text) >= len(word) && equalWord(text[len(text)-len(word):], word)
}

func equalWord(text []byte, word string) bool {
	for i := range len(word) {
		if upper(text[i]) != word[i] {
			return false
		}
	}
	return true
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// contains looks for an upper-case word anywhere in the text.
func contains(text []byte, word string) bool {
	for i := 0; i+len(word) <= len(text); i++ {
		if upper(text[i]) == word[0] && equalWord(text[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// userLocks gives the names in the text's calls of GET_LOCK, and false if any of them is not a plain literal.
func userLocks(text []byte) (names []string, all bool) {
	all = true
	for i := 0; i+len("GET_LOCK") <= len(text); i++ {
		if upper(text[i]) != 'G' || !equalWord(text[i:i+8], "GET_LOCK") {
			continue
		}
		rest := bytes.TrimLeft(text[i+8:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '(' {
			continue
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != '\'' && rest[0] != '"' {
			all = false
			continue
		}
		end := bytes.IndexByte(rest[1:], rest[0])
		if end < 0 || bytes.IndexByte(rest[1:1+end], '\\') >= 0 || end+2 < len(rest) && (rest[end+2] == rest[0]) {
			all = false
			continue
		}
		after := bytes.TrimLeft(rest[end+2:], " \t\r\n")
		if len(after) == 0 || after[0] != ',' && after[0] != ')' {
			all = false // an expression that begins with a literal
			continue
		}
		names = append(names, string(rest[1:1+end]))
	}
	return names, all
}

// firstWord skips white space, comments and opening brackets, and gives the first word in upper case. An executable comment
// (/*! or /*M!) has no first word: it could be anything.
func firstWord(text []byte) (word string, rest []byte) {
	for {
		text = bytes.TrimLeft(text, " \t\r\n\f\v(")
		switch {
		case bytes.HasPrefix(text, []byte("/*")):
			if len(text) > 2 && (text[2] == '!' || text[2] == 'M' || text[2] == '+') {
				return "", nil
			}
			end := bytes.Index(text[2:], []byte("*/"))
			if end < 0 {
				return "", nil
			}
			text = text[2+end+2:]
		case bytes.HasPrefix(text, []byte("#")), bytes.HasPrefix(text, []byte("-- ")), bytes.HasPrefix(text, []byte("--\n")), bytes.HasPrefix(text, []byte("--\t")):
			end := bytes.IndexByte(text, '\n')
			if end < 0 {
				return "", nil
			}
			text = text[end+1:]
		default:
			n := 0
			for n < len(text) && n < 24 && (upper(text[n]) >= 'A' && upper(text[n]) <= 'Z' || text[n] == '_') {
				n++
			}
			return string(bytes.ToUpper(text[:n])), text[n:]
		}
	}
}

// single reports whether the text is one statement for sure: nothing follows a semicolon, and no comment is executable.
func single(text []byte) bool {
	if i := bytes.IndexByte(text, ';'); i >= 0 && len(bytes.TrimRight(text[i:], "; \t\r\n\x00")) > 0 {
		return false
	}
	return !bytes.Contains(text, []byte("/*!")) && !bytes.Contains(text, []byte("/*M!"))
}

// notReads are words that make a SELECT more than a read.
var notReads = []string{"FOR UPDATE", "LOCK IN", "FOR SHARE", "INTO", "NEXTVAL", "NEXT VALUE", "SETVAL", "GET_LOCK", ":=", "PROCEDURE", "SLEEP"}

// isRead reports whether the text is one statement that reads and neither writes nor locks, for sure as far as a text can tell.
// A function that it calls could write; a server that is read-only refuses that.
func isRead(text []byte) bool {
	if !single(text) {
		return false
	}
	switch word, _ := firstWord(text); word {
	case "SELECT", "SHOW", "DESC", "DESCRIBE", "TABLE", "VALUES", "WITH", "EXPLAIN":
		if word == "EXPLAIN" || word == "WITH" {
			if contains(text, "ANALYZE") || contains(text, "UPDATE") || contains(text, "DELETE") {
				return false
			}
		}
	default:
		return false
	}
	for _, w := range notReads {
		if contains(text, w) {
			return false
		}
	}
	return true
}

// endsTransaction reports whether the text is a COMMIT or ROLLBACK, and which.
func endsTransaction(text []byte) (commit, rollback bool) {
	if !single(text) {
		return false, false
	}
	word, rest := firstWord(text)
	next, _ := firstWord(rest)
	return word == "COMMIT", word == "ROLLBACK" && next != "TO" && !contains(rest, " TO ")
}

// repeatable reports whether the text is one statement that a server which refused it as read-only has not begun: it may be
// sent to another one (trap 11). A CALL may have done a part; an assignment to a user variable would be made twice.
func repeatable(text []byte) bool {
	if !single(text) || contains(text, ":=") {
		return false
	}
	switch word, _ := firstWord(text); word {
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "ALTER", "DROP", "TRUNCATE", "RENAME":
		return true
	}
	return false
}

// asksDiagnostics reports whether the text asks what the statement before it left: warnings, found rows, the row count. Those can't
// be moved, so it is answered where the statement ran.
func asksDiagnostics(text []byte) bool {
	if !isRead(text) && !contains(text, "DIAGNOSTICS") {
		return false
	}
	for _, w := range []string{"FOUND_ROWS", "ROW_COUNT", "WARNINGS", "ERRORS", "DIAGNOSTICS", "@@WARNING_COUNT", "@@ERROR_COUNT"} {
		if contains(text, w) {
			return true
		}
	}
	return false
}

// begins reports whether the text begins with an upper-case word, whatever its case, or may: with something that has to be skipped. It is on
// the way of every query, and false for nearly all.
func begins(text []byte, word string) bool {
	c := text
	if len(c) == 0 || upper(c[0]) < 'A' || upper(c[0]) > 'Z' { // nearly all begin with a letter
		c = bytes.TrimLeft(text, " \t\r\n\f\v(")
	}
	return len(c) > 0 && (c[0] == '/' || c[0] == '#' || c[0] == '-' || len(c) >= len(word) && equalWord(c[:len(word)], word))
}

// makesTable reports whether the text is one CREATE TABLE, for sure of no temporary table.
func makesTable(text []byte) bool {
	if !begins(text, "CREATE") || !single(text) {
		return false
	}
	word, rest := firstWord(text)
	next, _ := firstWord(rest)
	return word == "CREATE" && next == "TABLE"
}

// forNext gives the text if it sets something for the next transaction alone: SET TRANSACTION, as drivers send it before they begin one, or
// SET @@transaction_isolation without SESSION.
func forNext(text []byte) string {
	if !begins(text, "SET") || !single(text) {
		return ""
	}
	word, rest := firstWord(text)
	if word != "SET" {
		return ""
	}
	if next, _ := firstWord(rest); next == "TRANSACTION" {
		return string(text)
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	for _, name := range []string{"@@TRANSACTION_", "@@TX_"} {
		if len(rest) >= len(name) && equalWord(rest[:len(name)], name) && bytes.IndexByte(rest, ',') < 0 {
			return string(text)
		}
	}
	return ""
}

// keepsNext reports whether a command leaves what was set for the next transaction as it is.
func keepsNext(req request) bool {
	if req.text == nil {
		return req.cmd != wire.ComQuery && req.cmd != wire.ComStmtExecute
	}
	word, _ := firstWord(req.text)
	return word == "SET" || word == "SHOW"
}

// killTarget reads KILL [HARD|SOFT] [CONNECTION|QUERY] id. What is before the id stays as it was written.
func killTarget(text []byte) (verb string, id uint32, ok bool) {
	if !begins(text, "KILL") {
		return "", 0, false
	}
	word, rest := firstWord(text)
	if word != "KILL" || !single(text) {
		return "", 0, false
	}
	verb = "KILL"
	for {
		word, after := firstWord(rest)
		switch word {
		case "HARD", "SOFT", "CONNECTION", "QUERY":
			verb += " " + word
			rest = after
			continue
		case "":
			rest = after
		default:
			return "", 0, false // KILL QUERY ID …, KILL USER …: left as they are
		}
		break
	}
	digits := bytes.Trim(rest, " \t\r\n;\x00")
	if len(digits) == 0 || len(digits) > 10 {
		return "", 0, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return "", 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	if n > 1<<32-1 {
		return "", 0, false
	}
	return verb, uint32(n), true
}
