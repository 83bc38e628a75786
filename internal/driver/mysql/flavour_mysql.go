package mysql

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// mysqlFlavour follows by GTID sets. It keeps read_only over a restart by itself: SET PERSIST.
type mysqlFlavour struct{}

func (mysqlFlavour) name() string { return "mysql" }

func (mysqlFlavour) prelude() string {
	return "SET SESSION sql_log_bin=0, sql_mode='', time_zone='+00:00', autocommit=1, lock_wait_timeout=5, innodb_lock_wait_timeout=5, max_execution_time=0, net_read_timeout=60, net_write_timeout=60"
}

var mysqlVariables = []string{
	"server_uuid", "server_id", "gtid_executed", "gtid_mode", "enforce_gtid_consistency", "log_bin", "log_replica_updates", "log_slave_updates", "binlog_format", "binlog_row_image",
	"sync_binlog", "innodb_flush_log_at_trx_commit", "max_connections", "event_scheduler", "sql_replica_skip_counter", "sql_slave_skip_counter", "super_read_only",
	"rpl_semi_sync_source_enabled", "rpl_semi_sync_replica_enabled", "rpl_semi_sync_source_wait_point", "rpl_semi_sync_source_timeout", "rpl_semi_sync_source_wait_no_replica",
	"lock_wait_timeout", "persisted_globals_load", "datadir",
}

func (mysqlFlavour) identify(ctx context.Context, s *session, v *view) (err error) {
	if v.vars, err = s.variables(ctx, mysqlVariables...); err != nil {
		return err
	}
	v.uuid, v.serverID = v.vars["server_uuid"], v.vars["server_id"]
	v.position = strings.ReplaceAll(v.vars["gtid_executed"], "\n", "")
	return nil
}

func (mysqlFlavour) channels(ctx context.Context, s *session) ([]channel, error) {
	rs, err := s.rows(ctx, "SHOW REPLICA STATUS")
	if err != nil {
		return nil, err
	}
	var out []channel
	for _, r := range rs {
		if r["Source_Host"] == "" {
			continue
		}
		c := channel{
			name: r["Channel_Name"], source: r["Source_Host"] + ":" + r["Source_Port"], io: r["Replica_IO_Running"] == "Yes", sql: r["Replica_SQL_Running"] == "Yes",
			ioState: r["Replica_IO_State"], ioError: r["Last_IO_Error"], sqlError: r["Last_SQL_Error"], lag: seconds(r["Seconds_Behind_Source"]),
			gtid: r["Auto_Position"] == "1", received: strings.ReplaceAll(r["Retrieved_Gtid_Set"], "\n", ""), delay: r["SQL_Delay"], connecting: r["Replica_IO_Running"] == "Connecting",
		}
		if c.tries, err = strconv.Atoi(r["Source_Retry_Count"]); err != nil {
			return nil, fmt.Errorf("%s: Source_Retry_Count: %w", s.place, err)
		}
		c.retry = seconds(r["Connect_Retry"])
		c.stopped = r["Replica_IO_Running"] == "No" && !c.sql
		if c.sqlError != "" { // the coordinator's, which only says that a worker failed
			words, err := s.rows(ctx, "SELECT LAST_ERROR_MESSAGE AS words FROM performance_schema.replication_applier_status_by_worker WHERE LAST_ERROR_NUMBER <> 0 AND CHANNEL_NAME = "+quote(c.name))
			if err != nil {
				return nil, err
			}
			if len(words) > 0 {
				c.sqlError = words[0]["words"]
			}
		}
		c.filters = filters(r)
		out = append(out, c)
	}
	return out, nil
}

func (mysqlFlavour) stand(ctx context.Context, s *session) (position, state string, err error) {
	err = s.one(ctx, "SELECT @@global.gtid_executed", &position)
	return strings.ReplaceAll(position, "\n", ""), "", err
}

func (mysqlFlavour) wait(ctx context.Context, s *session, pos string, limit time.Duration) (bool, error) {
	if pos == "" {
		return true, nil
	}
	return s.waitFor(ctx, limit, "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?)", pos)
}

func (mysqlFlavour) reached(ctx context.Context, s *session, have, want string) (bool, error) {
	var n int
	err := s.one(ctx, "SELECT GTID_SUBSET("+quote(want)+", "+quote(have)+")", &n)
	return n == 1, err
}

func (mysqlFlavour) errant(ctx context.Context, s *session, primary, other *view) ([]string, error) {
	var extra string
	if err := s.one(ctx, "SELECT GTID_SUBTRACT("+quote(other.position)+", "+quote(primary.position)+")", &extra); err != nil {
		return nil, err
	}
	if extra == "" {
		return nil, nil
	}
	return strings.Split(strings.ReplaceAll(extra, "\n", ""), ","), nil
}

func (mysqlFlavour) bootValue(ctx context.Context, s *session) (bool, error) {
	// super_read_only sets read_only without a trace there. Our own guard lifts and sets it.
	var n int
	err := s.one(ctx, "SELECT COUNT(*) FROM performance_schema.variables_info WHERE VARIABLE_NAME IN ('read_only', 'super_read_only') AND VARIABLE_SOURCE='DYNAMIC' AND NOT (SET_USER <=> "+quote(s.d.cfg.Admin.User)+")", &n)
	return n == 0, err
}

func (mysqlFlavour) stop() string   { return "STOP REPLICA" }
func (mysqlFlavour) start() string  { return "START REPLICA" }
func (mysqlFlavour) forget() string { return "RESET REPLICA ALL" }

// follow ignores from: a MySQL replica knows what it has executed. It tries for ever to reach its source: by default it gives up
// after ten times (8.4 and later), which is the end of the way back when the source is away for ten seconds.
func (mysqlFlavour) follow(f follow) []string {
	tls := "SOURCE_SSL=0, GET_SOURCE_PUBLIC_KEY=1"
	if f.tls {
		tls = "SOURCE_SSL=1"
	}
	return []string{fmt.Sprintf("CHANGE REPLICATION SOURCE TO SOURCE_HOST=%s, SOURCE_PORT=%s, SOURCE_USER=%s, SOURCE_PASSWORD=%s, SOURCE_AUTO_POSITION=1, SOURCE_CONNECT_RETRY=1, SOURCE_RETRY_COUNT=0, %s",
		quote(f.host), f.port, quote(f.user), quote(f.password), tls)}
}

// super_read_only implies read_only, and stops administrators too.
func (mysqlFlavour) persistDemotion() string { return "SET PERSIST_ONLY super_read_only=1" }
func (mysqlFlavour) demote() string          { return "SET GLOBAL super_read_only=1" }
func (mysqlFlavour) promote() string         { return "SET GLOBAL read_only=0" }
func (mysqlFlavour) persistPromotion() []string {
	return []string{"SET PERSIST_ONLY super_read_only=0", "SET PERSIST_ONLY read_only=0"}
}

func (mysqlFlavour) semisync() semisync {
	return semisync{"rpl_semi_sync_source_enabled", "rpl_semi_sync_replica_enabled", "rpl_semi_sync_source_wait_point", "rpl_semi_sync_source_timeout", "rpl_semi_sync_source_wait_no_replica"}
}
