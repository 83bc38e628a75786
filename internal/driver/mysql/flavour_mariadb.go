package mysql

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// mariadb follows by domain GTIDs, and has no SET PERSIST: its servers boot read-only by their configuration (trap 2),
// and the standing tells which one to open again.
type mariadb struct{}

func (mariadb) name() string { return "mariadb" }

func (mariadb) prelude() string {
	return "SET SESSION sql_log_bin=0, sql_mode='', time_zone='+00:00', autocommit=1, lock_wait_timeout=5, innodb_lock_wait_timeout=5, max_statement_time=0, net_read_timeout=60, net_write_timeout=60"
}

// looked are the variables that a view holds.
var mariadbVariables = []string{
	"server_uid", "server_id", "gtid_binlog_pos", "gtid_slave_pos", "gtid_binlog_state", "gtid_strict_mode", "log_bin", "log_slave_updates",
	"binlog_format", "binlog_row_image", "sync_binlog", "innodb_flush_log_at_trx_commit", "max_connections", "event_scheduler", "character_set_collations",
	"sql_slave_skip_counter", "rpl_semi_sync_master_enabled", "rpl_semi_sync_slave_enabled", "rpl_semi_sync_master_wait_point", "rpl_semi_sync_master_timeout",
	"rpl_semi_sync_master_wait_no_slave", "lock_wait_timeout", "replicate_do_db", "binlog_do_db", "binlog_ignore_db", "slave_net_timeout", "datadir",
}

func (mariadb) identify(ctx context.Context, s *session, v *view) (err error) {
	if v.vars, err = s.variables(ctx, mariadbVariables...); err != nil {
		return err
	}
	v.uuid, v.serverID = v.vars["server_uid"], v.vars["server_id"]
	if v.uuid == "" { // before 10.5.26 and 10.11.9 there is none
		v.uuid = "server_id-" + v.serverID
	}
	binlog, err := parseGTIDs(v.vars["gtid_binlog_pos"])
	if err != nil {
		return fmt.Errorf("%s: gtid_binlog_pos: %w", s.place, err)
	}
	if v.history.slave, err = parseGTIDs(v.vars["gtid_slave_pos"]); err != nil {
		return fmt.Errorf("%s: gtid_slave_pos: %w", s.place, err)
	}
	if v.history.state, err = parseGTIDs(v.vars["gtid_binlog_state"]); err != nil {
		return fmt.Errorf("%s: gtid_binlog_state: %w", s.place, err)
	}
	v.position = position(binlog, v.history.slave).String()
	return nil
}

func (mariadb) channels(ctx context.Context, s *session) ([]channel, error) {
	rs, err := s.rows(ctx, "SHOW ALL SLAVES STATUS")
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("%w: a server does not answer this while its receiving thread hangs, as on a full disk", err)
	}
	if err != nil {
		return nil, err
	}
	var out []channel
	for _, r := range rs {
		if r["Master_Host"] == "" {
			continue
		}
		c := channel{
			name: r["Connection_name"], source: r["Master_Host"] + ":" + r["Master_Port"], io: r["Slave_IO_Running"] == "Yes", sql: r["Slave_SQL_Running"] == "Yes",
			ioState: r["Slave_IO_State"], ioError: r["Last_IO_Error"], sqlError: r["Last_SQL_Error"], lag: seconds(r["Seconds_Behind_Master"]),
			gtid: r["Using_Gtid"] == "Slave_Pos", received: r["Gtid_IO_Pos"], delay: r["SQL_Delay"],
			connecting: r["Slave_IO_Running"] == "Connecting" || r["Slave_IO_Running"] == "Preparing",
		}
		c.stopped = r["Slave_IO_Running"] == "No" && !c.sql
		c.filters = filters(r)
		out = append(out, c)
	}
	return out, nil
}

