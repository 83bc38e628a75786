package jobs

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/secret"
)

// Kind is a database that the engine runs over.
type Kind string

// The kinds.
const (
	Postgres Kind = "postgres"
	MariaDB  Kind = "mariadb"
)

// Builds are what the site needs to be fetched.
func (k Kind) Builds() []string {
	return []string{map[Kind]string{Postgres: "postgresql-15", MariaDB: "mariadb-11.8"}[k], "haproxy"}
}

// Dialect is what the database speaks.
func (k Kind) Dialect() service.Dialect {
	if k == MariaDB {
		return service.MySQL
	}
	return service.Postgres
}

// The accounts: admin is Windlass' own, and the nodes' are application's.
const (
	admin       = "windlass"
	application = "jobs"
	schemaName  = "jobs"
)

// Database is the engine's, in a process of its own.
type Database struct {
	Kind           Kind
	Build          builds.Build
	spec           process.Spec
	address        string
	password, node string // of admin, and of the nodes
}

// startDatabase makes the data folder and starts the server. Secrets are in files of mode 0600, and on no command line.
func startDatabase(ctx context.Context, k Kind, dir string, port int, progress func(string)) (*Database, error) {
	b, err := builds.Fetch(ctx, k.Builds()[0], builds.Options{Progress: progress})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	d := &Database{Kind: k, Build: b, address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), password: secret.Password(), node: secret.Password()}
	make := d.postgres
	if k == MariaDB {
		make = d.mariadb
	}
	if err := make(ctx, dir, port); err != nil {
		return nil, err
	}
	if err := d.spec.Start(ctx); err != nil {
		return nil, err
	}
	if k == Postgres {
		err = d.grant(ctx)
	}
	return d, err
}

func (d *Database) postgres(ctx context.Context, dir string, port int) error {
	bin, err := d.Build.PostgresTree(dir)
	if err != nil {
		return err
	}
	data, password := filepath.Join(dir, "data"), filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(d.password+"\n"), 0o600); err != nil {
		return err
	}
	init := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", admin, "-A", "scram-sha-256", "--pwfile="+password, "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	builds.Unrooted(init)
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s (PostgreSQL refuses to be root: run this as another user, or where root may make user namespaces)", err, strings.TrimSpace(string(out)))
	}
	d.spec = process.Spec{Name: "postgresql", Dir: dir, Unrooted: true,
		Argv:  []string{filepath.Join(bin, "postgres"), "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "shared_buffers=32MB", "-c", "max_connections=150"},
		Ready: d.answers}
	return nil
}

// grant makes the nodes' account, and the database that it works in.
func (d *Database) grant(ctx context.Context) error {
	for _, in := range []struct{ database, statements string }{
		{"postgres", fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'; CREATE DATABASE %s", application, d.node, schemaName)},
		{schemaName, fmt.Sprintf("ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %[1]s; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO %[1]s", application)},
	} {
		db, err := sql.Open("pgx", d.url(admin, d.password, in.database))
		if err != nil {
			return err
		}
		defer db.Close()
		for statement := range strings.SplitSeq(in.statements, "; ") {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return fmt.Errorf("make the engine's account and database: %w", err)
			}
		}
	}
	return nil
}

func (d *Database) mariadb(ctx context.Context, dir string, port int) error {
	statements := []string{
		"CREATE USER IF NOT EXISTS '" + admin + "'@'%' IDENTIFIED BY '" + d.password + "'", "GRANT ALL ON *.* TO '" + admin + "'@'%' WITH GRANT OPTION",
		"CREATE DATABASE IF NOT EXISTS " + schemaName + " CHARACTER SET utf8mb4",
	}
	account := "'" + application + "'@'%'"
	statements = append(statements, "CREATE USER IF NOT EXISTS "+account+" IDENTIFIED BY '"+d.node+"'", "GRANT SELECT, INSERT, UPDATE, DELETE ON "+schemaName+".* TO "+account)
	init := filepath.Join(dir, "accounts.sql") // run at every start, before anybody is let in
	if err := os.WriteFile(init, []byte(strings.Join(statements, ";\n")+";\n"), 0o600); err != nil {
		return err
	}
	m := process.MariaDB{Name: "mariadb", Build: d.Build, Dir: dir, Port: port, ServerID: 1, Extra: []string{"read-only=OFF", "performance-schema=ON", "skip-log-bin", "log-slave-updates=OFF", "init-file=" + init}}
	if err := m.Init(ctx); err != nil {
		return err
	}
	var err error
	d.spec, err = m.Spec()
	d.spec.Ready = d.answers
	return err
}

// answers sees that the administrator is let in.
func (d *Database) answers(ctx context.Context) error {
	database := "postgres"
	if d.Kind == MariaDB {
		database = schemaName
	}
	db, err := d.open(database)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return db.PingContext(ctx)
}

// Open opens the engine's database as the administrator.
func (d *Database) Open() (*sql.DB, error) { return d.open(schemaName) }

func (d *Database) open(database string) (*sql.DB, error) {
	if d.Kind == MariaDB {
		return sql.Open("mysql", d.mysql(admin, d.password, database))
	}
	return sql.Open("pgx", d.url(admin, d.password, database))
}

// AdminDSN is the name under which Windlass reaches the database. It holds the password.
func (d *Database) AdminDSN() string {
	if d.Kind == MariaDB {
		return d.mysql(admin, d.password, schemaName)
	}
	return d.url(admin, d.password, schemaName)
}

// EngineDSN is the name under which a node does. It holds the password.
func (d *Database) EngineDSN() string {
	if d.Kind == MariaDB {
		return "mysql://" + d.mysql(application, d.node, schemaName)
	}
	return d.url(application, d.node, schemaName)
}

// Connections is what every connection of a node says of itself, with a placeholder. MariaDB shows it in its performance schema.
const Connections = application + "-{node}"

func (d *Database) url(user, password, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: d.address, Path: database, RawQuery: "sslmode=disable"}
	return u.String()
}

func (d *Database) mysql(user, password, database string) string {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = "tcp", d.address, user, password, database
	c.Timeout, c.ReadTimeout, c.WriteTimeout, c.ParseTime = 10*time.Second, time.Minute, time.Minute, true
	return c.FormatDSN()
}
