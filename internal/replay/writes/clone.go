package writes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/session"
)

// ErrNoClone means that a server is not, or may not be, a clone that was made to be written to.
var ErrNoClone = errors.New("this is no clone for replaying writes")

// MarkSQL makes the mark of a clone, on the clone itself and beside its position. It names the server, so that a copy of the clone does not carry it.
const MarkSQL = "SET SESSION sql_log_bin=0; CREATE DATABASE IF NOT EXISTS windlass; CREATE TABLE IF NOT EXISTS windlass.clone (server VARCHAR(128) PRIMARY KEY); REPLACE INTO windlass.clone VALUES (CONCAT(@@hostname, ':', @@port))"

func open(ctx context.Context, s session.Server) (*node.Conn, error) {
	access := func(context.Context, fleet.Node) (*mysql.Config, error) { return s.Config, nil }
	return node.Open(ctx, access, fleet.Node{Name: s.Name, Address: s.Config.Addr})
}

// Guard refuses a server that may be anything but a clone made for this. What can be seen is asked for whoever confirms what; that it was made for this is believed of who says so, or of its mark.
func Guard(ctx context.Context, c *node.Conn, confirmed bool) error {
	refuse := func(what string, args ...any) error {
		return fmt.Errorf("%w: %s %s", ErrNoClone, c.Node.Name, fmt.Sprintf(what, args...))
	}
	f := flavourOf(c)
	a, err := c.Applier(ctx)
	if errors.Is(err, node.ErrSeveralSources) {
		return refuse("replicates from several sources")
	}
	if err != nil {
		return err
	}
	if a.Exists {
		return refuse("replicates from %s, or did: on a clone, %s", a.Source, f.detach)
	}
	hosts, err := c.Rows(ctx, f.replicas)
	if err != nil {
		return fmt.Errorf("ask %s who replicates from it: %w", c.Node.Name, err)
	}
	if len(hosts) > 0 {
		return refuse("has %d replicas", len(hosts))
	}
	if err := grouped(ctx, c, refuse); err != nil {
		return err
	}
	others, err := c.Rows(ctx, "SHOW PROCESSLIST")
	if err != nil {
		return fmt.Errorf("ask %s who is connected: %w", c.Node.Name, err)
	}
	var me string
	if err := c.One(ctx, "SELECT SUBSTRING_INDEX(USER(), '@', 1)", &me); err != nil {
		return err
	}
	for _, o := range others {
		switch {
		case o["Id"] == strconv.FormatUint(c.ID(), 10) || o["User"] == "system user" || o["User"] == "event_scheduler":
		case strings.HasPrefix(o["Command"], "Binlog Dump"):
			return refuse("sends its binary log to %s", o["Host"])
		case o["User"] != me:
			return refuse("has others connected: %s from %s", o["User"], o["Host"])
		}
	}
	readOnly, err := c.ReadOnly(ctx)
	if err != nil {
		return err
	}
	if readOnly {
		return refuse("is read-only, as every server of a fleet boots: on a clone, SET GLOBAL read_only=0")
	}
	waits, err := c.Variables(ctx, f.semisync...) // where its plugin is not loaded there are none
	if err != nil {
		return fmt.Errorf("ask %s for semi-synchronous replication: %w", c.Node.Name, err)
	}
	for name, v := range waits {
		if v == "ON" {
			return refuse("waits for replicas to acknowledge its writes: on a clone, SET GLOBAL %s=0", name)
		}
	}
	if confirmed {
		return nil
	}
	marked := false
	err = c.One(ctx, "SELECT COUNT(*) > 0 FROM windlass.clone WHERE server = CONCAT(@@hostname, ':', @@port)", &marked)
	if n := node.Number(err); err != nil && n != node.ErrNoSuchTable && n != 1049 {
		return fmt.Errorf("look for the mark of %s: %w", c.Node.Name, err)
	}
	if !marked {
		return refuse("carries no mark, and nobody says that it is a clone")
	}
	return nil
}

// grouped refuses a member of MySQL's group replication, which has no source that it follows.
func grouped(ctx context.Context, c *node.Conn, refuse func(what string, args ...any) error) error {
	if c.MariaDB {
		return nil
	}
	members := 0
	if err := c.One(ctx, "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE <> 'OFFLINE'", &members); err != nil {
		return fmt.Errorf("ask %s whether it is in a group: %w", c.Node.Name, err)
	}
	if members > 0 {
		return refuse("is in a group of %d that replicates: on a clone, STOP GROUP_REPLICATION", members)
	}
	return nil
}
