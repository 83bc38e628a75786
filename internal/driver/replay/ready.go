package replay

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/replay/retest"
)

// The names of the checks before a replay.
const (
	CheckCapture   = "replay-capture"
	CheckStore     = "replay-store"
	CheckTarget    = "replay-target"
	CheckReference = "replay-reference"
	CheckAccount   = "replay-account"
	CheckRetest    = "replay-retest"
)

// Ready looks at everything that a replay needs.
func (d *Driver) Ready(ctx context.Context, r bluegreen.ReplayRequest) (check.Results, error) {
	cs := check.Results{d.readyCapture(ctx, r), d.readyStore(ctx, r)}
	now := d.cfg.Now()
	s, err := d.sides(ctx, r)
	switch {
	case errors.Is(err, errNoTarget):
		return append(cs, check.Failed(CheckTarget, err.Error(), "write \"cells: {nodes: 2}\" into the campaign's file, mend the replication of the others, or decide against a replay with \"replay: {skip: …}\"", now)), nil
	case err != nil:
		return append(cs, check.Unknowable(CheckTarget, err, now)), nil
	}
	cs = append(cs, d.readyTarget(ctx, s.target))
	if s.reference == nil {
		cs = append(cs, check.Warned(CheckReference, fmt.Sprintf("cell %s has no replica, and its primary is never asked: times can't be judged, and answers that data has moved under can't be told from others", r.FromCell),
			"add a replica to it; without one the verdict may stay insufficient", now))
	} else {
		cs = append(cs, check.Passed(CheckReference, fmt.Sprintf("%s of cell %s is asked, too, where answers differ, and for times; it is never stopped", s.reference.Name, r.FromCell), now))
	}
	cs = append(cs, d.readyAccount(ctx, s.target))
	if s.reference != nil {
		cs = append(cs, d.readyAccount(ctx, *s.reference), d.readyRetest(ctx, s.target, *s.reference))
	}
	return cs, nil
}

func (d *Driver) readyCapture(ctx context.Context, r bluegreen.ReplayRequest) check.Result {
	s, name, err := d.status(ctx, r)
	now := d.cfg.Now()
	switch {
	case errors.Is(err, adminapi.ErrNoCapture):
		return check.Failed(CheckCapture, fmt.Sprintf("gateway %s has nowhere to write captured statements", name), "add \"capture: {folder: …}\" to the gateway's file and start it again; its clients reconnect", now)
	case err != nil:
		return check.Unknowable(CheckCapture, err, now)
	}
	if what, remedy := unfit(s, d.cfg.Key != nil, r.Rules.MinSample); what != "" {
		return check.Failed(CheckCapture, fmt.Sprintf("gateway %s: %s", name, what), remedy, now)
	}
	return check.Passed(CheckCapture, fmt.Sprintf("gateway %s can capture into %s", name, s.Folder), now)
}

// readyStore sees that captures can be read, and what is counted be written.
func (d *Driver) readyStore(ctx context.Context, r bluegreen.ReplayRequest) check.Result {
	now := d.cfg.Now()
	g, err := gateway(r)
	if err == nil {
		err = func() error {
			b, err := d.captures(ctx, g)
			if err != nil {
				return err
			}
			defer b.Close()
			if _, err := b.Gateways(ctx); err != nil {
				return fmt.Errorf("list the store of captures: %w", err)
			}
			res, err := d.results(ctx)
			if err != nil {
				return err
			}
			defer res.Close()
			return res.WriteAll(ctx, "replays/"+r.ID+"/looked", []byte(now.UTC().Format(time.RFC3339)+"\n"), nil)
		}()
	}
	if err != nil {
		return check.Unknowable(CheckStore, err, now)
	}
	return check.Passed(CheckStore, "captures can be read, and what is counted can be kept", now)
}

// readyTarget sees that nobody relies on the node (trap 37).
func (d *Driver) readyTarget(ctx context.Context, n fleet.Node) check.Result {
	now := d.cfg.Now()
	db, err := d.open(ctx, d.cfg.Control, n)
	if err != nil {
		return check.Unknowable(CheckTarget, err, now)
	}
	defer db.Close()
	var readOnly bool
	if err := db.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly); err != nil {
		return check.Unknowable(CheckTarget, fmt.Errorf("%s: %w", n.Name, err), now)
	}
	if !readOnly {
		return check.Failed(CheckTarget, n.Name+" is writable", "queries are replayed on a replica", now)
	}
	acks, err := variable(ctx, db, "SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_%_status'", "slave", "replica")
	if err != nil {
		return check.Unknowable(CheckTarget, fmt.Errorf("%s: %w", n.Name, err), now)
	}
	if acks {
		return check.Failed(CheckTarget, n.Name+" acknowledges the primary's commits, and a retest stops its replication for a moment", "take it out of semi-synchronous replication: SET GLOBAL rpl_semi_sync_slave_enabled=0, then start its replication anew", now)
	}
	return check.Passed(CheckTarget, n.Name+" replicates, serves nobody and acknowledges nothing", now)
}

