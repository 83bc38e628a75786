package mysql

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/fleet"
)

// KeepsLogs looks whether every node of the cell keeps its binary logs for at least so long: whichever of them is the primary then, a node
// that was away, or was put back to a copy of its data, finds in them what it missed.
func (d *Driver) KeepsLogs(ctx context.Context, c fleet.Cluster, cell string, least time.Duration) (check.Results, error) {
	sc := d.look(ctx, c)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var nodes []*view
	for _, v := range sc.views {
		if v.cell == cell {
			nodes = append(nodes, v)
		}
	}
	in := &inspection{d: d, sc: sc, replicas: nodes}
	return in.run(ctx, []namedCheck{{"binlogs-kept", func(in *inspection, ctx context.Context, f *finding) {
		f.asked("SHOW GLOBAL VARIABLES: binlog_expire_logs_seconds, expire_logs_days, max_binlog_total_size")
		parallel(f.known(in.replicas), f, func(v *view, f *finding) {
			s, err := in.d.lookTo(ctx, v.place)
			if err != nil {
				f.unknown(err)
				return
			}
			defer s.close()
			vars, err := s.variables(ctx, "log_bin", "binlog_expire_logs_seconds", "expire_logs_days", "binlog_expire_logs_auto_purge", "max_binlog_total_size")
			if err != nil {
				f.unknown(err)
				return
			}
			kept, err := keptFor(vars)
			switch {
			case err != nil:
				f.unknown(errors.New(v.place.String() + ": " + err.Error()))
			case vars["log_bin"] != "ON":
				f.fail("start it with log_bin", "%s writes no binary log", v.place)
			case kept > 0 && kept < least:
				f.fail("until the campaign has ended: SET GLOBAL binlog_expire_logs_seconds = "+strconv.FormatInt(int64(least.Seconds()), 10)+", on every node of the cell and in its option file",
					"%s keeps its binary logs for %v: a node that is put back to the copy of its data may need what was written in %v", v.place, kept, least)
			case vars["max_binlog_total_size"] != "" && vars["max_binlog_total_size"] != "0":
				f.warn("see that it is more than is written in "+least.String(), "%s keeps no more than %s bytes of binary logs", v.place, vars["max_binlog_total_size"])
			case kept == 0:
				f.pass("%s never deletes its binary logs by age", v.place)
			default:
				f.pass("%s keeps its binary logs for %v", v.place, kept)
			}
		})
	}}}), nil
}

// keptFor is how long a server with these variables keeps its binary logs; 0: for ever.
func keptFor(vars map[string]string) (time.Duration, error) {
	text, unit := vars["binlog_expire_logs_seconds"], time.Second
	if text == "" { // MariaDB before 10.6
		text, unit = vars["expire_logs_days"], 24*time.Hour
	}
	if text == "" || vars["binlog_expire_logs_auto_purge"] == "OFF" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(n * float64(unit)), nil
}
