package service

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
	"github.com/windlass-db/windlass/internal/rolling"
)

// Dialect is what a database speaks.
type Dialect string

// The dialects. MariaDB speaks MySQL.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql"
)

// By is what tells the connections of one node from those of another.
type By string

// A node is told by the name that its program gives (application_name; program_name), by its database user, or by the address that its
// connections come from. MariaDB keeps no program names unless its performance schema is on.
const (
	ByApplication By = "application"
	ByUser        By = "user"
	ByHost        By = "host"
)

// ErrBlind means that the account may not see other accounts' connections: that it sees none says nothing.
var ErrBlind = errors.New("the account may not see the connections of others")

// ErrAlike means that two nodes' connections can't be told apart.
var ErrAlike = errors.New("the database can't tell the connections of two nodes apart")

// kept is what the database keeps of a name: PostgreSQL cuts them at NAMEDATALEN - 1 bytes.
func (k Connections) kept(value string) string {
	const most = 63
	if k.Dialect == Postgres && k.By != ByHost && len(value) > most {
		return value[:most]
	}
	return value
}

// Connections tells from the engine's database who is connected. It is a rolling.Connections.
type Connections struct {
	DB      *sql.DB
	Dialect Dialect
	By      By
	Value   string // with placeholders, such as "jobs-{node}"
}

// Of counts a node's connections.
func (k Connections) Of(ctx context.Context, c fleet.Cluster, n fleet.Node) (count int, what string, err error) {
	value, err := expand(k.Value, Unit{Ref: c.Ref(), Node: n})
	if err != nil {
		return 0, "", err
	}
	value = k.kept(value)
	for _, cell := range c.Cells {
		for _, other := range cell.Nodes {
			if also, err := expand(k.Value, Unit{Ref: c.Ref(), Node: other}); err == nil && other.Name != n.Name && k.kept(also) == value {
				return 0, "", fmt.Errorf("%w: %s and %s are both %q to it; let connections.value begin with what tells nodes apart", ErrAlike, n.Name, other.Name, value)
			}
		}
	}
	sees, query, err := k.queries()
	if err != nil {
		return 0, "", err
	}
	if k.Dialect == MySQL {
		version := ""
		if err := k.DB.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return 0, "", fmt.Errorf("ask the database for its version: %w", err)
		}
		if !strings.Contains(version, "MariaDB") { // whose other table fails while somebody's statement has an emoji
			query = strings.Replace(query, "information_schema.PROCESSLIST", "performance_schema.processlist", 1)
		}
	}
	ok := false
	if err := k.DB.QueryRowContext(ctx, sees).Scan(&ok); err != nil {
		return 0, "", fmt.Errorf("ask the database what the account may see: %w", err)
	}
	if !ok {
		return 0, "", fmt.Errorf("%w: grant it %s", ErrBlind, map[Dialect]string{Postgres: "the role pg_read_all_stats", MySQL: "PROCESS"}[k.Dialect])
	}
	if err := k.DB.QueryRowContext(ctx, query, value).Scan(&count, &what); err != nil {
		return 0, "", fmt.Errorf("ask the database who is connected: %w", err)
	}
	return count, fmt.Sprintf("%s %s (%s)", k.By, value, what), nil
}

// queries are whether everything is seen, and how many connections there are.
func (k Connections) queries() (sees, count string, err error) {
	column, ok := map[Dialect]map[By]string{
		Postgres: {ByApplication: "application_name", ByUser: "usename", ByHost: "host(client_addr)"},
		MySQL:    {ByUser: "p.USER", ByHost: "SUBSTRING_INDEX(p.HOST, ':', 1)", ByApplication: "a.ATTR_VALUE"},
	}[k.Dialect][k.By]
	switch {
	case !ok:
		return "", "", fmt.Errorf("connections can't be told by %q in %q", k.By, k.Dialect)
	case k.Dialect == Postgres:
		return `SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')`,
			`SELECT COUNT(*), COALESCE(string_agg(DISTINCT COALESCE(state, 'starting'), ', '), 'none') FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND ` + column + ` = $1`, nil
	}
	from := "information_schema.PROCESSLIST p"
	sees = `SELECT COUNT(*) > 0 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS' AND REPLACE(GRANTEE, '''', '') = CURRENT_USER()`
	if k.By == ByApplication { // without the performance schema there are no names at all, and none is seen of anybody
		from += " JOIN performance_schema.session_connect_attrs a ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'"
		sees += ` AND @@performance_schema = 1`
	}
	return sees, `SELECT COUNT(*), COALESCE(GROUP_CONCAT(DISTINCT LOWER(p.COMMAND) SEPARATOR ', '), 'none') FROM ` + from + ` WHERE p.ID <> CONNECTION_ID() AND ` + column + ` = ?`, nil
}

