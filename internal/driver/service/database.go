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
	q, err := k.query(ctx)
	if err != nil {
		return 0, "", err
	}
	if err := k.DB.QueryRowContext(ctx, `SELECT COUNT(*), `+q.states+q.from+` AND `+q.column+` = `+q.parameter, value).Scan(&count, &what); err != nil {
		return 0, "", fmt.Errorf("ask the database who is connected: %w", err)
	}
	return count, fmt.Sprintf("%s %s (%s)", k.By, value, what), nil
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
