package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// This file finds what is another one though it looks the same: a table that was dropped and made anew, or that changed places with another, and a
// column that was dropped and added again. Their rows and values are gone, and the catalogs before and after are equal.

// identities are what the server tells tables and columns from each other by, by their names. On PostgreSQL a column has one in its table; on MySQL
// and MariaDB tables alone have one in InnoDB, which is another after each rebuild, too. What the account may not see is not there.
type identities map[string]string

const pgNumbers = `SELECT n.nspname||'.'||c.relname, '', c.oid::text` + pgOf + ` AND c.relkind IN ('r','p')
 UNION ALL SELECT n.nspname||'.'||c.relname, a.attname, a.attnum::text FROM pg_attribute a JOIN pg_class c ON c.oid=a.attrelid JOIN pg_namespace n ON n.oid=c.relnamespace
  WHERE c.relkind IN ('r','p') AND a.attnum>0 AND NOT a.attisdropped AND ` + pgSkip

const myNumbers = `SELECT SUBSTRING_INDEX(NAME,'/',-1), '', TABLE_ID FROM information_schema.%s WHERE SUBSTRING_INDEX(NAME,'/',1)=DATABASE()`

func numberOf(table, column string) string { return table + "\x00" + column }

// readNumbers asks for them. An account that may not see InnoDB's, and a server that does not show them so, give none: they are for findings beside what the
// catalog says. Whatever else fails is an error.
func readNumbers(ctx context.Context, d Dialect, maria bool, db *sql.DB) (identities, error) {
	q := pgNumbers
	switch {
	case d == MySQL && maria:
		q = fmt.Sprintf(myNumbers, "INNODB_SYS_TABLES")
	case d == MySQL:
		q = fmt.Sprintf(myNumbers, "INNODB_TABLES")
	}
	out := identities{}
	rows, err := db.QueryContext(ctx, q)
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			var table, column, number string
			if err := rows.Scan(&table, &column, &number); err != nil {
				return nil, err
			}
			out[numberOf(table, column)] = number
		}
		err = rows.Err()
	}
	var my *mysql.MySQLError
	if errors.As(err, &my) && (my.Number == noProcess || my.Number == noSuchTable) {
		return nil, nil
	}
	return out, err
}

// What MySQL and MariaDB answer to an account without PROCESS, and of a table of information_schema that they do not have.
const (
	noProcess   = 1227
	noSuchTable = 1109
)

// tableWith is the table that has a number, or "".
func (n identities) tableWith(number string) string {
	for name, has := range n {
		if table, ok := strings.CutSuffix(name, "\x00"); ok && has == number {
			return table
		}
	}
	return ""
}

var (
	makesTable = regexp.MustCompile(`(?is)^\s*(CREATE|RENAME)\b`)
	makesIndex = regexp.MustCompile(`(?is)^\s*CREATE\s+(OR\s+REPLACE\s+)?(UNIQUE\s+|FULLTEXT\s+|SPATIAL\s+)?INDEX\b`)
)

// sames judges the tables that old nodes know, and that are there before and after the statement.
func (j *judge) sames() {
	text := masked(j.stmt.SQL)
	for _, old := range j.base.tables() {
		name := tableName(old)
		if j.before.table(name) == nil || j.after.table(name) == nil {
			continue
		}
		was, is := j.before.numbers[numberOf(name, "")], j.after.numbers[numberOf(name, "")]
		switch now := j.after.numbers.tableWith(was); {
		case was == "" || is == "" || was == is:
		case now != "":
			j.add("rename-table", "table "+name, name, "it is now "+now+", and another one has its name")
			continue
		case j.dialect == Postgres, makesTable.MatchString(text) && !makesIndex.MatchString(text): // else it was built anew with its rows
			j.add("drop-table", "table "+name, name, "it was dropped and made anew, without its rows")
			continue
		}
		for _, c := range old.Columns {
			if _, still := j.after.table(name).Column(c.Name); still && j.otherColumn(text, name, c.Name) {
				j.add("drop-column", "column "+name+"."+c.Name, name, "it was dropped and added again, without its values")
			}
		}
	}
}

// otherColumn tells whether a column that is there before and after the statement is another one. MySQL has no numbers of columns, but one statement
// changes one table, and says what it drops.
func (j *judge) otherColumn(text, table, column string) bool {
	if j.dialect == Postgres {
		was, is := j.before.numbers[numberOf(table, column)], j.after.numbers[numberOf(table, column)]
		return was != "" && is != "" && was != is
	}
	m := alterTable.FindStringSubmatch(text)
	return m != nil && strings.EqualFold(m[1], table) &&
		regexp.MustCompile("(?i)\\bDROP\\s+(?:COLUMN\\s+)?(?:IF\\s+EXISTS\\s+)?`?"+regexp.QuoteMeta(column)+"`?(?:[^\\w$]|$)").MatchString(text)
}
