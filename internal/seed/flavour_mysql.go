package seed

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/wire"
)

// oracle is MySQL. It can't tell a snapshot's position: the applier of the replica that is read is stopped for the moment of
// opening it, with word of it saved first, and a primary is not read at all.
type oracle struct{}

func (oracle) source(j *job) error {
	if j.source != j.primary {
		return nil
	}
	return refuse(j.cfg.Now(), "seed-source", fmt.Sprintf("%s is a primary of MySQL, which can't tell a snapshot's position without a lock on all writes", j.source.Node.Name),
		"add a replica to the cell, or let what makes the node restore a physical backup into it (docs/nodes.md tells how)")
}

func (oracle) snapshot(ctx context.Context, j *job) (position string, err error) {
	j.status.Stopped = j.source.Node.Name // who finds this starts it again
	if err := j.tell(ctx, true, "stopping the applier of "+j.source.Node.Name+" for a moment"); err != nil {
		return "", err
	}
	watch, err := j.source.Again(ctx)
	if err != nil {
		return "", err
	}
	defer watch.Close()
	defer func() {
		fresh, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if serr := apply(fresh, watch); serr != nil {
			err = errors.Join(err, serr)
			return
		}
		j.status.Stopped = ""
		if err == nil {
			err = j.tell(ctx, true, "the applier of "+j.source.Node.Name+" goes on")
		}
	}()
	if err := watch.Exec(ctx, "STOP REPLICA SQL_THREAD"); err != nil {
		return "", fmt.Errorf("stop the applier of %s: %w", j.source.Node.Name, err)
	}
	if err := node.Freeze(ctx, j.source, j.source.Node.Name); err != nil {
		return "", err
	}
	if position, err = watch.Position(ctx); err != nil {
		return "", err
	}
	a, err := watch.Applier(ctx)
	if err != nil {
		return "", err
	}
	if a.SQL {
		return "", fmt.Errorf("somebody else started the applier of %s while it was held for a snapshot", j.source.Node.Name)
	}
	has, executed, err := oracle{}.reached(ctx, j.primary, position)
	if err == nil && !has {
		err = fmt.Errorf("%s has executed %q, of which the primary %s knows %q alone: it has transactions of its own", j.source.Node.Name, position, j.primary.Node.Name, executed)
	}
	return position, err
}

// grace is how long we try to leave an applier running after our own context ended.
const grace = 30 * time.Second

// apply sees that a replica's applier runs. One that somebody has made to follow nobody is left so.
func apply(ctx context.Context, c *node.Conn) error {
	a, err := c.Applier(ctx)
	if err != nil || !a.Exists || a.SQL {
		return err
	}
	if err := c.Exec(ctx, "START REPLICA SQL_THREAD"); err != nil {
		return fmt.Errorf("start the applier of %s, which we stopped: %w", c.Node.Name, err)
	}
	return nil
}

func (oracle) reached(ctx context.Context, c *node.Conn, position string) (has bool, executed string, err error) {
	if executed, err = c.Position(ctx); err != nil {
		return false, "", err
	}
	if err := c.One(ctx, "SELECT GTID_SUBSET("+node.Quote(position)+", "+node.Quote(executed)+")", &has); err != nil {
		return false, "", fmt.Errorf("compare positions on %s: %w", c.Node.Name, err)
	}
	return has, executed, nil
}

func (oracle) served(ctx context.Context, primary *node.Conn, position string) error {
	var purged string
	var has bool
	if err := primary.One(ctx, "SELECT @@global.gtid_purged, GTID_SUBSET(@@global.gtid_purged, "+node.Quote(position)+")", &purged, &has); err != nil {
		return fmt.Errorf("read what %s has purged: %w", primary.Node.Name, err)
	}
	if !has {
		return purgedMeanwhile(primary, strings.ReplaceAll(purged, "\n", ""), position)
	}
	return nil
}

func (oracle) variable() string { return "gtid_purged" }

// logged takes a restored backup's transactions for the cluster's, which adopting proves, and those that a killed copy has set
// for that copy's.
func (oracle) logged(ctx context.Context, j *job, m *mark) (string, error) {
	executed, err := j.target.Position(ctx)
	if err != nil || executed == "" || j.held != "" {
		return "", err
	}
	if m == nil || m.State != copying {
		return executed, nil
	}
	var same bool
	if err := j.target.One(ctx, "SELECT GTID_SUBSET("+node.Quote(executed)+", "+node.Quote(m.Position)+")", &same); err != nil || same {
		return "", err
	}
	return executed, nil
}

func (oracle) set(ctx context.Context, c *node.Conn, position string) error {
	if position != "" {
		return c.Exec(ctx, "SET GLOBAL gtid_purged="+node.Quote(position))
	}
	executed, err := c.Position(ctx)
	if err != nil || executed == "" {
		return err
	}
	err = c.Exec(ctx, "RESET BINARY LOGS AND GTIDS")
	if node.Number(err) == 1064 { // before 8.2
		err = c.Exec(ctx, "RESET MASTER")
	}
	return err
}

const cmdBinlogDumpGTID = 0x1e

