package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// systemSchemas are not the application's.
const systemSchemas = "('mysql', 'sys', 'information_schema', 'performance_schema', 'windlass')"

// since is a thing of the product that an older version does not have.
type since struct {
	name string
	from version // the first version that has it
}

// Functions that a view, a default, a check or a generated column of the new version can use and an older one does not
// have. Found by calling every name in the 11.8 server's program on 10.11; the first versions are from the manual.
var mariadbFunctions = []since{
	{"json_schema_valid", version{11, 1, 0}}, {"json_array_intersect", version{11, 2, 0}}, {"json_object_filter_keys", version{11, 2, 0}}, {"json_object_to_array", version{11, 2, 0}},
	{"json_key_value", version{11, 2, 0}}, {"kdf", version{11, 3, 0}}, {"uuid_v4", version{11, 7, 0}}, {"uuid_v7", version{11, 7, 0}}, {"vec_distance", version{11, 7, 0}},
	{"vec_distance_cosine", version{11, 7, 0}}, {"vec_distance_euclidean", version{11, 7, 0}}, {"vec_fromtext", version{11, 7, 0}}, {"vec_totext", version{11, 7, 0}},
	{"format_bytes", version{11, 8, 0}}, {"format_pico_time", version{11, 8, 0}},
	{"natural_sort_key", version{10, 7, 0}}, {"sformat", version{10, 7, 0}}, {"json_normalize", version{10, 7, 0}}, {"json_equals", version{10, 7, 0}}, {"crc32c", version{10, 8, 0}},
	{"json_overlaps", version{10, 9, 0}}, {"random_bytes", version{10, 10, 0}},
}

// Column types, as information_schema names them.
var types = map[string][]since{
	"mariadb": {{"uuid", version{10, 7, 0}}, {"inet4", version{10, 10, 0}}, {"inet6", version{10, 5, 0}}, {"vector", version{11, 7, 0}}, {"xmltype", version{12, 0, 0}}},
	"mysql":   {{"vector", version{9, 0, 0}}},
}

// Other first versions, of MariaDB.
var (
	longTimestamps = version{11, 5, 0}
	typedSequences = version{11, 5, 0}
	paramDefaults  = version{11, 8, 0}
)

// unknownTo lists the names that an older version does not have and the newer one has.
func unknownTo(list []since, older, newer version) []string {
	var out []string
	for _, s := range list {
		if older.less(s.from) && !newer.less(s.from) {
			out = append(out, s.name)
		}
	}
	return out
}

// scanTime bounds one query of a scan for risks.
const scanTime = 20 * time.Second

// risks lists what is on the newer server that would stop, or silently change, replication to the older one. found is there now;
// latent can come about at any time by an ordinary write, and is one line for each kind. Each line names objects.
func (d *Driver) risks(ctx context.Context, newer, older *session) (found, latent []string, err error) {
	scans := []func(context.Context, *session, *session) ([]string, error){typeRisks, collationRisks, pluginRisks}
	if newer.fl.name() == "mariadb" {
		scans = append(scans, functionRisks, sequenceRisks, parameterRisks, timestampRisks)
	}
	var errs []error
	for _, scan := range scans {
		got, err := scan(ctx, newer, older)
		errs = append(errs, err)
		found = append(found, got...)
	}
	if newer.fl.name() == "mariadb" && older.version.less(longTimestamps) && !newer.version.less(longTimestamps) {
		rs, err := newer.rowsFor(ctx, scanTime, "SELECT COUNT(*) AS n FROM information_schema.COLUMNS WHERE DATA_TYPE='timestamp' AND GENERATION_EXPRESSION IS NULL AND TABLE_SCHEMA NOT IN "+systemSchemas)
		errs = append(errs, err)
		if err == nil && len(rs) == 1 && rs[0]["n"] != "0" {
			latent = append(latent, fmt.Sprintf("%s TIMESTAMP columns take values after 2038-01-19 03:14:07 on %s; one such value stops a %s replica", rs[0]["n"], newer.version.series(), older.version.series()))
		}
	}
	return found, latent, errors.Join(errs...)
}

// typeRisks: columns of a type that the older version does not have.
func typeRisks(ctx context.Context, newer, older *session) ([]string, error) {
	names := unknownTo(types[newer.fl.name()], older.version, newer.version)
	if len(names) == 0 {
		return nil, nil
	}
	rs, err := newer.rowsFor(ctx, scanTime, "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE DATA_TYPE IN ("+quoteAll(names)+") AND TABLE_SCHEMA NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("column %s.%s.%s is %s, which %s does not have", r["TABLE_SCHEMA"], r["TABLE_NAME"], r["COLUMN_NAME"], strings.ToUpper(r["DATA_TYPE"]), older.version.series()))
	}
	return out, nil
}

// collationRisks: collations that the older server does not have, as it says itself.
func collationRisks(ctx context.Context, newer, older *session) ([]string, error) {
	query, column := "SELECT COLLATION_NAME AS name FROM information_schema.COLLATIONS", "COLLATION_NAME"
	if older.fl.name() == "mariadb" && !older.version.less(version{10, 10, 0}) {
		query, column = "SELECT FULL_COLLATION_NAME AS name FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY", "FULL_COLLATION_NAME"
	}
	rs, err := older.rowsFor(ctx, scanTime, query)
	if err != nil {
		return nil, fmt.Errorf("collations by %s: %w", column, err)
	}
	has := map[string]bool{}
	for _, r := range rs {
		has[r["name"]] = true
	}
	rs, err = newer.rowsFor(ctx, scanTime, "SELECT CONCAT('column ', TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME) AS what, COLLATION_NAME AS name FROM information_schema.COLUMNS WHERE COLLATION_NAME IS NOT NULL AND TABLE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('table ', TABLE_SCHEMA, '.', TABLE_NAME), TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_COLLATION IS NOT NULL AND TABLE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('schema ', SCHEMA_NAME), DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		if !has[r["name"]] {
			out = append(out, fmt.Sprintf("%s has collation %s, which %s does not have", r["what"], r["name"], older.version.series()))
		}
	}
	return out, nil
}

