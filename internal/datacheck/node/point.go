package node

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Point is where a snapshot of a server stands: a replica that has the same source can be brought to exactly there.
type Point struct {
	Position string // GTIDs; "" if only the place in the source's binary log is known

	file  string // of the source's binary log
	at    uint64 // the end of the last transaction in it
	least string // GTIDs that the snapshot has for sure
	most  string // GTIDs outside of which it has none
}

// ErrElsewhere means that a replica did not come to exactly the point of a snapshot. Another try may.
var ErrElsewhere = errors.New("the replica is not at the snapshot's point")

// stuck is how long a replica may be without a transaction on the way to a place of its source's binary log.
const stuck = 5 * time.Second

// SnapshotFor opens a consistent snapshot in a session of this server, without a lock and without stopping anything, and tells where it stands, so that the replica can be brought there. It
// looks for so long at the most.
//
// MariaDB tells it. MySQL does not, and it is seen in one of two ways. Between a look at what was executed before the snapshot and one after it nothing was, and no transaction was on its
// way: a transaction is in the snapshot before it counts as executed, and owns its GTID from its beginning until then. Or this server is a replica itself, of the same source: its appliers note
// with every transaction, and so in the snapshot, how far they are in the source's binary log. That needs SELECT on mysql.slave_relay_log_info and mysql.slave_worker_info for the session's account, and
// replica_preserve_commit_order=ON; RunToPoint sees that what it gave can be true. With neither it is ErrNoPosition.
func (c *Conn) SnapshotFor(ctx context.Context, s Session, replica *Conn, atMost time.Duration) (p Point, err error) {
	if c.MariaDB {
		at, err := c.SnapshotIn(ctx, s)
		return Point{Position: at.String()}, err
	}
	v, err := c.Variables(ctx, "gtid_mode", "log_bin")
	if err != nil {
		return p, err
	}
	a, err := c.Applier(ctx)
	if err != nil {
		return p, err
	}
	if v["gtid_mode"] != "ON" || v["log_bin"] != "ON" && !a.Exists { // what it writes would have no GTID
		return p, fmt.Errorf("%w: %s has gtid_mode=%s and log_bin=%s", ErrNoPosition, c.Node.Name, v["gtid_mode"], v["log_bin"])
	}
	unknown, err := c.noPlace(ctx, replica)
	if err != nil {
		return p, err
	}
	never := func() error {
		return fmt.Errorf("%w: %s was never without a commit for as long as it takes to open one, and its place in the source's binary log is not known: %s", ErrNoPosition, c.Node.Name, unknown)
	}
	began := time.Now()
	err = Wait(ctx, func() (known bool, err error) {
		if err := s.Exec(ctx, "ROLLBACK"); err != nil { // of the try before
			return false, err
		}
		if p, known, err = c.still(ctx, s); err == nil && !known && unknown == "" {
			known, unknown = p.place(ctx, s)
		}
		if err == nil && !known && time.Since(began) > atMost {
			err = never()
		}
		return known, err
	}, never)
	return p, err
}

// Unplaced says why a snapshot of this server could have no place for the replica while there is never a moment without a commit (SnapshotFor); "" if it has one. It opens none.
func (c *Conn) Unplaced(ctx context.Context, s Session, replica *Conn) (string, error) {
	if c.MariaDB {
		return "", nil
	}
	why, err := c.noPlace(ctx, replica)
	if err != nil || why != "" {
		return why, err
	}
	_, why = new(Point).place(ctx, s)
	return why, s.Exec(ctx, "ROLLBACK") // fails if it was the connection that place could not read by
}

// still opens a snapshot, and tells whether nothing was committed meanwhile: then its position is known. If not, it knows in between which positions it is.
func (c *Conn) still(ctx context.Context, s Session) (p Point, known bool, err error) {
	if p.least, err = c.Position(ctx); err != nil {
		return p, false, err
	}
	if err := Freeze(ctx, s, c.Node.Name); err != nil {
		return p, false, err
	}
	var owned string
	if err := c.One(ctx, "SELECT @@global.gtid_owned", &owned); err != nil {
		return p, false, fmt.Errorf("read what %s commits: %w", c.Node.Name, err)
	}
	after, err := c.Position(ctx) // behind it: what is no more among the owned ones is here
	if err != nil {
		return p, false, err
	}
	if owned == "" && after == p.least {
		return Point{Position: after}, true, nil
	}
	p.most = after + setOf(owned)
	return p, false, nil
}

// ownedParts are a server's identity, and a connection, in gtid_owned, such as 3e11fa47-71ca-11e1-9e33-c80aa9429562:23#12:24#13.
var ownedParts = regexp.MustCompile(`\s*([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})|#\d+`)

// setOf makes what gtid_owned tells the rest of a set of GTIDs, each server's behind a comma.
func setOf(owned string) string {
	return ownedParts.ReplaceAllStringFunc(owned, func(part string) string {
		if strings.HasPrefix(part, "#") {
			return ""
		}
		return "," + strings.TrimSpace(part)
	})
}

