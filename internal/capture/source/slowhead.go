package source

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// user reads "# User@Host: app[app] @ localhost [127.0.0.1]", behind which MySQL has "  Id:     8".
func (h *head) user(text []byte) bool {
	v := string(text[len(userLine):])
	before, host, ok := strings.Cut(v, "] @ ")
	open := strings.LastIndexByte(before, '[')
	if !ok || open < 0 || !strings.Contains(host, "[") || !strings.Contains(host, "]") {
		return false
	}
	h.e.user = before[open+1:]
	if _, id, ok := strings.Cut(host, "Id:"); ok {
		h.e.conn, h.mysql = strings.TrimSpace(id), true
	}
	return true
}

// line reads one of the lines between User@Host and the statement: names with a colon, each with its value.
func (h *head) line(text string) {
	if _, rest, ok := strings.Cut(text, "Schema: "); ok && strings.HasPrefix(text, "# Thread_id: ") {
		schema, _, _ := strings.Cut(rest, "  QC_hit:") // a name may have blanks in it
		h.e.schema, h.named = schema, true
	}
	f := strings.Fields(strings.TrimPrefix(text, "#"))
	for i := 0; i+1 < len(f); i++ {
		key, ok := strings.CutSuffix(f[i], ":")
		if !ok {
			continue
		}
		v := f[i+1]
		switch key {
		case "Thread_id":
			h.e.conn = v
		case "Query_time":
			h.e.took = seconds(v)
		case "Rows_sent":
			h.e.rows, _ = strconv.ParseUint(v, 10, 64)
		case "Rows_affected":
			h.e.affected, _ = strconv.ParseUint(v, 10, 64)
		case "Errno":
			n, _ := strconv.ParseUint(v, 10, 16)
			h.e.errno, h.extra = uint16(n), true
		}
	}
}

// longestQuery is more than a statement takes: what a log says beyond that is damaged.
const longestQuery = 10 * 365 * 24 * time.Hour

func seconds(v string) time.Duration {
	s, err := strconv.ParseFloat(v, 64)
	if err != nil || !(s > 0) || s > longestQuery.Seconds() {
		return 0
	}
	return time.Duration(s*1e6+0.5) * time.Microsecond
}

// use reads the line that changes the schema for this entry and those after it that name none.
func (h *head) use(text []byte, schema *string) bool {
	v, ok := bytes.CutPrefix(text, []byte("use "))
	v, end := bytes.CutSuffix(v, []byte(";"))
	if !ok || !end || len(v) == 0 || len(v) > 256 {
		return false
	}
	*schema = strings.Trim(string(v), "`")
	return true
}

// set reads "SET timestamp=1795291199;", which may have last_insert_id and insert_id before the time, and a fraction behind it.
func (h *head) set(text []byte) bool {
	v, ok := bytes.CutPrefix(text, []byte("SET "))
	v, end := bytes.CutSuffix(v, []byte(";"))
	if !ok || !end {
		return false
	}
	for part := range strings.SplitSeq(string(v), ",") {
		key, n, _ := strings.Cut(part, "=")
		switch key {
		case "timestamp":
			s, err := strconv.ParseFloat(n, 64)
			if err != nil || s < 0 || s > 1<<40 {
				return false
			}
			h.e.stamp = time.UnixMicro(int64(s * 1e6))
			return true
		case "insert_id":
			h.e.insertID, _ = strconv.ParseUint(n, 10, 64)
		case "last_insert_id":
		default:
			return false
		}
	}
	return false
}

// when says when a statement began. MySQL's Time is when it ended. MariaDB's is the second in which it began, as SET timestamp is, unless a session has set its clock.
func (s *slowLog) when(e *entry) {
	switch {
	case s.exact: // Start and End of log_slow_extra are by the session's clock
		e.start = s.ends.Add(-e.took)
	case !e.stamp.IsZero():
		e.second = e.stamp.Truncate(time.Second)
	default:
		e.second = s.ends
	}
}
