package seed

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/windlass-db/windlass/internal/datacheck/catalog"
	"github.com/windlass-db/windlass/internal/datacheck/node"
	"github.com/windlass-db/windlass/internal/wire"
)

// mariadb tells a snapshot's position without stopping anything, on a primary too.
type mariadb struct{}

func (mariadb) source(*job) error { return nil }

func (mariadb) snapshot(ctx context.Context, j *job) (string, error) {
	p, err := j.source.Snapshot(ctx)
	return p.String(), err
}

func (mariadb) reached(ctx context.Context, c *node.Conn, position string) (bool, string, error) {
	v, err := c.Variables(ctx, "gtid_slave_pos", "gtid_binlog_pos")
	if err != nil {
		return false, "", err
	}
	has, err := node.ParsePosition(v["gtid_slave_pos"] + "," + v["gtid_binlog_pos"])
	if err != nil {
		return false, "", err
	}
	want, err := node.ParsePosition(position)
	return has.Reaches(want), has.String(), err
}

func (mariadb) variable() string { return "gtid_slave_pos" }

func (mariadb) logged(ctx context.Context, j *job, _ *mark) (string, error) {
	v, err := j.target.Variables(ctx, "gtid_binlog_pos")
	return v["gtid_binlog_pos"], err
}

func (mariadb) set(ctx context.Context, c *node.Conn, position string) error {
	return c.Exec(ctx, "SET GLOBAL gtid_slave_pos="+node.Quote(position))
}

func (mariadb) read(c *wire.Backend, position string) error {
	for _, stmt := range []string{
		"SET SESSION net_write_timeout=31536000, @master_binlog_checksum=@@global.binlog_checksum, @mariadb_slave_capability=4, @slave_gtid_strict_mode=0, @slave_gtid_ignore_duplicates=0",
		"SET @slave_connect_state=" + node.Quote(position),
	} {
		if err := command(c, append([]byte{cmdQuery}, stmt...)); err != nil {
			return err
		}
	}
	dump := binary.LittleEndian.AppendUint32([]byte{cmdBinlogDump}, 4)
	dump = binary.LittleEndian.AppendUint16(dump, 0)
	return command(c, binary.LittleEndian.AppendUint32(dump, readerID()))
}

// readerID is an id that no server has: a reader with the id of another reader would end that one.
func readerID() uint32 { return 4_100_000_000 + rand.Uint32N(190_000_000) }

func (mariadb) session() []setting {
	return []setting{{"foreign_key_checks", "0", true}, {"check_constraint_checks", "0", true}, {"explicit_defaults_for_timestamp", "1", true}, {"sql_mode", tableMode, true}, {"innodb_strict_mode", "0", true}}
}

func (mariadb) schema(name string, at map[string]string) []string {
	return []string{fmt.Sprintf("CREATE OR REPLACE DATABASE %s CHARACTER SET %s COLLATE %s COMMENT %s", node.Ident(name), at["default character set name"], at["default collation name"], node.Quote(at["schema comment"]))}
}

func (mariadb) user(_ catalog.Account, created []string) (create, later []string) {
	return replaced(created, "CREATE USER ", "CREATE OR REPLACE USER "), nil
}

func (mariadb) role(a catalog.Account) []string {
	if a.Quoted() == "PUBLIC" { // it is always there
		return nil
	}
	return []string{"CREATE OR REPLACE ROLE " + a.Quoted()}
}

func (mariadb) accounts(context.Context, *job) error { return nil }

func (mariadb) isRole() string              { return "is_role" }
func (mariadb) asleep(create string) string { return asleep(create, "DISABLE ON SLAVE") }
func (mariadb) unlock() string              { return "" }
func (mariadb) lock() string                { return "" }
