package catalog

import (
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

func (r *reader) schemas() error {
	rs, err := r.rows("SELECT * FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME")
	if err != nil {
		return err
	}
	for _, row := range rs {
		name := row["schema_name"]
		if skipped(name) {
			continue
		}
		r.k.Schemas = append(r.k.Schemas, name)
		r.fact(KindSchema, name, row, "default_character_set_name", "default_collation_name", "schema_comment")
	}
	return nil
}

func (r *reader) readTables() error {
	rs, err := r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, ROW_FORMAT, TABLE_COLLATION, CREATE_OPTIONS, TABLE_COMMENT, AUTO_INCREMENT, TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH FROM information_schema.TABLES WHERE TABLE_TYPE <> 'VIEW' AND TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME")
	if err != nil {
		return err
	}
	for _, row := range rs {
		schema, name := row["table_schema"], row["table_name"]
		if ignored(schema, name) || row["table_type"] == "TEMPORARY" {
			continue
		}
		if row["table_type"] == "SEQUENCE" {
			r.k.Programs = append(r.k.Programs, Program{Kind: KindSequence, Schema: schema, Name: name})
			r.fact(KindSequence, schema+"."+name, row, "engine", "table_comment")
			continue
		}
		t := &Table{Schema: schema, Name: name, Engine: row["engine"], Versioned: row["table_type"] == "SYSTEM VERSIONED", AutoIncrement: row["auto_increment"]}
		if t.Rows, err = row.Int("table_rows"); err != nil {
			return err
		}
		data, err := row.Int("data_length")
		if err != nil {
			return err
		}
		index, err := row.Int("index_length")
		if err != nil {
			return err
		}
		t.Bytes = data + index
		if t.Versioned {
			t.RowStart, t.RowEnd = "row_start", "row_end"
		}
		r.tables[t.String()] = t
		r.order = append(r.order, t.String())
		r.fact(KindTable, t.String(), row, "table_type", "engine", "row_format", "table_collation", "create_options", "table_comment")
	}
	return nil
}

func (r *reader) columns() error {
	generated := "IS_GENERATED, GENERATION_EXPRESSION"
	if !r.c.MariaDB {
		generated = "'' AS IS_GENERATED, GENERATION_EXPRESSION"
	}
	rs, err := r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_DEFAULT, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_SET_NAME, COLLATION_NAME, COLUMN_TYPE, EXTRA, COLUMN_COMMENT, " + generated +
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION")
	if err != nil {
		return err
	}
	for _, row := range rs {
		t := r.tables[row["table_schema"]+"."+row["table_name"]]
		if t == nil {
			continue // a view's, or a sequence's
		}
		extra := strings.ToUpper(row["extra"])
		col := Column{Name: row["column_name"], Type: strings.ToLower(row["data_type"]), Full: row["column_type"], Charset: row["character_set_name"], Collation: row["collation_name"],
			Virtual: strings.Contains(extra, "VIRTUAL GENERATED"), Stored: strings.Contains(extra, "STORED GENERATED") || strings.Contains(extra, "PERSISTENT"), Auto: strings.Contains(extra, "AUTO_INCREMENT")}
		if col.Length, err = row.Int("character_maximum_length"); err != nil {
			return err
		}
		switch expr := strings.ToUpper(row["generation_expression"]); {
		case expr == "ROW START":
			t.RowStart, col.Stored, col.Virtual = col.Name, false, false
		case expr == "ROW END":
			t.RowEnd, col.Stored, col.Virtual = col.Name, false, false
		}
		t.Columns = append(t.Columns, col)
		r.fact(KindColumn, t.String()+"."+col.Name, row, "ordinal_position", "column_default", "is_nullable", "character_set_name", "collation_name", "column_type", "extra", "column_comment", "generation_expression")
	}
	return nil
}

// index collects the parts of one index.
type index struct {
	table          *Table
	name           string
	unique, usable bool // usable: to walk the table by, in order and without gaps
	columns        []string
	facts          []string
}

func (r *reader) indexes() error {
	ignore := "IGNORED"
	if !r.c.MariaDB {
		ignore = "IS_VISIBLE AS IGNORED"
	}
	rs, err := r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART, NULLABLE, INDEX_TYPE, INDEX_COMMENT, " + ignore +
		" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX")
	if node.Number(err) == 1054 { // before 10.6 no index can be ignored
		rs, err = r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, COLLATION, SUB_PART, NULLABLE, INDEX_TYPE, INDEX_COMMENT, 'NO' AS IGNORED" +
			" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX")
	}
	if err != nil {
		return err
	}
	byName := map[string]*index{}
	var order []string
	for _, row := range rs {
		t := r.tables[row["table_schema"]+"."+row["table_name"]]
		if t == nil {
			continue
		}
		id := t.String() + "." + row["index_name"]
		x := byName[id]
		if x == nil {
			x = &index{table: t, name: row["index_name"], unique: row["non_unique"] == "0", usable: true}
			byName[id] = x
			order = append(order, id)
			r.fact(KindIndex, id, row, "non_unique", "index_type", "index_comment", "ignored")
		}
		sub := ""
		if row["sub_part"] != "" {
			sub = "(" + row["sub_part"] + ")"
		}
		part := row["column_name"] + sub
		if row["collation"] == "D" {
			part += " DESC"
		}
		x.facts = append(x.facts, part)
		x.columns = append(x.columns, row["column_name"])
		if sub != "" || row["nullable"] == "YES" || row["index_type"] != "BTREE" || row["column_name"] == "" || row["ignored"] == "YES" && r.c.MariaDB {
			x.usable = false
		}
		for i := range t.Columns {
			if t.Columns[i].Name == row["column_name"] {
				t.Columns[i].Indexed = true
			}
		}
	}
	for _, id := range order {
		x := byName[id]
		r.k.Facts[ID{KindIndex, id}]["columns"] = strings.Join(x.facts, ", ")
		x.choose()
	}
	return nil
}

