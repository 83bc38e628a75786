package mysql

import (
	"context"
	"strings"
	"time"
)

// replicationRunning: both threads run, straight from the primary, by GTID, on every node that will be repointed.
func (in *inspection) replicationRunning(_ context.Context, f *finding) {
	f.asked("SHOW ALL SLAVES STATUS / SHOW REPLICA STATUS")
	if in.primary == nil {
		f.unknown(errNoPrimary)
		return
	}
	for _, v := range f.known(in.replicas) {
		ch, ok := v.channel()
		switch {
		case !ok:
			f.fail("start replication on "+v.place.String(), "%s has no replication source", v.place)
		case len(v.channels) > 1:
			f.fail("remove the other channels", "%s has %d replication channels: only one can be repointed", v.place, len(v.channels))
		case !v.follows(in.primary.node.Address):
			f.fail("point it at "+in.primary.node.Address, "%s replicates from %s, not from the primary %s", v.place, ch.source, in.primary.node.Address)
		case !ch.gtid:
			f.fail("change it to MASTER_USE_GTID=slave_pos, or SOURCE_AUTO_POSITION=1", "%s follows by file and offset, not by GTID", v.place)
		case !ch.healthy():
			f.fail("mend the cause, then start replication", "%s: %s", v.place, ch.trouble())
		default:
			f.pass("%s replicates from %s", v.place, ch.source)
		}
	}
}

// replicaLag: what the primary has now arrives within the limit. This is measured, for a server's own word on its lag
// is 0 while its receiving thread hangs.
func (in *inspection) replicaLag(ctx context.Context, f *finding) {
	ps := in.needPrimary(ctx, f)
	if ps == nil {
		return
	}
	f.asked("SELECT MASTER_GTID_WAIT(position of the primary, limit) / WAIT_FOR_EXECUTED_GTID_SET")
	now := ps.look(ctx)
	if now.err != nil {
		f.unknown(now.err)
		return
	}
	limit := max(in.maxLag, time.Second)
	parallel(f.known(in.replicas), f, func(v *view, f *finding) {
		if ch, _ := v.channel(); ch.stopped {
			f.fail("start replication", "%s does not replicate: %s", v.place, ch.trouble())
			return
		}
		s, err := in.d.lookTo(ctx, v.place)
		if err != nil {
			f.unknown(err)
			return
		}
		defer s.close()
		if ch, ok := v.channel(); !ok || ch.trouble() != "" { // it would never arrive: there is nothing to wait for
			f.fail("replication has to run first", "%s can't reach the primary's %s%s", v.place, now.target(), stuck(v, now.target()))
			return
		}
		began := time.Now()
		there, err := s.fl.wait(ctx, s, now.target(), limit)
		took := time.Since(began).Round(time.Millisecond)
		after := s.look(ctx)
		switch {
		case err != nil:
			f.unknown(err)
		case after.err != nil:
			f.unknown(after.err)
		case !there:
			f.fail("wait until it has caught up, or find out what keeps it back", "%s is at %s and did not reach the primary's %s within %v%s", v.place, after.position, now.target(), limit, stuck(after, now.target()))
		default:
			ch, _ := after.channel()
			if ch.lag > in.maxLag {
				f.fail("wait until it has caught up", "%s is %v behind, the limit is %v", v.place, ch.lag, in.maxLag)
				return
			}
			f.pass("%s reached the primary's position in %v", v.place, took)
		}
	})
}

// stuck says which half of replication is behind.
func stuck(v *view, target string) string {
	ch, ok := v.channel()
	if !ok {
		return ": it has no replication source"
	}
	if t := ch.trouble(); t != "" {
		return ": " + t
	}
	have, err1 := parseGTIDs(ch.received)
	want, err2 := parseGTIDs(target)
	if v.fl.name() == "mariadb" && err1 == nil && err2 == nil && !have.reached(want) {
		return ": it has received only up to " + ch.received + " (network, or a full disk); " + ch.ioState
	}
	return ": it has received more than it has applied"
}

// errantGTID: no node has executed a transaction that the primary does not have.
func (in *inspection) errantGTID(ctx context.Context, f *finding) {
	if in.primary == nil {
		f.unknown(errNoPrimary)
		return
	}
	f.asked("SELECT @@global.gtid_binlog_state / GTID_SUBTRACT")
	for _, v := range f.known(in.replicas) {
		extra, err := in.d.tail(ctx, in.primary.place, v)
		switch {
		case err != nil:
			f.unknown(err)
		case len(extra) > 0:
			f.fail("find out what wrote it; rebuild the node, or on MySQL inject empty transactions on the primary", "%s has %s, which the primary does not have", v.place, strings.Join(extra, ", "))
		default:
			f.pass("%s has nothing of its own", v.place)
		}
	}
}

