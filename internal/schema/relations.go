package schema

import (
	"context"
	"database/sql"
	"strings"

	"ariga.io/atlas/sql/schema"
)

// This file brings in what Atlas' open edition does not inspect, or can't read at all: tables with system versioning, columns and indexes
// that are hidden, partitions, foreign tables, what is unlogged and which keys are deferred.

// catalog asks a server what Atlas asks, so that Atlas can read the answer.
type catalog struct{ schema.ExecQuerier }

// catalogWords are replaced in Atlas' queries of the catalog. What is lost by that is an extra.
var catalogWords = strings.NewReplacer(
	// It knows one word in this column, and fails on a second.
	"`EXTRA`,", "TRIM(REPLACE(REPLACE(REPLACE(REPLACE(`EXTRA`, ', INVISIBLE', ''), 'INVISIBLE', ''), ', WITHOUT SYSTEM VERSIONING', ''), 'WITHOUT SYSTEM VERSIONING', '')) AS `EXTRA`,",
	"AND TABLE_TYPE = 'BASE TABLE'", "AND TABLE_TYPE IN ('BASE TABLE','SYSTEM VERSIONED')",
	// It takes the number of a column for its place, which it is not once a column before it was dropped.
	"t4.partattrs AS partition_attrs", `(SELECT string_agg((CASE WHEN k.num=0 THEN 0 ELSE (SELECT count(*) FROM pg_catalog.pg_attribute x WHERE x.attrelid=t4.partrelid AND x.attnum BETWEEN 1 AND k.num AND NOT x.attisdropped) END)::text, ' ' ORDER BY k.ord)
	   FROM unnest(t4.partattrs::int2[]) WITH ORDINALITY AS k(num, ord)) AS partition_attrs`,
)

// QueryContext is the server's, of the query in words whose answer Atlas understands.
func (c catalog) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.ExecQuerier.QueryContext(ctx, catalogWords.Replace(query), args...)
}

const pgOf = ` FROM pg_class c JOIN pg_namespace n ON n.oid=c.relnamespace WHERE ` + pgSkip

var pgRelations = []string{
	`SELECT 'foreign table', n.nspname, '', c.relname, ''` + pgOf + ` AND c.relkind='f' AND NOT c.relispartition`,
	`SELECT 'foreign column', n.nspname, c.relname, a.attname, format_type(a.atttypid,a.atttypmod)
	   FROM pg_attribute a JOIN pg_class c ON c.oid=a.attrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE c.relkind='f' AND NOT c.relispartition AND a.attnum>0 AND NOT a.attisdropped AND ` + pgSkip,
	`SELECT 'partition', n.nspname, c.relname, k.relname, pg_get_expr(k.relpartbound,k.oid)
	   FROM pg_inherits i JOIN pg_class c ON c.oid=i.inhparent JOIN pg_namespace n ON n.oid=c.relnamespace JOIN pg_class k ON k.oid=i.inhrelid WHERE c.relkind='p' AND ` + pgSkip,
	`SELECT 'persistence', n.nspname, c.relname, 'persistence', 'unlogged'` + pgOf + ` AND c.relkind IN ('r','p') AND c.relpersistence='u'`,
	`SELECT CASE x.contype WHEN 'f' THEN 'deferred foreign key' ELSE 'deferrable key' END, n.nspname, c.relname, x.conname, ''
	   FROM pg_constraint x JOIN pg_class c ON c.oid=x.conrelid JOIN pg_namespace n ON n.oid=c.relnamespace WHERE (x.contype='f' AND x.condeferred OR x.contype='u' AND x.condeferrable) AND ` + pgSkip,
}

var myRelations = []string{
	`SELECT 'system versioning', '', TABLE_NAME, 'system versioning', '' FROM information_schema.TABLES WHERE TABLE_TYPE='SYSTEM VERSIONED' AND TABLE_SCHEMA=DATABASE()`,
	`SELECT 'invisible column', '', TABLE_NAME, COLUMN_NAME, '' FROM information_schema.COLUMNS WHERE EXTRA LIKE '%INVISIBLE%' AND TABLE_SCHEMA=DATABASE()`,
	`SELECT 'partitioning', '', TABLE_NAME, 'partitioning', MAX(CONCAT_WS(' ',PARTITION_METHOD,PARTITION_EXPRESSION)) FROM information_schema.PARTITIONS WHERE PARTITION_METHOD IS NOT NULL AND TABLE_SCHEMA=DATABASE() GROUP BY TABLE_NAME`,
	`SELECT 'partition', '', TABLE_NAME, PARTITION_NAME, MAX(PARTITION_DESCRIPTION) FROM information_schema.PARTITIONS WHERE (PARTITION_METHOD LIKE 'RANGE%' OR PARTITION_METHOD LIKE 'LIST%') AND TABLE_SCHEMA=DATABASE() GROUP BY TABLE_NAME, PARTITION_NAME`,
}

// Indexes that the optimizer passes over, since MariaDB 10.6 and MySQL 8.0: before, a server does not know the column.
const (
	mariaIgnored = `SELECT DISTINCT 'ignored index', '', TABLE_NAME, INDEX_NAME, '' FROM information_schema.STATISTICS WHERE IGNORED='YES' AND TABLE_SCHEMA=DATABASE()`
	mysqlIgnored = `SELECT DISTINCT 'ignored index', '', TABLE_NAME, INDEX_NAME, '' FROM information_schema.STATISTICS WHERE IS_VISIBLE='NO' AND TABLE_SCHEMA=DATABASE()`
)

// partitions are what is made and dropped as time goes, by no migration.
func partitions(e extra) bool { return e.Kind == "partition" || e.Kind == "partitioning" }

// kind is what old nodes know a relation as, which may be locked: "table", "partition", "materialized view", or "" if they don't.
func (s *state) kind(name string) string {
	if s.table(name) != nil {
		return "table"
	}
	for _, e := range s.extras {
		if (e.Kind == "partition" || e.Kind == "materialized view") && dotted(e.Schema, e.Name) == name {
			return e.Kind
		}
	}
	return ""
}

// turned is the rule for what a table that old nodes know was turned into, or "".
func (j *judge) turned(e extra) string {
	old := j.base.table(dotted(e.Schema, e.Table))
	if old == nil {
		return ""
	}
	switch e.Kind {
	case "persistence", "system versioning", "partitioning":
		return "change-table-option"
	case "ignored index":
		if _, ok := old.Index(e.Name); ok {
			return "drop-index"
		}
	case "invisible column":
		if _, ok := old.Column(e.Name); ok {
			return "hide-column"
		}
	case "deferred foreign key":
		if oldKey(old, e.Name) {
			return "change-foreign-key"
		}
	case "deferrable key":
		if _, ok := old.Index(e.Name); ok {
			return "drop-unique"
		}
	}
	return ""
}

// relationGone is the rule for what is no longer there, or "".
func (j *judge) relationGone(e extra) string {
	switch e.Kind {
	case "foreign table":
		return "drop-table"
	case "foreign column":
		if _, ok := j.after.extras[extra{Kind: "foreign table", Schema: e.Schema, Name: e.Table}.key()]; ok {
			return "drop-column"
		}
	case "partition", "partitioning", "system versioning":
		return "change-table-option"
	case "invisible column":
		if t := j.after.table(dotted(e.Schema, e.Table)); t != nil {
			if _, ok := t.Column(e.Name); ok {
				return "select-star"
			}
		}
	}
	return ""
}