// choose takes the index as the table's key if it is better than what it has: the primary key first, then the unique one
// of the fewest columns.
func (x *index) choose() {
	t := x.table
	if !x.unique || !x.usable || t.KeyName == "PRIMARY" {
		return
	}
	var key []Column
	for _, name := range x.columns {
		if name == t.RowEnd && t.Versioned {
			continue // every key of a versioned table ends with it
		}
		i := slices.IndexFunc(t.Columns, func(c Column) bool { return c.Name == name })
		if i < 0 || !orderable(t.Columns[i]) {
			return
		}
		key = append(key, t.Columns[i])
	}
	if len(key) == 0 || x.name != "PRIMARY" && t.Key != nil && len(t.Key) <= len(key) {
		return
	}
	t.Key, t.KeyName = key, x.name
}

// orderable tells whether a table can be walked by the column: a value can be written as a literal that compares like
// the stored one.
func orderable(c Column) bool {
	switch c.Type {
	case "float", "double", "point", "geometry", "linestring", "polygon", "vector":
		return false
	}
	return !c.Virtual
}

func (r *reader) constraints() error {
	query := "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS"
	if !r.c.MariaDB {
		query = "SELECT k.CONSTRAINT_SCHEMA, t.TABLE_NAME, k.CONSTRAINT_NAME, k.CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS k JOIN information_schema.TABLE_CONSTRAINTS t USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME)"
	}
	rs, err := r.rows(query)
	if err != nil {
		return err
	}
	for _, row := range rs {
		if t := r.tables[row["constraint_schema"]+"."+row["table_name"]]; t != nil {
			r.fact(KindCheck, t.String()+"."+row["constraint_name"], row, "check_clause")
		}
	}
	rs, err = r.rows("SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, UNIQUE_CONSTRAINT_NAME, MATCH_OPTION, UPDATE_RULE, DELETE_RULE, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if t := r.tables[row["constraint_schema"]+"."+row["table_name"]]; t != nil {
			r.fact(KindForeignKey, t.String()+"."+row["constraint_name"], row, "unique_constraint_schema", "referenced_table_name", "update_rule", "delete_rule")
		}
	}
	rs, err = r.rows("SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if at := r.k.Facts[ID{KindForeignKey, row["constraint_schema"] + "." + row["table_name"] + "." + row["constraint_name"]}]; at != nil {
			at["columns"] += row["column_name"] + "=" + row["referenced_column_name"] + " "
		}
	}
	return nil
}

func (r *reader) partitions() error {
	rs, err := r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, PARTITION_NAME, SUBPARTITION_NAME, PARTITION_ORDINAL_POSITION, PARTITION_METHOD, SUBPARTITION_METHOD, PARTITION_EXPRESSION, SUBPARTITION_EXPRESSION, PARTITION_DESCRIPTION FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if t := r.tables[row["table_schema"]+"."+row["table_name"]]; t != nil {
			r.fact(KindPartition, t.String()+"."+row["partition_name"]+"/"+row["subpartition_name"], row, "partition_ordinal_position", "partition_method", "subpartition_method", "partition_expression", "subpartition_expression", "partition_description")
		}
	}
	return nil
}