func (oracle) read(c *wire.Backend, position string) error {
	set, err := encodeGTIDs(position)
	if err != nil {
		return err
	}
	const session = "SET SESSION net_write_timeout=31536000, @source_binlog_checksum=@@global.binlog_checksum, @master_binlog_checksum=@@global.binlog_checksum"
	if err := command(c, append([]byte{cmdQuery}, session...)); err != nil {
		return err
	}
	dump := binary.LittleEndian.AppendUint16([]byte{cmdBinlogDumpGTID}, 0)
	dump = binary.LittleEndian.AppendUint32(dump, readerID())
	dump = binary.LittleEndian.AppendUint32(dump, 0) // length of a file's name
	dump = binary.LittleEndian.AppendUint64(dump, 4)
	dump = binary.LittleEndian.AppendUint32(dump, uint32(len(set)))
	return command(c, append(dump, set...))
}

// errTagged means that a position has GTIDs with tags (8.3 and later), which are written otherwise.
var errTagged = errors.New("its GTIDs have tags")

// encodeGTIDs writes a GTID set, such as "uuid:1-5:7,uuid:1", as a reader of the log sends it.
func encodeGTIDs(set string) ([]byte, error) {
	var out []byte
	n := 0
	for part := range strings.SplitSeq(set, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		f := strings.Split(part, ":")
		uuid, err := hex.DecodeString(strings.ReplaceAll(f[0], "-", ""))
		if err != nil || len(uuid) != 16 || len(f) < 2 {
			return nil, fmt.Errorf("GTID set %q is not uuid:from-to", part)
		}
		n++
		out = append(out, uuid...)
		out = binary.LittleEndian.AppendUint64(out, uint64(len(f)-1))
		for _, r := range f[1:] {
			r = strings.TrimSpace(r)
			if r == "" || r[0] < '0' || r[0] > '9' {
				return nil, fmt.Errorf("GTID set %q: %w", part, errTagged)
			}
			from, to, ranged := strings.Cut(r, "-")
			if !ranged {
				to = from
			}
			a, err1 := strconv.ParseUint(from, 10, 63)
			b, err2 := strconv.ParseUint(to, 10, 63)
			if err1 != nil || err2 != nil || b < a {
				return nil, fmt.Errorf("GTID set %q is not uuid:from-to", part)
			}
			out = binary.LittleEndian.AppendUint64(out, a)
			out = binary.LittleEndian.AppendUint64(out, b+1) // the first that is not in it
		}
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(n)), out...), nil
}

func (oracle) session() []setting {
	return []setting{
		{"foreign_key_checks", "0", true}, {"sql_mode", tableMode, true}, {"innodb_strict_mode", "0", true}, {"explicit_defaults_for_timestamp", "1", false},
		{"sql_require_primary_key", "0", false}, {"sql_generate_invisible_primary_key", "0", false}, {"restrict_fk_on_non_standard_key", "0", false},
	}
}

func (oracle) schema(name string, at map[string]string) []string {
	return []string{"DROP DATABASE IF EXISTS " + node.Ident(name), fmt.Sprintf("CREATE DATABASE %s CHARACTER SET %s COLLATE %s", node.Ident(name), at["default character set name"], at["default collation name"])}
}

var defaultRole = regexp.MustCompile(" DEFAULT ROLE ((?:`(?:[^`]|``)*`@`(?:[^`]|``)*`,? ?)+)")

// user leaves default roles for later: they have to be granted first.
func (oracle) user(a catalog.Account, created []string) (create, later []string) {
	create = []string{"DROP USER IF EXISTS " + a.Quoted()}
	for _, s := range created {
		if m := defaultRole.FindStringSubmatchIndex(s); m != nil {
			later = append(later, "SET DEFAULT ROLE "+strings.TrimSpace(s[m[2]:m[3]])+" TO "+a.Quoted())
			s = s[:m[0]] + " " + s[m[1]:]
		}
		create = append(create, s)
	}
	return create, later
}

// accounts finds those with a second password, which no statement makes from its hash: its clients would be locked out by a switch.
func (oracle) accounts(ctx context.Context, j *job) error {
	rs, err := j.source.Rows(ctx, "SELECT User, Host FROM mysql.user WHERE JSON_EXTRACT(User_attributes, '$.additional_password') IS NOT NULL ORDER BY User, Host")
	if err != nil {
		return fmt.Errorf("read the accounts of %s: %w", j.source.Node.Name, err)
	}
	var bad []string
	for _, r := range rs {
		if a := (catalog.Account{User: r["User"], Host: r["Host"]}); !j.keep(a) {
			bad = append(bad, a.Quoted())
		}
	}
	if len(bad) > 0 {
		return refuse(j.cfg.Now(), "seed-accounts", fmt.Sprintf("these accounts of %s have a second password, which can't be copied: %s", j.source.Node.Name, list(bad)), "when all their clients use the new one: ALTER USER "+bad[0]+" DISCARD OLD PASSWORD; then run the stage again")
	}
	return nil
}

func (oracle) role(catalog.Account) []string { return nil } // roles are users
func (oracle) isRole() string                { return "'N'" }
func (oracle) asleep(create string) string   { return asleep(create, "DISABLE ON REPLICA") }

// Administrators can't write either while super_read_only is set. read_only stays set meanwhile.
func (oracle) unlock() string { return "SET GLOBAL super_read_only=0" }
func (oracle) lock() string   { return "SET GLOBAL super_read_only=1" }
