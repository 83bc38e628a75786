package schema

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"ariga.io/atlas/sql/migrate"

	"github.com/windlass-db/windlass/internal/capture"
)

// mostOld bounds the different statements of the old version that are tried: each is run after each statement of the migration.
const mostOld = 5000

// readOld reads the old version's statements from a file of SQL, a general or slow log of MySQL or MariaDB, a log of PostgreSQL's, an export of
// pg_stat_statements as CSV, or a capture, whose key may be needed. Of a log, what can't be tried (SET, COMMIT, DDL) is left out, and so is what differs only in values.
func readOld(d Dialect, path string, key *capture.Key) (*oldStatements, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Where: "--statements", What: "can't be read", Hint: "give a file of SQL statements, each with a semicolon, or a log of statements", Usage: true, Err: err}
	}
	o := &oldStatements{}
	var all []Statement
	switch form := formOf(raw); form {
	case "":
		m, err := readFile(d, path, migrate.NewLocalFile(filepath.Base(path), raw), raw)
		if err != nil {
			return nil, err
		}
		for _, s := range m.stmts {
			if !tryable(s.SQL) {
				return nil, &Error{Where: s.Where(), What: fmt.Sprintf("%q is not tried", s.Short()), Hint: "the file may hold SELECT, INSERT, UPDATE, DELETE, REPLACE, MERGE, WITH, VALUES and CALL, which can be rolled back", Usage: true}
			}
		}
		all = m.stmts
	default:
		if (form == postgresLog || form == statCSV) != (d == Postgres) {
			return nil, &Error{Where: path, What: fmt.Sprintf("is a %s, and the dialect is %s", form, d), Hint: "give a log of the database that --dialect names", Usage: true}
		}
		o.form = form
		if form == captureFile {
			all, o.skipped, err = readCapture(path, raw, key)
		} else {
			all, err = readLog(path, form, raw)
		}
		if err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{}
	for _, s := range all {
		key := alike(s.SQL)
		switch {
		case !tryable(s.SQL):
			o.skipped++
		case o.form != "" && seen[key]:
		default:
			seen[key] = true
			o.stmts = append(o.stmts, s)
		}
	}
	switch {
	case len(o.stmts) == 0 && o.form != "":
		return nil, &Error{Where: path, What: fmt.Sprintf("is a %s without a statement that could be tried", o.form), Hint: "log for a while in which the old version does all that it does: general_log=ON; log_statement='all'", Usage: true}
	case len(o.stmts) == 0:
		return nil, &Error{Where: path, What: "holds no statement", Hint: "write the old version's statements, each with a semicolon", Usage: true}
	case len(o.stmts) > mostOld:
		return nil, &Error{Where: path, What: fmt.Sprintf("holds %d different statements, more than %d", len(o.stmts), mostOld), Hint: "give a part of it", Usage: true}
	}
	o.fit, o.failed, o.prepared, o.columns = make([]bool, len(o.stmts)), make([]bool, len(o.stmts)), make([]bool, len(o.stmts)), make([][]string, len(o.stmts))
	return o, nil
}

func tryable(sql string) bool {
	text := masked(sql)
	return mayTry.MatchString(text) && !outsideTries.MatchString(text)
}

var numbers = regexp.MustCompile(`\b\d+(\.\d+)?\b`)

// alike is the same for statements that differ in values only.
func alike(sql string) string {
	return strings.Join(strings.Fields(numbers.ReplaceAllString(masked(sql), "?")), " ")
}

// The forms of logs, as a person calls them.
const (
	generalLog  = "general log of MySQL or MariaDB"
	slowLog     = "slow log of MySQL or MariaDB"
	postgresLog = "log of PostgreSQL"
	statCSV     = "table of pg_stat_statements"
)

