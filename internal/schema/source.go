package schema

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"ariga.io/atlas/sql/migrate"
	"ariga.io/atlas/sql/sqltool"
)

// SourceKind says what a source is.
type SourceKind string

// The kinds of sources.
const (
	Live   SourceKind = "live"   // a running database
	Folder SourceKind = "folder" // a folder of migrations, in the order of their versions
	File   SourceKind = "file"   // a file that holds the whole schema
)

// source is one end of a check.
type source struct {
	flag  string
	kind  SourceKind
	path  string
	dsn   dsn
	files []migration // of a folder, in order; of a file, the one
}

// migration is a file with its statements.
type migration struct {
	name  string // the file's base name
	raw   []byte
	stmts []Statement
	// contract: it takes away what only versions before its own use, and waits for the contract step.
	contract bool
}

var contractMark = regexp.MustCompile(`(?m)^[ \t]*--[ \t]*windlass:[ \t]*contract[ \t]*\r?$`)

// expanding are the migrations that are not for the contract step.
func expanding(ms []migration) []migration {
	return slices.DeleteFunc(slices.Clone(ms), func(m migration) bool { return m.contract })
}

func (s source) String() string {
	if s.kind == Live {
		return s.dsn.String()
	}
	return s.path
}

// readSource finds out what a source is, and reads it if it is files.
func readSource(d Dialect, flag, arg string) (source, error) {
	s := source{flag: flag, path: arg}
	if arg == "" {
		return s, &Error{What: flag + " is needed", Hint: "give a live data source name, a folder of migrations or a schema file", Usage: true}
	}
	if isDSN(arg) {
		s.kind = Live
		var err error
		if s.dsn, err = parseDSN(d, flag, arg); err == nil && s.dsn.database() == "" {
			err = &Error{Where: flag, What: "names no database", Hint: "write its name at the end: …/DATABASE", Usage: true}
		}
		return s, err
	}
	info, err := os.Stat(arg)
	if err != nil {
		return s, &Error{Where: flag, What: "can't be read", Hint: "give a live data source name (postgres://…, USER:PASSWORD@tcp(…)/DATABASE or env:NAME), a folder of migrations or a schema file", Usage: true, Err: err}
	}
	if info.IsDir() {
		s.kind = Folder
		s.files, err = readFolder(d, arg)
		return s, err
	}
	s.kind = File
	raw, err := os.ReadFile(arg)
	if err != nil {
		return s, &Error{Where: flag, What: "can't be read", Hint: "see its permissions", Usage: true, Err: err}
	}
	m, err := readFile(d, arg, migrate.NewLocalFile(filepath.Base(arg), raw), raw)
	s.files = []migration{m}
	return s, err
}

var leadingNumber = regexp.MustCompile(`^[vV]?0*(\d+)`)

