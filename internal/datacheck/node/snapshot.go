package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// ErrNoPosition means that a server can't tell the exact position of a snapshot.
var ErrNoPosition = errors.New("the position of a snapshot can't be known")

// Snapshot opens a consistent snapshot of every InnoDB table and tells its exact position. It takes no lock and stops
// nothing, neither on a replica nor on a primary: MariaDB notes the binary log's place at the very commit that the
// snapshot follows. The server needs its binary log, and on a replica log_slave_updates.
func (c *Conn) Snapshot(ctx context.Context) (Position, error) { return c.SnapshotIn(ctx, c) }

// Session is another connection to the same server, such as one of another account or with another session's settings.
type Session interface {
	Exec(ctx context.Context, query string, args ...any) error
	Rows(ctx context.Context, query string, args ...any) ([]Row, error)
}

// Freeze opens a consistent snapshot in a session of the server that has the name. It does not tell where that stands.
func Freeze(ctx context.Context, s Session, server string) error {
	if err := s.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return fmt.Errorf("open a snapshot on %s: %w", server, err)
	}
	return nil
}

// SnapshotIn opens a snapshot as Snapshot does, in a session that need not have the right to ask for positions.
func (c *Conn) SnapshotIn(ctx context.Context, s Session) (Position, error) {
	if !c.MariaDB {
		return nil, fmt.Errorf("%w without stopping the applier: %s is not MariaDB", ErrNoPosition, c.Node.Name)
	}
	v, err := c.Variables(ctx, "log_bin", "log_slave_updates", "gtid_slave_pos")
	if err != nil {
		return nil, err
	}
	if v["log_bin"] != "ON" {
		return nil, fmt.Errorf("%w: %s runs without log_bin", ErrNoPosition, c.Node.Name)
	}
	if v["log_slave_updates"] != "ON" {
		a, err := c.Applier(ctx)
		if err != nil {
			return nil, err
		}
		if a.Exists {
			return nil, fmt.Errorf("%w: %s is a replica without log_slave_updates", ErrNoPosition, c.Node.Name)
		}
	}
	// Domains that the binary log does not know, since it was reset after they were replicated, stand still: what was
	// read before the snapshot holds in it too.
	before, err := ParsePosition(v["gtid_slave_pos"])
	if err != nil {
		return nil, err
	}
	if err := Freeze(ctx, s, c.Node.Name); err != nil {
		return nil, err
	}
	rs, err := s.Rows(ctx, "SHOW SESSION STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return nil, err
	}
	place := map[string]string{}
	for _, r := range rs {
		place[strings.ToLower(r["Variable_name"])] = r["Value"]
	}
	var text sql.NullString
	if err := c.One(ctx, "SELECT BINLOG_GTID_POS("+Quote(place["binlog_snapshot_file"])+", "+place["binlog_snapshot_position"]+")", &text); err != nil {
		return nil, fmt.Errorf("read the snapshot's position on %s: %w", c.Node.Name, err)
	}
	if !text.Valid {
		return nil, fmt.Errorf("%w: %s has no binary log %s any more", ErrNoPosition, c.Node.Name, place["binlog_snapshot_file"])
	}
	logged, err := ParsePosition(text.String)
	if err != nil {
		return nil, err
	}
	return logged.with(before), nil
}

// Release gives back what reading a table inside a snapshot took, so that a change of its definition need not
// wait until the snapshot ends. Mark has to be called once after the snapshot was opened.
func (c *Conn) Release(ctx context.Context) error {
	return c.Exec(ctx, "ROLLBACK TO SAVEPOINT windlass")
}

// Mark sets the place that Release goes back to.
func (c *Conn) Mark(ctx context.Context) error { return c.Exec(ctx, "SAVEPOINT windlass") }
