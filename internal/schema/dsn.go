package schema

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// dsn is how a live database is reached. It never prints its password.
type dsn struct {
	dialect Dialect
	pg      *pgx.ConnConfig
	my      *mysql.Config
}

// isDSN tells a data source name from a path.
func isDSN(s string) bool {
	return strings.Contains(s, "://") || strings.Contains(s, "@tcp(") || strings.Contains(s, "@unix(") || strings.Contains(s, "host=") || strings.HasPrefix(s, "env:")
}

// parseDSN reads a data source name, or the environment's variable that holds it ("env:NAME"). flag names it in errors.
func parseDSN(d Dialect, flag, s string) (dsn, error) {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		if s = os.Getenv(name); s == "" {
			return dsn{}, &Error{Where: flag, What: "the environment variable " + name + " is empty", Hint: "put the data source name into it", Usage: true}
		}
	}
	out := dsn{dialect: d}
	scheme, _, _ := strings.Cut(s, "://")
	switch {
	case d == Postgres:
		if scheme == "mysql" || scheme == "mariadb" || strings.Contains(s, "@tcp(") {
			return dsn{}, otherDialect(flag, d)
		}
		c, err := pgx.ParseConfig(s)
		if err != nil { // its text can hold parts of what was given
			return dsn{}, &Error{Where: flag, What: "can't be read as a PostgreSQL data source name", Hint: "write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special characters of the password as %XX, or env:NAME of a variable that holds it", Usage: true}
		}
		if c.RuntimeParams["application_name"] == "" {
			c.RuntimeParams["application_name"] = "windlass schema"
		}
		out.pg = c
	default:
		if scheme == "postgres" || scheme == "postgresql" {
			return dsn{}, otherDialect(flag, d)
		}
		c, err := mysqlConfig(s)
		if err != nil {
			return dsn{}, &Error{Where: flag, What: "can't be read as a MySQL data source name", Hint: "write USER:PASSWORD@tcp(HOST:PORT)/DATABASE or mysql://USER:PASSWORD@HOST:PORT/DATABASE, or env:NAME of a variable that holds it", Usage: true}
		}
		c.ParseTime, c.InterpolateParams, c.MultiStatements = true, false, false
		if c.Timeout == 0 {
			c.Timeout = 10 * time.Second
		}
		out.my = c
	}
	return out, nil
}

func otherDialect(flag string, d Dialect) error {
	return &Error{Where: flag, What: fmt.Sprintf("is the data source name of another dialect than %s", d), Hint: "give the --dialect that it is for: postgres or mysql", Usage: true}
}

func mysqlConfig(s string) (*mysql.Config, error) {
	if !strings.Contains(s, "://") {
		return mysql.ParseDSN(s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return nil, fmt.Errorf("scheme %q", u.Scheme)
	}
	c, err := mysql.ParseDSN("tcp(127.0.0.1:3306)/?" + u.RawQuery)
	if err != nil {
		return nil, err
	}
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	if u.Port() == "" {
		c.Addr += ":3306"
	}
	return c, nil
}

// database is the database that it names.
func (d dsn) database() string {
	if d.pg != nil {
		return d.pg.Database
	}
	return d.my.DBName
}

// String is the server and the database, without user and password.
func (d dsn) String() string {
	switch {
	case d.pg != nil:
		return fmt.Sprintf("postgres://%s:%d/%s", d.pg.Host, d.pg.Port, d.pg.Database)
	case d.my != nil:
		return fmt.Sprintf("mysql://%s/%s", d.my.Addr, d.my.DBName)
	}
	return "no database"
}

// on is the same server with another database.
func (d dsn) on(database string) dsn {
	if d.pg != nil {
		c := d.pg.Copy()
		c.Database = database
		return dsn{dialect: d.dialect, pg: c}
	}
	c := d.my.Clone()
	c.DBName = database
	return dsn{dialect: d.dialect, my: c}
}

// open opens a pool and sees that the server answers.
func (d dsn) open(ctx context.Context, flag string) (*sql.DB, error) {
	var db *sql.DB
	if d.pg != nil {
		db = stdlib.OpenDB(*d.pg)
	} else {
		connector, err := mysql.NewConnector(d.my)
		if err != nil {
			return nil, &Error{Where: flag, What: "can't be used as a data source name", Hint: "see docs/schema.md for its form", Usage: true}
		}
		db = sql.OpenDB(connector)
	}
	db.SetMaxOpenConns(4)
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, &Error{Where: flag, What: "can't reach " + d.String(), Hint: "see that the server runs, that its name, port and database are right, and that the account may log in", Err: d.clean(err)}
	}
	return db, nil
}

// clean takes the password out of an error's text; what it wraps stays reachable.
func (d dsn) clean(err error) error {
	if err == nil {
		return nil
	}
	var secret string
	if d.pg != nil {
		secret = d.pg.Password
	} else if d.my != nil {
		secret = d.my.Passwd
	}
	if secret == "" || !strings.Contains(err.Error(), secret) {
		return err
	}
	return &cleaned{err: err, text: strings.ReplaceAll(err.Error(), secret, "xxxxx")}
}

type cleaned struct {
	err  error
	text string
}

func (c *cleaned) Error() string { return c.text }
func (c *cleaned) Unwrap() error { return c.err }
