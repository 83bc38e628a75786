package seed

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// reserve finds the accounts that are not touched: those of the server itself, those that Windlass logs in as, on
// either side, and the configured ones.
func (j *job) reserve(ctx context.Context) error {
	mine := map[string]bool{}
	for _, c := range []*node.Conn{j.target, j.source} {
		var me string
		if err := c.One(ctx, "SELECT CURRENT_USER()", &me); err != nil {
			return fmt.Errorf("ask who we are on %s: %w", c.Node.Name, err)
		}
		mine[me] = true
	}
	j.keep = func(a catalog.Account) bool {
		return mine[a.String()] || catalog.SystemAccount(a) || slices.Contains(j.cfg.Reserved, a.User)
	}
	made, err := readObjects(ctx, j.target)
	if err != nil {
		return err
	}
	rs, err := j.target.Rows(ctx, "SELECT User, Host, "+j.f.isRole()+" AS is_role FROM mysql.user")
	if err != nil {
		return fmt.Errorf("read the accounts of %s: %w", j.r.Node.Name, err)
	}
	j.before = map[string]bool{}
	for _, r := range rs {
		a := catalog.Account{User: r["User"], Host: r["Host"], Role: r["is_role"] == "Y"}
		if made[object{"user", a.Quoted()}] || made[object{"role", a.Quoted()}] {
			continue
		}
		j.before[a.String()], j.before[a.Quoted()] = true, true
	}
	return nil
}

// createAccounts makes roles and users, with the password hashes that they have on the source and without grants yet.
// One that the target has already becomes what it is on the source.
func (j *job) createAccounts(ctx context.Context, d *definitions) error {
	for _, a := range d.accounts {
		if j.keep(a.Account) || len(a.create) == 0 {
			continue
		}
		if !j.before[a.Quoted()] {
			kind := "user"
			if a.Role {
				kind = "role"
			}
			if err := j.note(ctx, object{kind, a.Quoted()}); err != nil {
				return err
			}
		}
		for _, stmt := range a.create {
			if err := j.target.Exec(ctx, stmt); err != nil {
				if node.Number(err) == 1064 { // its text repeats the statement, which holds a password's hash
					err = &mysql.MySQLError{Number: 1064, Message: "its definition is not understood"}
				}
				return j.notUnderstood(ctx, catalog.KindAccount, a.String(), err)
			}
		}
	}
	return nil
}

// grant gives every account what it has on the source. A grant on a table that is gone can't be given: it is told, and
// returned.
func (j *job) grant(ctx context.Context, d *definitions) (map[string]bool, error) {
	skipped := map[string]bool{}
	for _, a := range d.accounts {
		if j.keep(a.Account) {
			continue
		}
		for _, g := range a.grants {
			err := j.target.Exec(ctx, g)
			switch node.Number(err) {
			case node.ErrNoSuchTable:
				err = j.grantOnNothing(ctx, a, g)
			}
			switch node.Number(err) {
			case node.ErrNoSuchTable, node.ErrNoSuchRoutine, 1049, 1054:
				j.log.Warn("a grant on what is not there was left out", "grant", g)
				skipped[g] = true
				continue
			}
			if err != nil {
				return nil, j.notUnderstood(ctx, catalog.KindGrant, g, err)
			}
		}
		for _, stmt := range a.later {
			if err := j.target.Exec(ctx, stmt); err != nil {
				return nil, j.notUnderstood(ctx, catalog.KindAccount, a.String(), err)
			}
		}
	}
	return skipped, nil
}

// grantOnNothing gives a grant on a table that is not there. A server takes it together with the right to create the
// table. A later REVOKE that is replicated has to find it.
func (j *job) grantOnNothing(ctx context.Context, a account, grant string) error {
	const begin = "GRANT "
	on := strings.Index(grant, " ON ")
	to := strings.Index(grant, " TO ")
	if !strings.HasPrefix(grant, begin) || on < 0 || to < on {
		return &mysql.MySQLError{Number: node.ErrNoSuchTable}
	}
	if err := j.target.Exec(ctx, begin+"CREATE, "+grant[len(begin):]); err != nil {
		return err
	}
	return j.target.Exec(ctx, "REVOKE CREATE"+grant[on:to]+" FROM "+a.Quoted())
}