// Features opens what only a new version can do, by a table that the engine's nodes read:
//
//	windlass_features (version VARCHAR(64) PRIMARY KEY, opened_at TIMESTAMP, term BIGINT)
//
// A version that has a row is open. It is a rolling.Features.
type Features struct {
	DB      *sql.DB
	Dialect Dialect
	// Used are queries that count the uses of a feature, by its name, which the product's file may leave to them.
	Used    map[string]string
	Nodes   string        // URL of a node, with placeholders, before the path of an endpoint that the product's file names
	Timeout time.Duration // of one request to a node; 0: 5 s
	told    bool          // the nodes tell of uses, too
}

// Open tells whether the version's features are open, and if not, which are in use: of those that are named, and of those that there are
// queries for. What is used is told also if an error says that it is not known of others. A table that is not there is one without a row.
func (f Features) Open(ctx context.Context, c fleet.Cluster, version string, named []policy.Feature) (open bool, used []string, err error) {
	there, err := f.there(ctx)
	if err != nil {
		return false, nil, err
	}
	if there {
		if err := f.DB.QueryRowContext(ctx, f.bind(`SELECT COUNT(*) > 0 FROM windlass_features WHERE version = ?`), version).Scan(&open); err != nil {
			return false, nil, fmt.Errorf("read which features are open: %w", err)
		}
	}
	if open {
		return true, nil, nil
	}
	used, err = f.uses(ctx, c, named)
	return false, used, err
}

// OpenedAt tells since when the version's features are open, counted back from now by the database's clock, of which the writer took it.
func (f Features) OpenedAt(ctx context.Context, _ fleet.Cluster, version string) (at time.Time, open bool, err error) {
	there, err := f.there(ctx)
	if err != nil || !there {
		return time.Time{}, false, err
	}
	age := `TIMESTAMPDIFF(MICROSECOND, opened_at, CURRENT_TIMESTAMP(6)) / 1e6`
	if f.Dialect == Postgres {
		age = `EXTRACT(EPOCH FROM (LOCALTIMESTAMP - opened_at))::float8`
	}
	var seconds float64
	err = f.DB.QueryRowContext(ctx, f.bind(`SELECT `+age+` FROM windlass_features WHERE version = ?`), version).Scan(&seconds)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("read since when the features of %s are open: %w", version, err)
	}
	return time.Now().Add(-time.Duration(seconds * float64(time.Second))), true, nil
}

// SetOpen opens them, in one transaction that looks at the highest term first.
func (f Features) SetOpen(ctx context.Context, _ fleet.Cluster, version string, term int64) error {
	if _, err := f.DB.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS windlass_features (version VARCHAR(64) NOT NULL PRIMARY KEY, opened_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, term BIGINT NOT NULL)`); err != nil {
		return fmt.Errorf("make the table of open features: %w", err)
	}
	tx, err := f.DB.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after a commit there is nothing to roll back
	var highest int64
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(MAX(term), 0) FROM windlass_features`).Scan(&highest); err != nil {
		return fmt.Errorf("read the highest term: %w", err)
	}
	if highest > term {
		return fmt.Errorf("features were opened under term %d, ours is %d: %w", highest, term, engine.ErrFenced)
	}
	if _, err := tx.ExecContext(ctx, f.bind(`DELETE FROM windlass_features WHERE version = ?`), version); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, f.bind(`INSERT INTO windlass_features (version, term) VALUES (?, ?)`), version, term); err != nil {
		return fmt.Errorf("open the features of %s: %w", version, err)
	}
	return tx.Commit()
}

func (f Features) there(ctx context.Context) (bool, error) {
	schema := "DATABASE()"
	if f.Dialect == Postgres {
		schema = "current_schema()"
	}
	n := 0
	if err := f.DB.QueryRowContext(ctx, `SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'windlass_features' AND table_schema = `+schema).Scan(&n); err != nil {
		return false, fmt.Errorf("look for the table of open features: %w", err)
	}
	return n > 0, nil
}

// bind writes parameters as the database wants them.
func (f Features) bind(query string) string {
	if f.Dialect != Postgres {
		return query
	}
	for i := 1; strings.Contains(query, "?"); i++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", i), 1)
	}
	return query
}

// Compile-time checks: they are what the rolling strategy asks for.
var (
	_ rolling.Connections = Connections{}
	_ rolling.Features    = Features{}
	_ rolling.Opened      = Features{}
)
