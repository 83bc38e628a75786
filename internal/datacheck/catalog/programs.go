package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

func (r *reader) views() error {
	algorithm := ", ALGORITHM"
	if !r.c.MariaDB {
		algorithm = ""
	}
	rs, err := r.rows("SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, DEFINER, SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION" + algorithm +
		" FROM information_schema.VIEWS WHERE TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TABLE_SCHEMA, TABLE_NAME")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if skipped(row["table_schema"]) {
			continue
		}
		r.k.Programs = append(r.k.Programs, Program{Kind: KindView, Schema: row["table_schema"], Name: row["table_name"]})
		r.fact(KindView, row["table_schema"]+"."+row["table_name"], row, "view_definition", "check_option", "definer", "security_type", "character_set_client", "collation_connection", "algorithm")
	}
	return nil
}

func (r *reader) routines() error {
	rs, err := r.rows("SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, DTD_IDENTIFIER, COLLATION_NAME, ROUTINE_DEFINITION, IS_DETERMINISTIC, SQL_DATA_ACCESS, SECURITY_TYPE, SQL_MODE, ROUTINE_COMMENT, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION" +
		" FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY ROUTINE_SCHEMA, ROUTINE_TYPE, ROUTINE_NAME")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if skipped(row["routine_schema"]) {
			continue
		}
		p := Program{Kind: KindRoutine, Schema: row["routine_schema"], Name: row["routine_name"], Type: row["routine_type"]}
		r.k.Programs = append(r.k.Programs, p)
		r.fact(KindRoutine, strings.ToLower(p.Type)+" "+p.String(), row, "dtd_identifier", "collation_name", "routine_definition", "is_deterministic", "sql_data_access", "security_type", "sql_mode", "routine_comment", "definer", "character_set_client", "collation_connection", "database_collation")
	}
	rs, err = r.rows("SELECT SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION, PARAMETER_MODE, PARAMETER_NAME, DTD_IDENTIFIER, CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.PARAMETERS WHERE ORDINAL_POSITION > 0 AND SPECIFIC_SCHEMA NOT IN ('mysql', 'sys') ORDER BY SPECIFIC_SCHEMA, SPECIFIC_NAME, ROUTINE_TYPE, ORDINAL_POSITION")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if at := r.k.Facts[ID{KindRoutine, strings.ToLower(row["routine_type"]) + " " + row["specific_schema"] + "." + row["specific_name"]}]; at != nil {
			at["parameters"] += strings.Join([]string{row["parameter_mode"], row["parameter_name"], row["dtd_identifier"], row["collation_name"]}, " ") + "; "
		}
	}
	return nil
}

func (r *reader) triggers() error {
	rs, err := r.rows("SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_MANIPULATION, EVENT_OBJECT_TABLE, ACTION_ORDER, ACTION_STATEMENT, ACTION_TIMING, SQL_MODE, DEFINER, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION" +
		" FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY TRIGGER_SCHEMA, EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if skipped(row["trigger_schema"]) {
			continue
		}
		p := Program{Kind: KindTrigger, Schema: row["trigger_schema"], Name: row["trigger_name"]}
		r.k.Programs = append(r.k.Programs, p)
		r.fact(KindTrigger, p.String(), row, "event_manipulation", "event_object_table", "action_order", "action_statement", "action_timing", "sql_mode", "definer", "character_set_client", "collation_connection", "database_collation")
	}
	return nil
}

// events leaves the status out: on a replica every event waits as SLAVESIDE_DISABLED, even one that is disabled on the
// primary, so that the two sides of a comparison say nothing by it (trap 5).
func (r *reader) events() error {
	rs, err := r.rows("SELECT EVENT_SCHEMA, EVENT_NAME, DEFINER, TIME_ZONE, EVENT_DEFINITION, EVENT_TYPE, EXECUTE_AT, INTERVAL_VALUE, INTERVAL_FIELD, SQL_MODE, STARTS, ENDS, STATUS, ON_COMPLETION, EVENT_COMMENT, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION" +
		" FROM information_schema.EVENTS WHERE EVENT_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') ORDER BY EVENT_SCHEMA, EVENT_NAME")
	if err != nil {
		return err
	}
	for _, row := range rs {
		if skipped(row["event_schema"]) {
			continue
		}
		p := Program{Kind: KindEvent, Schema: row["event_schema"], Name: row["event_name"], Status: row["status"]}
		r.k.Programs = append(r.k.Programs, p)
		r.fact(KindEvent, p.String(), row, "definer", "time_zone", "event_definition", "event_type", "execute_at", "interval_value", "interval_field", "sql_mode", "starts", "ends", "on_completion", "event_comment", "character_set_client", "collation_connection", "database_collation")
	}
	return nil
}

const errNotInForce = 1133

// accounts reads users, roles and grants as the server writes them. The digest stands for whatever holds a password's hash.
func (r *reader) accounts() error {
	role := "is_role"
	if !r.c.MariaDB {
		role = "'N'"
	}
	rs, err := r.rows("SELECT User, Host, " + role + " AS is_role FROM mysql.user ORDER BY is_role DESC, User, Host")
	if err != nil {
		return err
	}
	for _, row := range rs {
		a := Account{User: row["user"], Host: row["host"], Role: row["is_role"] == "Y"}
		at := map[string]string{"role": row["is_role"]}
		if !a.Role {
			created, err := r.c.Rows(r.ctx, "SHOW CREATE USER "+a.Quoted())
			if node.Number(err) == errNotInForce {
				continue // an account for a host name on a server that resolves none: it is there for nobody
			}
			if err != nil {
				return err
			}
			var text []string
			for _, c := range created {
				for _, v := range c {
					text = append(text, v)
				}
			}
			at["authentication and options"] = digest(strings.Join(text, "\n"))
		}
		r.k.Accounts = append(r.k.Accounts, a)
		r.k.Facts[ID{KindAccount, a.String()}] = at
		grants, err := ReadGrants(r.ctx, r.c, a)
		if err != nil {
			return err
		}
		for _, g := range grants {
			r.k.Facts[ID{KindGrant, withoutSecret(g)}] = map[string]string{}
		}
	}
	return nil
}

// others are objects that are only noticed.
func (r *reader) others() error {
	rs, err := r.rows("SELECT * FROM mysql.servers")
	if err != nil {
		return err
	}
	for _, row := range rs {
		var all []string
		for k, v := range row {
			all = append(all, k+"="+v)
		}
		slices.Sort(all)
		r.k.Facts[ID{KindServer, row["server_name"]}] = map[string]string{"definition": digest(strings.Join(all, "\n"))}
	}
	if rs, err = r.rows("SELECT name, dl, type FROM mysql.func"); err != nil {
		return err
	}
	for _, row := range rs {
		r.fact(KindFunction, row["name"], row, "dl", "type")
	}
	return nil
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
