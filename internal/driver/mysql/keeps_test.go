package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/check"
)

// Every node of the cell has to keep its binary logs for long enough, by whichever variable says so.
func TestBinaryLogsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, 1)
	blue := w.server("blue-1")
	for _, c := range []struct {
		set, variable string
		verdict       check.Verdict
		says          string
	}{
		{"0", "binlog_expire_logs_seconds", check.Pass, "never deletes"},
		{"86400", "binlog_expire_logs_seconds", check.Fail, "blue/blue-1 keeps its binary logs for 24h0m0s"},
		{"10", "expire_logs_days", check.Pass, "for 240h0m0s"},
		{"0.5", "expire_logs_days", check.Fail, "for 12h0m0s"},
	} {
		blue.Exec(t, "SET GLOBAL "+c.variable+"="+c.set)
		cs, err := w.d.KeepsLogs(bg(t), w.c, "blue", 36*time.Hour)
		if err != nil || len(cs) != 1 || cs[0].Name != "binlogs-kept" || cs[0].Verdict != c.verdict || !strings.Contains(cs[0].Detail, c.says) {
			t.Errorf("%s=%s: %+v, %v", c.variable, c.set, cs, err)
		}
		if c.verdict == check.Fail && !strings.Contains(cs[0].Remedy, "binlog_expire_logs_seconds = 129600") {
			t.Errorf("the remedy is %q", cs[0].Remedy)
		}
	}
	for vars, want := range map[string]time.Duration{"binlog_expire_logs_seconds=864000.000": 240 * time.Hour, "binlog_expire_logs_seconds=60 binlog_expire_logs_auto_purge=OFF": 0, "": 0} {
		m := map[string]string{}
		for v := range strings.FieldsSeq(vars) {
			name, value, _ := strings.Cut(v, "=")
			m[name] = value
		}
		if got, err := keptFor(m); err != nil || got != want {
			t.Errorf("%s: %v, %v", vars, got, err)
		}
	}
	if _, err := keptFor(map[string]string{"expire_logs_days": "soon"}); err == nil {
		t.Error("what can't be read is taken for 'for ever'")
	}
}
