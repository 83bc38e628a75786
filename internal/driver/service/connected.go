package service

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
)

// query is how the database is asked who is connected.
type query struct {
	column    string // what tells nodes from one another
	states    string // what the connections do, gathered
	from      string // with a condition, so that others may follow
	own       string // the condition that a connection is to the engine's own database
	parameter string
}

// query sees that the account may see everybody's connections, and says how they are asked for.
func (k Connections) query(ctx context.Context) (q query, err error) {
	column, ok := map[Dialect]map[By]string{
		Postgres: {ByApplication: "application_name", ByUser: "usename", ByHost: "host(client_addr)"},
		MySQL:    {ByUser: "p.USER", ByHost: "SUBSTRING_INDEX(p.HOST, ':', 1)", ByApplication: "a.ATTR_VALUE"},
	}[k.Dialect][k.By]
	if !ok {
		return q, fmt.Errorf("connections can't be told by %q in %q", k.By, k.Dialect)
	}
	var sees string
	if k.Dialect == Postgres {
		sees = `SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE')`
		q = query{column, `COALESCE(string_agg(DISTINCT COALESCE(state, 'starting'), ', '), 'none')`, ` FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`, ` AND datname = current_database()`, `$1`}
	} else {
		version := ""
		if err := k.DB.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return q, fmt.Errorf("ask the database for its version: %w", err)
		}
		from := "information_schema.PROCESSLIST p"
		if !strings.Contains(version, "MariaDB") { // whose other table fails while somebody's statement has an emoji
			from = "performance_schema.processlist p"
		}
		sees = `SELECT COUNT(*) > 0 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS' AND REPLACE(GRANTEE, '''', '') = CURRENT_USER()`
		if k.By == ByApplication { // without the performance schema there are no names at all, and none is seen of anybody
			from += " JOIN performance_schema.session_connect_attrs a ON a.PROCESSLIST_ID = p.ID AND a.ATTR_NAME = 'program_name'"
			sees += ` AND @@performance_schema = 1`
		}
		q = query{column, `COALESCE(GROUP_CONCAT(DISTINCT LOWER(p.COMMAND) SEPARATOR ', '), 'none')`, ` FROM ` + from + ` WHERE p.ID <> CONNECTION_ID()`, ` AND (p.DB IS NULL OR p.DB = DATABASE())`, `?`}
	}
	if err := k.DB.QueryRowContext(ctx, sees).Scan(&ok); err != nil {
		return q, fmt.Errorf("ask the database what the account may see: %w", err)
	}
	if !ok {
		return q, fmt.Errorf("%w: grant it %s", ErrBlind, map[Dialect]string{Postgres: "the role pg_read_all_stats", MySQL: "PROCESS"}[k.Dialect])
	}
	return q, nil
}

// Others names who is connected to the engine's own database by what would be the name, user or address of one of its nodes, if the cluster had such a
// node: Value says so by what it has beside the node's own. Where it has nothing, every other program would be one: rolling.ErrNoNames.
func (k Connections) Others(ctx context.Context, c fleet.Cluster) (others []string, err error) {
	const other = "\x00" // stands for what is another node's
	text, err := expand(k.Value, Unit{Ref: c.Ref(), Node: fleet.Node{Name: other, Address: other + ":" + other, Zone: other}})
	if err != nil {
		return nil, err
	}
	parts := strings.Split(strings.ReplaceAll(text, other+":"+other, other), other)
	if strings.Join(parts, "") == "" {
		return nil, fmt.Errorf("%w: %q has nothing that all nodes share", rolling.ErrNoNames, k.Value)
	}
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	node, err := regexp.Compile("^" + strings.Join(parts, ".+") + "$")
	if err != nil {
		return nil, err
	}
	begins := regexp.MustCompile("^" + parts[0] + ".") // what was cut may have lost its end
	q, err := k.query(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := k.DB.QueryContext(ctx, `SELECT DISTINCT COALESCE(`+q.column+`, '')`+q.from+q.own)
	if err != nil {
		return nil, fmt.Errorf("ask the database who is connected: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		name := ""
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("ask the database who is connected: %w", err)
		}
		cut := parts[0] != "" && k.kept(name+"-") == name && begins.MatchString(name)
		if cut || node.MatchString(name) {
			others = append(others, name)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("ask the database who is connected: %w", err)
	}
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			ours, err := expand(k.Value, Unit{Ref: c.Ref(), Node: n})
			if err != nil {
				return nil, err
			}
			others = slices.DeleteFunc(others, func(name string) bool { return name == k.kept(ours) })
		}
	}
	slices.Sort(others)
	return others, nil
}