// pluginRisks: accounts that log in by a plugin that the older server has not loaded.
func pluginRisks(ctx context.Context, newer, older *session) ([]string, error) {
	accounts, err := newer.logins(ctx)
	if err != nil {
		return nil, err
	}
	rs, err := older.rows(ctx, "SELECT PLUGIN_NAME FROM information_schema.PLUGINS WHERE PLUGIN_STATUS='ACTIVE'")
	if err != nil {
		return nil, err
	}
	has := map[string]bool{"": true}
	for _, r := range rs {
		has[r["PLUGIN_NAME"]] = true
	}
	var out []string
	for name, l := range accounts {
		if !has[l.plugin] {
			out = append(out, fmt.Sprintf("account %s logs in by %s, which the %s server has not loaded", name, l.plugin, older.version.series()))
		}
	}
	slices.Sort(out)
	return out, nil
}

// functionRisks: functions that the older version does not have, wherever the definition is run or read on a replica.
func functionRisks(ctx context.Context, newer, older *session) ([]string, error) {
	names := unknownTo(mariadbFunctions, older.version, newer.version)
	if len(names) == 0 {
		return nil, nil
	}
	calls := regexp.MustCompile("(?i)`?\\b(" + strings.Join(names, "|") + ")`?\\s*\\(")
	rs, err := newer.rowsFor(ctx, scanTime, "SELECT CONCAT('view ', TABLE_SCHEMA, '.', TABLE_NAME) AS what, VIEW_DEFINITION AS text FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('default of ', TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME), COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE COLUMN_DEFAULT LIKE '%(%' AND TABLE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('generated column ', TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME), GENERATION_EXPRESSION FROM information_schema.COLUMNS WHERE GENERATION_EXPRESSION IS NOT NULL AND TABLE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('check ', CONSTRAINT_SCHEMA, '.', TABLE_NAME, '.', CONSTRAINT_NAME), CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT(LOWER(ROUTINE_TYPE), ' ', ROUTINE_SCHEMA, '.', ROUTINE_NAME), ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('trigger ', TRIGGER_SCHEMA, '.', TRIGGER_NAME), ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA NOT IN "+systemSchemas+
		" UNION ALL SELECT CONCAT('event ', EVENT_SCHEMA, '.', EVENT_NAME), EVENT_DEFINITION FROM information_schema.EVENTS WHERE EVENT_SCHEMA NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		if m := calls.FindStringSubmatch(r["text"]); m != nil {
			out = append(out, fmt.Sprintf("%s uses %s(), which %s does not have", r["what"], strings.ToLower(m[1]), older.version.series()))
		}
	}
	return out, nil
}

// sequenceRisks: CREATE SEQUENCE … AS type.
func sequenceRisks(ctx context.Context, newer, older *session) ([]string, error) {
	if !older.version.less(typedSequences) || newer.version.less(typedSequences) {
		return nil, nil
	}
	rs, err := newer.rowsFor(ctx, scanTime, "SELECT SEQUENCE_SCHEMA, SEQUENCE_NAME, DATA_TYPE FROM information_schema.SEQUENCES WHERE DATA_TYPE <> 'bigint' AND SEQUENCE_SCHEMA NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("sequence %s.%s is AS %s, which %s does not have", r["SEQUENCE_SCHEMA"], r["SEQUENCE_NAME"], r["DATA_TYPE"], older.version.series()))
	}
	return out, nil
}

var defaultWord = regexp.MustCompile(`(?is)\bDEFAULT\b`)
var quoted = regexp.MustCompile("(?s)'(?:[^'\\\\]|\\\\.|'')*'|`[^`]*`|\"[^\"]*\"")

// parameterRisks: defaults of routine parameters. information_schema does not show them.
func parameterRisks(ctx context.Context, newer, older *session) ([]string, error) {
	if !older.version.less(paramDefaults) || newer.version.less(paramDefaults) {
		return nil, nil
	}
	rs, err := newer.rowsFor(ctx, scanTime, "SELECT db, name, LOWER(type) AS type, CONVERT(param_list USING utf8mb4) AS params FROM mysql.proc WHERE db NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		if defaultWord.MatchString(quoted.ReplaceAllString(r["params"], "")) {
			out = append(out, fmt.Sprintf("%s %s.%s has a parameter with a default, which %s does not have", r["type"], r["db"], r["name"], older.version.series()))
		}
	}
	return out, nil
}

// lastShort is the last moment of a TIMESTAMP before 11.5.
const lastShort = "2038-01-19 03:14:07"

// timestampRisks: defaults after 2038. Values are found by replication itself: see latent.
func timestampRisks(ctx context.Context, newer, older *session) ([]string, error) {
	if !older.version.less(longTimestamps) || newer.version.less(longTimestamps) {
		return nil, nil
	}
	rs, err := newer.rowsFor(ctx, scanTime, "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE DATA_TYPE='timestamp' AND COLUMN_DEFAULT LIKE '''%' AND TRIM(BOTH '''' FROM COLUMN_DEFAULT) > '"+lastShort+"' AND TABLE_SCHEMA NOT IN "+systemSchemas)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		out = append(out, fmt.Sprintf("the default %s of %s.%s.%s is after %s, the last moment of %s", r["COLUMN_DEFAULT"], r["TABLE_SCHEMA"], r["TABLE_NAME"], r["COLUMN_NAME"], lastShort, older.version.series()))
	}
	return out, nil
}