// noPlace says why the appliers' notes do not tell a place for the replica; "" if they may.
func (c *Conn) noPlace(ctx context.Context, replica *Conn) (string, error) {
	var of [2]string
	for i, one := range []*Conn{c, replica} {
		rs, err := one.Rows(ctx, "SHOW REPLICA STATUS")
		if err != nil {
			return "", fmt.Errorf("read the replication of %s: %w", one.Node.Name, err)
		}
		if len(rs) == 1 && rs[0]["Channel_Name"] == "" {
			of[i] = rs[0]["Source_UUID"]
		}
	}
	if of[0] == "" || of[0] != of[1] {
		return fmt.Sprintf("%s and %s are not replicas of one source by the channel without a name", c.Node.Name, replica.Node.Name), nil
	}
	v, err := c.Variables(ctx, "replica_preserve_commit_order", "replica_parallel_workers")
	if err != nil {
		return "", err
	}
	if !ordered(v) {
		return "replica_preserve_commit_order of " + c.Node.Name + " is not ON", nil
	}
	return "", nil
}

// ordered tells by a replica's variables whether it commits in its source's order: one that has a single applier knows no other. What it does not say is no yes.
func ordered(v map[string]string) bool {
	workers := v["replica_parallel_workers"]
	return v["replica_preserve_commit_order"] == "ON" || workers == "0" || workers == "1"
}

// place reads in the snapshot how far the appliers are in the source's binary log. Commits are in its order, so the furthest counts. It gives why if that can't be read.
func (p *Point) place(ctx context.Context, s Session) (known bool, why string) {
	rs, err := s.Rows(ctx, "SELECT Master_log_name AS file, Master_log_pos AS at FROM mysql.slave_relay_log_info WHERE Channel_name = '' UNION ALL SELECT Master_log_name, Master_log_pos FROM mysql.slave_worker_info WHERE Channel_name = ''")
	if err != nil { // refused, or the connection is lost: then whatever comes next on it fails
		return false, fmt.Sprintf("the account needs SELECT on mysql.slave_relay_log_info and mysql.slave_worker_info: %v", err)
	}
	for _, r := range rs {
		at, err := strconv.ParseUint(r["at"], 10, 64)
		if err != nil {
			return false, fmt.Sprintf("an applier's place can't be read: %v", err)
		}
		if f := r["file"]; len(f) > len(p.file) || len(f) == len(p.file) && (f > p.file || f == p.file && at > p.at) { // the numbers of files grow, and may get a digit more
			p.file, p.at = f, at
		}
	}
	if p.file == "" {
		return false, "its appliers note no place (GTID_ONLY)"
	}
	return true, ""
}

// RunToPoint lets a stopped replica run to exactly the point, leaves it stopped there, and tells its position. It is ErrElsewhere if that can't be the snapshot's.
func (c *Conn) RunToPoint(ctx context.Context, p Point) (string, error) {
	if p.file == "" {
		return p.Position, c.RunTo(ctx, p.Position)
	}
	where := fmt.Sprintf("%s:%d", p.file, p.at)
	stmt := fmt.Sprintf("START REPLICA UNTIL SOURCE_LOG_FILE = %s, SOURCE_LOG_POS = %d", Quote(p.file), p.at)
	if err := c.Exec(ctx, stmt); err != nil {
		return "", fmt.Errorf("run the replication of %s until %s: %w", c.Node.Name, where, err)
	}
	if err := c.comesTo(ctx, where); err != nil {
		return "", err
	}
	position, err := c.Position(ctx)
	if err != nil {
		return "", err
	}
	var between bool
	if err := c.One(ctx, "SELECT GTID_SUBSET("+Quote(p.least)+", "+Quote(position)+") AND GTID_SUBSET("+Quote(position)+", "+Quote(p.most)+")", &between); err != nil {
		return "", err
	}
	if !between {
		return "", fmt.Errorf("%w: at %s %s has %q, and the snapshot at the least %q and at the most %q", ErrElsewhere, where, c.Node.Name, position, p.least, p.most)
	}
	return position, nil
}

// comesTo waits until the replica has stopped by itself. At a place of its source's binary log it does so when the next transaction comes: where none comes for long the server is quiet, and another
// try sees that.
func (c *Conn) comesTo(ctx context.Context, where string) error {
	last, since := "", time.Now()
	return c.untilStopped(ctx, where, func() error {
		have, err := c.Position(ctx)
		if err != nil {
			return err
		}
		if have != last {
			last, since = have, time.Now()
		}
		if time.Since(since) > stuck {
			return fmt.Errorf("%w: %s stands at %q and does not stop by itself at %s", ErrElsewhere, c.Node.Name, have, where)
		}
		return nil
	})
}