var (
	generalLine = regexp.MustCompile(`^(?:\d{4}-\d\d-\d\dT\S+|\d{6}\s+\d{1,2}:\d\d:\d\d|\t)?\s+(\d+) (Query|Execute|Prepare|Connect|Quit|Init DB|Close stmt|Reset stmt|Field List|Statistics|Ping|Change user|Binlog Dump|Shutdown|Sleep)\t?(.*)$`)
	slowLine    = regexp.MustCompile(`^# (Time|User@Host|Query_time|Thread_id|Schema|Rows_|Bytes_)`)
	pgLine      = regexp.MustCompile(`(?:LOG|ERROR|STATEMENT|DETAIL|HINT|WARNING|FATAL|CONTEXT|NOTICE):  `)
	pgSaid      = regexp.MustCompile(`LOG:  (?:duration: [\d.]+ ms  )?(?:statement|execute [^:]*|parse [^:]*): (.*)$`)
)

// formOf tells which log a text is by its first lines; "" is plain SQL.
func formOf(raw []byte) string {
	if isCapture(raw) {
		return captureFile
	}
	head := raw[:min(len(raw), 64<<10)]
	for line := range strings.Lines(string(head)) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case slowLine.MatchString(line):
			return slowLog
		case generalLine.MatchString(line):
			return generalLog
		case pgSaid.MatchString(line):
			return postgresLog
		}
	}
	first, _, _ := bytes.Cut(head, []byte("\n"))
	if names, err := csv.NewReader(bytes.NewReader(first)).Read(); err == nil && columnOf(names, "query") >= 0 {
		return statCSV
	}
	return ""
}

func columnOf(names []string, name string) int {
	for i, n := range names {
		if strings.EqualFold(strings.Trim(strings.TrimSpace(n), "\ufeff"), name) {
			return i
		}
	}
	return -1
}

// readLog takes the statements out of a log. A statement goes on in the lines that begin no other entry.
func readLog(path, form string, raw []byte) ([]Statement, error) {
	if form == statCSV {
		return readStats(path, raw)
	}
	var all []Statement
	var text []string
	at, n := 0, 0
	end := func() {
		if sql := strings.TrimSuffix(strings.TrimSpace(strings.Join(text, "\n")), ";"); sql != "" {
			all = append(all, Statement{SQL: sql, File: path, Line: at})
		}
		text = nil
	}
	begin := func(first string) { end(); text, at = []string{first}, n }
	taking := false
	for line := range strings.Lines(string(raw)) {
		n++
		line = strings.TrimRight(line, "\r\n")
		switch form {
		case generalLog:
			m := generalLine.FindStringSubmatch(line)
			switch {
			case m != nil:
				if taking = m[2] == "Query" || m[2] == "Execute" || m[2] == "Prepare"; taking {
					begin(m[3])
				} else {
					end()
				}
			case taking:
				text = append(text, line)
			}
		case slowLog:
			switch {
			case strings.HasPrefix(line, "#"):
				end()
				taking = true
			case !taking:
			case len(text) == 0 && slowNoise.MatchString(line):
			case len(text) == 0:
				begin(line)
			default:
				text = append(text, line)
			}
		default:
			m := pgSaid.FindStringSubmatch(line)
			switch {
			case m != nil:
				taking = true
				begin(m[1])
			case pgLine.MatchString(line):
				taking = false
				end()
			case taking && strings.HasPrefix(line, "\t"):
				text = append(text, strings.TrimPrefix(line, "\t"))
			}
		}
	}
	end()
	return all, nil
}

var slowNoise = regexp.MustCompile(`(?i)^(use \S+;|SET timestamp=\d+;|(\S+), Version: .* started with:|Tcp port: |Time\s+Id\s+Command)`)

func readStats(path string, raw []byte) ([]Statement, error) {
	r := csv.NewReader(bytes.NewReader(raw))
	r.FieldsPerRecord = -1
	names, err := r.Read()
	if err != nil {
		return nil, &Error{Where: path, What: "is no CSV", Hint: "write it by: psql --csv -c 'SELECT query FROM pg_stat_statements'", Usage: true, Err: err}
	}
	k := columnOf(names, "query")
	var all []Statement
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, &Error{Where: path, What: "is no CSV", Hint: "write it by: psql --csv -c 'SELECT query FROM pg_stat_statements'", Usage: true, Err: err}
		}
		if k < len(row) {
			line, _ := r.FieldPos(k)
			all = append(all, Statement{SQL: strings.TrimSuffix(strings.TrimSpace(row[k]), ";"), File: path, Line: line})
		}
	}
}