// gtidReady: every node writes a binary log with what it replicates, so that it can be a source.
func (in *inspection) gtidReady(_ context.Context, f *finding) {
	f.asked("SHOW GLOBAL VARIABLES: log_bin, log_slave_updates, gtid_strict_mode, gtid_mode")
	for _, v := range f.known(in.sc.views) {
		updates := v.vars["log_slave_updates"]
		if u, ok := v.vars["log_replica_updates"]; ok {
			updates = u
		}
		switch {
		case v.vars["log_bin"] != "ON":
			f.fail("set log_bin", "%s writes no binary log", v.place)
		case updates != "ON":
			f.fail("set log_slave_updates=ON", "%s does not log what it replicates", v.place)
		case v.fl.name() == "mysql" && v.vars["gtid_mode"] != "ON":
			f.fail("set gtid_mode=ON", "%s has gtid_mode=%s", v.place, v.vars["gtid_mode"])
		case v.vars["gtid_strict_mode"] == "OFF":
			f.warn("set gtid_strict_mode=ON", "%s does not refuse GTIDs out of order", v.place)
		default:
			f.pass("%s", v.place)
		}
	}
}

// binlogFormat: rows, not statements, are replicated; a guard of the reverse pair (trap 18).
func (in *inspection) binlogFormat(_ context.Context, f *finding) {
	f.asked("SELECT @@global.binlog_format")
	for _, v := range f.known(in.sc.views) {
		format, has := v.vars["binlog_format"]
		if has && format != "ROW" {
			f.fail("set binlog_format=ROW", "%s has binlog_format=%s: statements can mean other things in another version", v.place, format)
			continue
		}
		f.pass("%s logs rows", v.place)
	}
}

// skipCounter: a counter that was set with no error pending skips the next transaction silently.
func (in *inspection) skipCounter(_ context.Context, f *finding) {
	f.asked("SELECT @@global.sql_slave_skip_counter")
	for _, v := range f.known(in.sc.views) {
		for _, name := range []string{"sql_slave_skip_counter", "sql_replica_skip_counter"} {
			if n, has := v.vars[name]; has && n != "0" {
				f.fail("set "+name+"=0", "%s would skip %s transactions: %s", v.place, n, name)
			}
		}
		f.pass("%s skips nothing", v.place)
	}
}

// replicationFilters: a node that leaves something out is not a copy; neither is one that is late on purpose.
func (in *inspection) replicationFilters(_ context.Context, f *finding) {
	f.asked("SHOW ALL SLAVES STATUS / SHOW REPLICA STATUS: Replicate_*, SQL_Delay")
	for _, v := range f.known(in.sc.views) {
		for _, c := range v.channels {
			if len(c.filters) > 0 {
				f.fail("remove the filter and rebuild the node", "%s leaves something out: %s", v.place, strings.Join(c.filters, ", "))
			}
			if c.delay != "" && c.delay != "0" {
				f.fail("set the delay to 0", "%s is late on purpose by %s s", v.place, c.delay)
			}
		}
		for _, name := range []string{"binlog_do_db", "binlog_ignore_db"} {
			if val := v.vars[name]; val != "" {
				f.fail("remove "+name, "%s logs only a part: %s=%s", v.place, name, val)
			}
		}
		f.pass("%s leaves nothing out", v.place)
	}
}

// perseverance is how long a replica has to try to reach a source that is away: a night and more, for nobody may be awake.
const perseverance = 24 * time.Hour

// givesUp tells after how long the replica does not try to reach its source any more; 0: never, or late enough.
func (c channel) givesUp() time.Duration {
	if total := time.Duration(c.tries) * c.retry; c.tries > 0 && total < perseverance {
		return max(total, time.Second)
	}
	return 0
}

// replicaRetries: a source that is away for a while does not end replication for ever. MySQL gives up after ten tries unless it
// is told otherwise (8.4 and later); MariaDB tries 100,000 times.
func (in *inspection) replicaRetries(_ context.Context, f *finding) {
	f.asked("SHOW REPLICA STATUS: Source_Retry_Count, Connect_Retry")
	for _, v := range f.known(in.sc.views) {
		for _, c := range v.channels {
			if after := c.givesUp(); after > 0 {
				f.warn("STOP REPLICA IO_THREAD; CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=0; START REPLICA IO_THREAD",
					"%s gives up on its source %s after %d tries, in %v: replication does not come back by itself", v.place, c.source, c.tries, after)
			}
		}
		f.pass("%s does not give up on a source that is away", v.place)
	}
}