// readFolder reads the migrations of a folder, of the form that its files show: golang-migrate, goose, dbmate, Flyway, or plain SQL.
func readFolder(d Dialect, path string) ([]migration, error) {
	names, err := filepath.Glob(filepath.Join(path, "*.sql"))
	if err != nil || len(names) == 0 {
		return nil, &Error{Where: path, What: "the folder holds no *.sql", Hint: "name the folder that the migrations lie in", Usage: true, Err: err}
	}
	all := map[string][]byte{}
	form := "plain"
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			return nil, &Error{Where: n, What: "can't be read", Hint: "see its permissions", Usage: true, Err: err}
		}
		base := filepath.Base(n)
		all[base] = b
		switch {
		case strings.HasSuffix(base, ".up.sql"):
			form = "golang-migrate"
		case bytes.Contains(b, []byte("-- +goose Up")):
			form = "goose"
		case bytes.Contains(b, []byte("-- migrate:up")):
			form = "dbmate"
		case regexp.MustCompile(`^[VR]\d*(\.\d+)*__`).MatchString(base):
			form = "flyway"
		}
	}
	files, err := folderFiles(form, path)
	if err != nil {
		return nil, &Error{Where: path, What: "the folder can't be read as " + form, Hint: "see the names of its files", Usage: true, Err: err}
	}
	if form != "flyway" { // Flyway's own order is not that of the names
		if err := inOrder(path, files); err != nil {
			return nil, err
		}
	}
	var out []migration
	for _, f := range files {
		raw := all[filepath.Base(f.Name())]
		if raw == nil {
			raw = f.Bytes()
		}
		m, err := readFile(d, filepath.Join(path, f.Name()), f, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func folderFiles(form, path string) ([]migrate.File, error) {
	var dir interface {
		Files() ([]migrate.File, error)
	}
	var err error
	switch form {
	case "golang-migrate":
		dir, err = sqltool.NewGolangMigrateDir(path)
	case "goose":
		dir, err = sqltool.NewGooseDir(path)
	case "dbmate":
		dir, err = sqltool.NewDBMateDir(path)
	case "flyway":
		dir, err = sqltool.NewFlywayDir(path)
	default:
		dir, err = migrate.NewLocalDir(path)
	}
	if err != nil {
		return nil, err
	}
	return dir.Files()
}

// inOrder sorts by the number that names begin with (2 before 10), and by name where there is none.
func inOrder(path string, files []migrate.File) error {
	number := func(f migrate.File) (uint64, bool) {
		m := leadingNumber.FindStringSubmatch(f.Name())
		if m == nil {
			return 0, false
		}
		n, err := strconv.ParseUint(m[1], 10, 64)
		return n, err == nil
	}
	seen := map[uint64]string{}
	for _, f := range files {
		n, ok := number(f)
		if !ok {
			return nil // names only: they are sorted already
		}
		if other, twice := seen[n]; twice {
			return &Error{Where: filepath.Join(path, f.Name()), What: fmt.Sprintf("has the same version, %d, as %s", n, other), Hint: "give each migration a version of its own: the order is not known", Usage: true}
		}
		seen[n] = f.Name()
	}
	sort.SliceStable(files, func(i, j int) bool {
		a, _ := number(files[i])
		b, _ := number(files[j])
		return a < b
	})
	return nil
}

func scanner(d Dialect) *migrate.Scanner {
	if d == Postgres {
		return &migrate.Scanner{ScannerOptions: migrate.ScannerOptions{MatchDollarQuote: true, MatchBeginAtomic: true, EscapedStringExt: true, OmitDelimiter: true}}
	}
	return &migrate.Scanner{ScannerOptions: migrate.ScannerOptions{BackslashEscapes: true, HashComments: true, OmitDelimiter: true, MatchBegin: true}}
}

// readFile cuts a file into statements and finds the line of each.
func readFile(d Dialect, path string, f migrate.File, raw []byte) (migration, error) {
	m := migration{name: f.Name(), raw: raw, contract: contractMark.Match(raw)}
	var stmts []*migrate.Stmt
	var err error
	switch f := f.(type) {
	case *sqltool.GooseFile, *sqltool.DBMateFile:
		stmts, err = f.(interface {
			StmtDecls() ([]*migrate.Stmt, error)
		}).StmtDecls()
	default:
		stmts, err = scanner(d).Scan(string(raw))
	}
	if err != nil {
		return m, &Error{Where: path, What: "can't be cut into statements", Hint: "look for a quote, a dollar quote or a comment that does not end", Usage: true, Err: err}
	}
	text, at := string(raw), 0
	for _, s := range stmts {
		sql := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s.Text), ";"))
		if sql == "" {
			continue
		}
		first, _, _ := strings.Cut(sql, "\n")
		line := 1
		if i := strings.Index(text[at:], strings.TrimRight(first, " \t\r")); i >= 0 {
			line += strings.Count(text[:at+i], "\n")
			at += i + len(first)
			at = min(at, len(text))
		}
		m.stmts = append(m.stmts, Statement{SQL: sql, File: path, Line: line})
	}
	return m, nil
}

// contracting are the migrations that are for the contract step.
func contracting(ms []migration) []migration {
	return slices.DeleteFunc(slices.Clone(ms), func(m migration) bool { return !m.contract })
}

// all are the statements of the migrations in order.
func all(ms []migration) []Statement {
	var out []Statement
	for _, m := range ms {
		out = append(out, m.stmts...)
	}
	return out
}

// shared counts the migrations that both begin with; it refuses a history that was rewritten.
func shared(from, to source) (int, error) {
	for i, m := range from.files {
		if i >= len(to.files) {
			return 0, &Error{Where: from.path, What: fmt.Sprintf("has %d migrations, and %s only %d", len(from.files), to.path, len(to.files)), Hint: "--from is the older release's folder and --to the newer's, which holds the older's migrations and more", Usage: true}
		}
		if m.name != to.files[i].name {
			return 0, &Error{Where: filepath.Join(to.path, to.files[i].name), What: fmt.Sprintf("stands where %s has %s", from.path, m.name), Hint: "a newer release adds migrations after the older's, with a higher version", Usage: true}
		}
		if !sameStatements(m.stmts, to.files[i].stmts) {
			return 0, &Error{Where: filepath.Join(to.path, m.name), What: "is not the same as in " + from.path, Hint: "a migration that was released is not edited: write a new one", Usage: true}
		}
	}
	return len(from.files), nil
}

func sameStatements(a, b []Statement) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].SQL != b[i].SQL {
			return false
		}
	}
	return true
}