// filters lists the replication filters of a status row.
func filters(r row) []string {
	var out []string
	for name, value := range r {
		if strings.HasPrefix(name, "Replicate_") && value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

func seconds(text string) time.Duration {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -1
	}
	return time.Duration(n) * time.Second
}

func (mariadb) stand(ctx context.Context, s *session) (position, state string, err error) {
	err = s.one(ctx, "SELECT @@global.gtid_binlog_pos, @@global.gtid_binlog_state", &position, &state)
	return position, state, err
}

func (mariadb) wait(ctx context.Context, s *session, pos string, limit time.Duration) (bool, error) {
	if pos == "" {
		return true, nil
	}
	return s.waitFor(ctx, limit, "SELECT MASTER_GTID_WAIT(?, ?)", pos)
}

func (mariadb) reached(_ context.Context, _ *session, have, want string) (bool, error) {
	h, err := parseGTIDs(have)
	if err != nil {
		return false, err
	}
	w, err := parseGTIDs(want)
	if err != nil {
		return false, err
	}
	return h.reached(w), nil
}

var (
	gtidList  = regexp.MustCompile(`\d+-\d+-\d+`)
	gtidEvent = regexp.MustCompile(`GTID (\d+-\d+-\d+)`)
)

// floor reads what was in the server's history before its oldest binary log.
func (mariadb) floor(ctx context.Context, s *session) (gtids, error) {
	logs, err := s.rows(ctx, "SHOW BINARY LOGS")
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	events, err := s.rows(ctx, "SHOW BINLOG EVENTS IN "+quote(logs[0]["Log_name"])+" LIMIT 16")
	if err != nil {
		return nil, err
	}
	var out gtids
	seen := map[uint32]bool{}
	for _, e := range events {
		switch e["Event_type"] {
		case "Gtid_list":
			l, err := parseGTIDs(strings.Join(gtidList.FindAllString(e["Info"], -1), ","))
			if err != nil {
				return nil, err
			}
			out = append(out, l...)
			for _, g := range l {
				seen[g.domain] = true
			}
		case "Gtid":
			m := gtidEvent.FindStringSubmatch(e["Info"])
			if m == nil {
				continue
			}
			l, err := parseGTIDs(m[1])
			if err != nil {
				return nil, err
			}
			if g := l[0]; !seen[g.domain] {
				seen[g.domain] = true
				if g.seq > 1 {
					out = append(out, gtid{g.domain, g.server, g.seq - 1})
				}
			}
		}
	}
	return out, nil
}

func (m mariadb) errant(ctx context.Context, s *session, primary, other *view) ([]string, error) {
	h := primary.history
	var err error
	if h.floor, err = m.floor(ctx, s); err != nil {
		return nil, err
	}
	return h.errant(other.history.state), nil
}

func (mariadb) bootValue(ctx context.Context, s *session) (bool, error) {
	var origin string
	if err := s.one(ctx, "SELECT GLOBAL_VALUE_ORIGIN FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME='READ_ONLY'", &origin); err != nil {
		return false, err
	}
	return origin != "SQL", nil
}

func (mariadb) stop() string   { return "STOP SLAVE" }
func (mariadb) start() string  { return "START SLAVE" }
func (mariadb) forget() string { return "RESET SLAVE ALL" }

func (mariadb) follow(f follow) []string {
	var out []string
	if f.from != "" {
		out = append(out, "SET GLOBAL gtid_slave_pos="+quote(f.from))
	}
	tls := "MASTER_SSL=0, MASTER_SSL_VERIFY_SERVER_CERT=0" // 11.8 demands it unless told
	if f.tls {
		tls = "MASTER_SSL=1"
	}
	return append(out, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST=%s, MASTER_PORT=%s, MASTER_USER=%s, MASTER_PASSWORD=%s, MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, %s",
		quote(f.host), f.port, quote(f.user), quote(f.password), tls))
}

func (mariadb) persistDemotion() string    { return "" }
func (mariadb) demote() string             { return "SET GLOBAL read_only=1" }
func (mariadb) promote() string            { return "SET GLOBAL read_only=0" }
func (mariadb) persistPromotion() []string { return nil }

func (mariadb) semisync() semisync {
	return semisync{"rpl_semi_sync_master_enabled", "rpl_semi_sync_slave_enabled", "rpl_semi_sync_master_wait_point", "rpl_semi_sync_master_timeout", "rpl_semi_sync_master_wait_no_slave"}
}
