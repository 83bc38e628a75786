package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Applier is the state of a node's replication.
type Applier struct {
	Exists bool
	Source string // host:port
	IO     bool   // the receiving thread runs
	SQL    bool   // the applying thread runs
	// Connecting: the receiving thread was started and is on its way to the source, again or for the first time.
	Connecting bool
	Error      string
	Lag        time.Duration // behind the source; -1 when unknown
	Until      bool          // it runs until a position
}

// ErrSeveralSources means that a node replicates over several connections, which nothing here can hold at one position.
var ErrSeveralSources = errors.New("replicates from several sources")

// Applier reads the state of replication.
func (c *Conn) Applier(ctx context.Context) (Applier, error) {
	query, yes := "SHOW REPLICA STATUS", "Replica"
	if c.MariaDB {
		query, yes = "SHOW ALL SLAVES STATUS", "Slave"
	}
	rs, err := c.Rows(ctx, query)
	if err != nil {
		return Applier{}, fmt.Errorf("read the replication of %s: %w", c.Node.Name, err)
	}
	host, port, behind := "Master_Host", "Master_Port", "Seconds_Behind_Master"
	if !c.MariaDB {
		host, port, behind = "Source_Host", "Source_Port", "Seconds_Behind_Source"
	}
	var a Applier
	for _, r := range rs {
		if r[host] == "" {
			continue
		}
		if a.Exists {
			return Applier{}, fmt.Errorf("%s %w", c.Node.Name, ErrSeveralSources)
		}
		a = Applier{Exists: true, Source: r[host] + ":" + r[port], IO: r[yes+"_IO_Running"] == "Yes", SQL: r[yes+"_SQL_Running"] == "Yes", Lag: -1}
		a.Connecting = !a.IO && r[yes+"_IO_Running"] != "No"
		a.Until = r["Until_Condition"] != "" && r["Until_Condition"] != "None"
		if a.Error = r["Last_SQL_Error"]; a.Error == "" {
			a.Error = r["Last_IO_Error"]
		}
		if _, known := r[behind]; known {
			s, err := r.Int(behind)
			if err != nil {
				return Applier{}, err
			}
			a.Lag = time.Duration(s) * time.Second
		}
	}
	return a, nil
}

// Stop stops replication. It waits for the transaction that is being applied.
func (c *Conn) Stop(ctx context.Context) error {
	stmt := "STOP REPLICA"
	if c.MariaDB {
		stmt = "STOP SLAVE"
	}
	if err := c.Exec(ctx, stmt); err != nil {
		return fmt.Errorf("stop the replication of %s: %w", c.Node.Name, err)
	}
	return nil
}

// Start lets replication run, without an end. Running already is fine.
func (c *Conn) Start(ctx context.Context) error {
	stmt := "START REPLICA"
	if c.MariaDB {
		stmt = "START SLAVE"
	}
	if err := c.Exec(ctx, stmt); err != nil {
		return fmt.Errorf("start the replication of %s: %w", c.Node.Name, err)
	}
	return nil
}

// StartUntil lets a stopped replication run to exactly that position, where it stops by itself.
func (c *Conn) StartUntil(ctx context.Context, pos string) error {
	stmt := "START REPLICA UNTIL SQL_AFTER_GTIDS = " + Quote(pos)
	if c.MariaDB {
		stmt = "START SLAVE UNTIL master_gtid_pos = " + Quote(pos)
	}
	if err := c.Exec(ctx, stmt); err != nil {
		return fmt.Errorf("run the replication of %s until %s: %w", c.Node.Name, pos, err)
	}
	return nil
}

// Position is what a stopped replica has applied.
func (c *Conn) Position(ctx context.Context) (string, error) {
	query := "SELECT @@global.gtid_executed"
	if c.MariaDB {
		query = "SELECT @@global.gtid_slave_pos"
	}
	var pos string
	if err := c.One(ctx, query, &pos); err != nil {
		return "", fmt.Errorf("read the position of %s: %w", c.Node.Name, err)
	}
	return strings.ReplaceAll(pos, "\n", ""), nil // MySQL writes each server's on a line of its own
}
