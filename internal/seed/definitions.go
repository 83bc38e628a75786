package seed

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// program is a sequence, view, routine, trigger or event with its text and the session that it was made in.
type program struct {
	catalog.Program
	text      string
	mode      string // sql_mode
	client    string // character set that the text is in
	collation string // collation_connection
	schema    string // collation of the schema when it was made
	zone      string // of an event
	created   string // of an event, seconds
}

// account is a user or role with the statements that make it.
type account struct {
	catalog.Account
	create []string
	grants []string
	later  []string // after the grants
}

func readDefinitions(ctx context.Context, c *node.Conn, k *catalog.Catalog, f flavour) (*definitions, error) {
	d := &definitions{catalog: k, tables: map[string]string{}}
	for _, t := range k.Tables {
		text, err := show(ctx, c, "SHOW CREATE TABLE "+node.Table(t.Schema, t.Name), "Create Table")
		if err != nil {
			return nil, err
		}
		d.tables[t.String()] = text["Create Table"]
	}
	for _, p := range k.Programs {
		full, err := readProgram(ctx, c, p, f)
		if err != nil {
			return nil, err
		}
		d.programs = append(d.programs, full)
	}
	for _, a := range k.Accounts {
		full := account{Account: a}
		if a.Role {
			full.create = f.role(a)
		} else {
			rs, err := c.Rows(ctx, "SHOW CREATE USER "+a.Quoted())
			if err != nil {
				return nil, fmt.Errorf("read the definition of %s: %w", a, err)
			}
			var created []string
			for _, r := range rs {
				for _, v := range r {
					created = append(created, v)
				}
			}
			full.create, full.later = f.user(a, created)
		}
		var err error
		if full.grants, err = catalog.ReadGrants(ctx, c, a); err != nil {
			return nil, fmt.Errorf("read the grants of %s: %w", a, err)
		}
		d.accounts = append(d.accounts, full)
	}
	return d, nil
}

// show reads a definition, of which the named column must be there: it is NULL where a privilege is missing.
func show(ctx context.Context, c *node.Conn, query, column string) (node.Row, error) {
	rs, err := c.Rows(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	if len(rs) != 1 || rs[0][column] == "" {
		return nil, fmt.Errorf("%s on %s gives no definition: the account lacks a privilege on it (see the grants in the documentation)", query, c.Node.Name)
	}
	return rs[0], nil
}

func readProgram(ctx context.Context, c *node.Conn, p catalog.Program, f flavour) (program, error) {
	out := program{Program: p}
	query, column := "", ""
	switch p.Kind {
	case catalog.KindSequence:
		query, column = "SHOW CREATE SEQUENCE ", "Create Table"
	case catalog.KindView:
		query, column = "SHOW CREATE VIEW ", "Create View"
	case catalog.KindTrigger:
		query, column = "SHOW CREATE TRIGGER ", "SQL Original Statement"
	case catalog.KindEvent:
		query, column = "SHOW CREATE EVENT ", "Create Event"
	case catalog.KindRoutine:
		words := map[string]string{"FUNCTION": "Function", "PROCEDURE": "Procedure", "PACKAGE": "Package", "PACKAGE BODY": "Package Body"}
		if words[p.Type] == "" {
			return out, fmt.Errorf("routine %s is of an unknown type %q", p, p.Type)
		}
		query, column = "SHOW CREATE "+p.Type+" ", "Create "+words[p.Type]
	default:
		return out, fmt.Errorf("%s %s: no such kind", p.Kind, p)
	}
	// A program's text is kept in the character set of the client that made it: take its bytes as they are.
	if err := c.Exec(ctx, "SET SESSION character_set_results=NULL"); err != nil {
		return out, err
	}
	r, err := show(ctx, c, query+node.Table(p.Schema, p.Name), column)
	if back := c.Exec(ctx, "SET SESSION character_set_results=utf8mb4"); back != nil {
		return out, errors.Join(err, back)
	}
	if err != nil {
		return out, err
	}
	out.text, out.mode, out.client, out.collation, out.schema, out.zone = r[column], r["sql_mode"], r["character_set_client"], r["collation_connection"], r["Database Collation"], r["time_zone"]
	if p.Kind == catalog.KindEvent {
		if err := c.One(ctx, "SELECT UNIX_TIMESTAMP(CREATED) FROM information_schema.EVENTS WHERE EVENT_SCHEMA="+node.Quote(p.Schema)+" AND EVENT_NAME="+node.Quote(p.Name), &out.created); err != nil {
			return out, fmt.Errorf("read the event %s: %w", p, err)
		}
		out.text = f.asleep(out.text)
	}
	return out, nil
}

// An event that is enabled waits for its server's promotion on the copy, as on a replica (trap 5).
var eventStatus = regexp.MustCompile(`ON COMPLETION (NOT )?PRESERVE ENABLE\b`)