// variable tells whether a status whose name has one of those words is ON.
func variable(ctx context.Context, db *sql.DB, ask string, words ...string) (bool, error) {
	rows, err := db.QueryContext(ctx, ask)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	on := false
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return false, err
		}
		for _, w := range words {
			on = on || strings.Contains(strings.ToLower(name), w) && strings.EqualFold(value, "ON")
		}
	}
	return on, rows.Err()
}

// harmless are the rights that the account may have: whatever is not among them may write, or give rights to others. A SELECT may call a function, and a lexical list is no guard
// alone (trap 38); EXECUTE is harmless as sessions of a replay are READ ONLY before anything is sent.
var harmless = []string{"USAGE", "SELECT", "SHOW VIEW", "SHOW DATABASES", "SHOW CREATE ROUTINE", "EXECUTE", "PROCESS", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR"}

var columns = regexp.MustCompile(`\([^)]*\)`)

// tooMuch is a right in a line of SHOW GRANTS that an account which reads alone does not have; "" if there is none. reads tells whether SELECT is among them.
func tooMuch(grant string) (right string, reads bool) {
	words, at, ok := strings.Cut(strings.TrimPrefix(grant, "GRANT "), " ON ") // what follows may have a password's hash in it
	if !ok {
		return "a role, whose rights are not seen", false
	}
	for _, r := range strings.Split(columns.ReplaceAllString(words, ""), ",") {
		r = strings.ToUpper(strings.TrimSpace(r))
		if !slices.Contains(harmless, r) {
			return r, reads
		}
		reads = reads || r == "SELECT"
	}
	if strings.Contains(strings.ToUpper(at), "WITH GRANT OPTION") {
		return "GRANT OPTION", reads
	}
	return "", reads
}

// readyAccount sees that statements are run by an account that can read alone.
func (d *Driver) readyAccount(ctx context.Context, n fleet.Node) check.Result {
	now := d.cfg.Now()
	db, err := d.open(ctx, d.cfg.Query, n)
	if err != nil {
		return check.Unknowable(CheckAccount, err, now)
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SHOW GRANTS FOR CURRENT_USER()")
	if err != nil {
		return check.Unknowable(CheckAccount, fmt.Errorf("%s: %w", n.Name, notShown(err)), now)
	}
	defer rows.Close()
	reads := false
	for rows.Next() {
		var grant string
		if err := rows.Scan(&grant); err != nil {
			return check.Unknowable(CheckAccount, fmt.Errorf("%s: %w", n.Name, err), now)
		}
		bad, selects := tooMuch(grant)
		if bad != "" {
			return check.Failed(CheckAccount, fmt.Sprintf("the account that queries are replayed by may do more than read on %s: it has %s", n.Name, bad), "GRANT it SELECT on the schemas of the clients alone, and REPLICA MONITOR (MariaDB) or REPLICATION CLIENT (MySQL)", now)
		}
		reads = reads || selects
	}
	if err := rows.Err(); err != nil {
		return check.Unknowable(CheckAccount, fmt.Errorf("%s: %w", n.Name, err), now)
	}
	if !reads {
		return check.Failed(CheckAccount, "the account that queries are replayed by may not read on "+n.Name, "GRANT it SELECT on the schemas of the clients", now)
	}
	return check.Passed(CheckAccount, "the account that queries are replayed by can read on "+n.Name+", and do nothing else", now)
}

// readyRetest sees that what differs can be tested on frozen data however busy the reference is. It may be that it is quiet often enough: nobody is held for it.
func (d *Driver) readyRetest(ctx context.Context, target, reference fleet.Node) check.Result {
	now := d.cfg.Now()
	var why string
	cfg, err := d.retestConfig(ctx, target, &reference)
	if err == nil {
		why, err = retest.Unplaced(ctx, cfg)
	}
	switch {
	case err != nil:
		return check.Unknowable(CheckRetest, fmt.Errorf("%s: %w", reference.Name, notShown(err)), now)
	case why != "":
		return check.Warned(CheckRetest, fmt.Sprintf("what differs can be tested on frozen data only in a moment in which %s commits nothing: %s", reference.Name, why),
			"GRANT the account that queries are replayed by SELECT on mysql.slave_relay_log_info and mysql.slave_worker_info, and see that both nodes have one source, replica_preserve_commit_order=ON and GTID_ONLY=0; else the verdict may stay insufficient", now)
	}
	return check.Passed(CheckRetest, "what differs can be tested on frozen data of "+reference.Name+" and "+target.Name+" at any time", now)
}

// notShown leaves the server's text out, which may quote a grant.
func notShown(err error) error {
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		return fmt.Errorf("error %d", refused.Number)
	}
	return err
}

func (d *Driver) open(ctx context.Context, of func(context.Context, fleet.Node) (*mysql.Config, error), n fleet.Node) (*sql.DB, error) {
	c, err := access(ctx, of, n)
	if err != nil {
		return nil, err
	}
	c = c.Clone()
	c.Timeout, c.ReadTimeout = 10*time.Second, 30*time.Second
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", n.Name, err)
	}
	db := sql.OpenDB(connector)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("reach %s: %w", n.Name, notShown(err))
	}
	return db, nil
}
