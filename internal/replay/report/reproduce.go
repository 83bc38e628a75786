package report

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/replay/tally"
)

// charsets are the character sets of the collations that clients log in with, by id. Servers of all versions agree in these.
var charsets = map[uint16]string{
	5: "latin1", 8: "latin1", 15: "latin1", 31: "latin1", 47: "latin1", 48: "latin1", 11: "ascii", 65: "ascii", 63: "binary", 28: "gbk", 24: "gb2312", 13: "sjis", 12: "ujis", 19: "euckr", 51: "cp1251", 7: "koi8r", 9: "latin2",
	33: "utf8mb3", 83: "utf8mb3", 45: "utf8mb4", 46: "utf8mb4",
}

// charset names the character set of a collation; "" if it is not known.
func charset(id uint16) string {
	if name := charsets[id]; name != "" {
		return name
	}
	switch {
	case id >= 192 && id <= 215:
		return "utf8mb3"
	case id >= 224 && id <= 247, id >= 255 && id <= 323:
		return "utf8mb4"
	case id >= 2048 && id < 2304:
		return "utf8mb3" // the uca1400 collations of MariaDB
	case id >= 2304 && id < 2560:
		return "utf8mb4"
	}
	return ""
}

// Reproduce gives the commands that run a statement with the mariadb client as its session did. The server is what follows --host, such as "old-replica" or
// `"$OLD"`.
func Reproduce(s tally.Statement, server string) string {
	var b strings.Builder
	b.WriteString("mariadb --host=" + server + " --show-warnings --table --comments")
	name := charset(s.Charset)
	if name != "" {
		b.WriteString(" --default-character-set=" + name)
	}
	if s.Schema != "" {
		b.WriteString(" --database=" + shell(s.Schema))
	}
	script := SQL(s)
	if printable(script) != script { // what a terminal or an editor would change is given in letters
		return "base64 -d <<'SQL' | " + b.String() + "\n" + base64.StdEncoding.EncodeToString([]byte(script)) + "\nSQL\n"
	}
	end := "SQL"
	for strings.Contains(script, end) { // a text that holds it would end the script
		end += "_"
	}
	return b.String() + " <<'" + end + "'\n" + script + end + "\n"
}

// SQL gives the text that runs the statement as its session did: its settings, its clock, and a prepared statement as one.
func SQL(s tally.Statement) string {
	var b strings.Builder
	if s.Charset != 0 && charset(s.Charset) == "" {
		fmt.Fprintf(&b, "-- the session's collation has the id %d: SELECT * FROM information_schema.collations WHERE id = %d names it, for SET NAMES\n", s.Charset, s.Charset)
	}
	if s.User != "" {
		fmt.Fprintf(&b, "-- it ran as %s\n", strings.Join(strings.Fields(printable(s.User)), " "))
	}
	if s.SQLMode != "" {
		fmt.Fprintf(&b, "SET sql_mode = %s;\n", quote([]byte(s.SQLMode)))
	}
	for _, set := range s.Settings {
		b.WriteString(ended(set))
	}
	if !s.At.IsZero() {
		fmt.Fprintf(&b, "SET TIMESTAMP = %d.%06d;\n", s.At.Unix(), s.At.Nanosecond()/1000)
	}
	if s.Short {
		b.WriteString("-- the statement was too long to be kept whole; this is its beginning\n")
	}
	if s.Command != 0x17 {
		b.WriteString(ended(string(s.Text)))
		return b.String()
	}
	values, err := literals(s)
	if err != nil {
		b.WriteString("-- its parameters could not be read\n")
	}
	var names []string
	for i, v := range values {
		names = append(names, fmt.Sprintf("@p%d", i+1))
		fmt.Fprintf(&b, "SET @p%d = %s;\n", i+1, v)
	}
	fmt.Fprintf(&b, "PREPARE s FROM %s;\nEXECUTE s", quote(s.Text))
	if len(names) > 0 {
		b.WriteString(" USING " + strings.Join(names, ", "))
	}
	b.WriteString(";\n")
	return b.String()
}

// ended is a statement with its end.
func ended(s string) string {
	s = strings.TrimRight(s, "; \t\r\n")
	if i := strings.LastIndexByte(s, '\n'); strings.Contains(s[i+1:], "-- ") || strings.Contains(s[i+1:], "#") {
		return s + "\n;\n" // a comment would take the end away
	}
	return s + ";\n"
}

// shell quotes a word for a shell.
func shell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
