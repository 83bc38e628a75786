package source

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// vtgate reads vtgate's query log, one line for each statement.
type vtgate struct {
	lines  *lines
	zone   *time.Location
	about  *sequence
	source string
	cut    func(line []byte) (fields, bool)
}

// fields are what is used of a line, as it stands there, without quotes and escapes.
type fields struct {
	method, remote, user, caller, start, end, sql, binds, affected, failed, uuid, keyspace string
}

func (v *vtgate) next() (*entry, error) {
	for {
		l, err := v.lines.next()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(l.text)) == 0 {
			continue
		}
		var e *entry
		f, ok := v.cut(l.text)
		if ok && l.cut == 0 {
			e, ok = v.entry(f)
		}
		if !ok || l.cut > 0 {
			v.lines.lose(l.size)
			v.lines.loss.Cut = v.lines.loss.Cut || !l.ended
			continue
		}
		v.lines.found()
		if e != nil {
			return e, nil
		}
	}
}

// moment is how vtgate writes times: its machine's, without a zone.
const moment = "2006-01-02 15:04:05.000000"

// errno finds the server's error in the text of one.
var errno = regexp.MustCompile(`\(errno (\d{1,5})\) \(sqlstate (\w{5})\)`)

// entry makes an entry of a line: none if the line is of nothing that was run, or of something that can't be run again.
func (v *vtgate) entry(f fields) (*entry, bool) {
	start, err1 := time.ParseInLocation(moment, f.start, v.zone)
	end, err2 := time.ParseInLocation(moment, f.end, v.zone)
	if err1 != nil || err2 != nil || f.method == "" {
		return nil, false
	}
	e := &entry{start: start, took: max(end.Sub(start), 0), user: f.user, source: v.source}
	if e.user == "" {
		e.user = f.caller
	}
	if e.conn = f.uuid; e.conn == "" {
		e.conn = f.remote // of the client's connection
	}
	e.schema, _, _ = strings.Cut(f.keyspace, "@")
	e.schema, _, _ = strings.Cut(e.schema, ":")
	e.affected, _ = strconv.ParseUint(f.affected, 10, 64)
	if f.failed != "" {
		e.errno, e.state = 1105, "HY000" // what clients see of an error that has no number
		if m := errno.FindStringSubmatch(f.failed); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 16)
			e.errno, e.state = uint16(n), m[2]
		}
	}
	switch f.method {
	case "Prepare", "StreamExecutePrepare":
		return nil, true // what is prepared is logged when it is run
	case "CloseSession":
		e.quit = true
		return e, true
	}
	reason := ""
	switch {
	case f.sql == "":
		reason = DroppedUnstated
	case strings.HasSuffix(f.sql, "[TRUNCATED]"):
		reason = DroppedCut
	case f.sql == redacted || f.binds == `"`+redacted+`"` && holds(f.sql):
		reason = DroppedRedacted
	default:
		if e.text, reason = bind(f.sql, f.binds); reason != "" {
			e.text = nil
		}
	}
	if reason != "" {
		v.about.drop(reason)
		return nil, true
	}
	return e, true
}

const redacted = "[REDACTED]"

// textFields cuts a line of tabs. Its end differs by release: the keyspace and the table came and went, then the session, the tables and the active keyspace were added.
func textFields(text []byte) (f fields, ok bool) {
	p := strings.Split(strings.TrimRight(string(text), "\r\t"), "\t")
	if len(p) < 17 {
		return fields{}, false
	}
	f = fields{method: p[0], remote: p[1], user: p[2], caller: strings.Trim(p[3], "'"), start: p[5], end: p[6], binds: p[13], affected: p[15]}
	if f.sql, ok = unquoted(p[12]); !ok {
		return fields{}, false
	}
	if f.failed, ok = unquoted(p[16]); !ok {
		return fields{}, false
	}
	if _, err := strconv.ParseUint(f.affected, 10, 64); err != nil {
		return fields{}, false
	}
	for i := 17; i < len(p); i++ {
		if p[i] != "true" && p[i] != "false" { // whether the plan was cached
			continue
		}
		if f.uuid, ok = unquoted(p[i-1]); !ok {
			return fields{}, false
		}
		if i+2 < len(p) { // behind the tables
			if f.keyspace, ok = unquoted(p[i+2]); !ok {
				return fields{}, false
			}
		}
		break
	}
	return f, true
}

// unquoted is the value of a field in quotes.
func unquoted(s string) (string, bool) {
	v, rest, ok := quotedString(s)
	return v, ok && rest == ""
}

// jsonFields reads a line that is nearly JSON: its texts have the escapes of Go.
func jsonFields(text []byte) (f fields, ok bool) {
	ok = object(string(text), func(key, value string) bool {
		to := (*string)(nil)
		switch key {
		case "Method":
			to = &f.method
		case "RemoteAddr":
			to = &f.remote
		case "Username":
			to = &f.user
		case "ImmediateCaller":
			to = &f.caller
		case "Start":
			to = &f.start
		case "End":
			to = &f.end
		case "SQL":
			to = &f.sql
		case "Error":
			to = &f.failed
		case "SessionUUID":
			to = &f.uuid
		case "ActiveKeyspace":
			to = &f.keyspace
		case "BindVars":
			f.binds = value
			return true
		case "RowsAffected":
			f.affected = value
			return true
		default:
			return true
		}
		v, ok := unquoted(value)
		*to = v
		return ok
	})
	return f, ok
}
