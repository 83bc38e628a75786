package source

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/query"
)

// slowLog reads the slow log of MariaDB and MySQL. An entry is lines that begin with #, USE if the schema has changed, SET with the time, and the statement with a
// semicolon. Nothing says where a statement ends but the head of the next one, which a statement's text may hold as well.
type slowLog struct {
	lines *lines
	zone  *time.Location
	about *sequence

	ends   time.Time // of the last Time line; zero: there was none. MariaDB's is of the beginning
	exact  bool      // that line has microseconds
	schema string    // of the last USE, for entries that name none
}

// head are the lines that begin an entry.
type head struct {
	e     entry
	named bool // the schema is in the head
	extra bool // of log_slow_extra
	mysql bool
}

// The beginnings of lines.
var (
	timeLine = []byte("# Time: ")
	userLine = []byte("# User@Host: ")
	adminCmd = []byte("# administrator command: ")
)

func (s *slowLog) next() (*entry, error) {
	for {
		l, err := s.lines.next()
		if err != nil {
			return nil, err
		}
		switch {
		case !l.ended: // the log ends here: what was not a whole line is no entry
			s.lines.lose(l.size)
			s.lines.loss.Cut = true
		case bytes.HasPrefix(l.text, timeLine):
			if !s.time(l.text) {
				s.lines.lose(l.size)
			}
		case bytes.HasPrefix(l.text, userLine):
			e, err := s.entry(l)
			if err != nil && !errors.Is(err, errNone) || e != nil {
				return e, err
			}
		case started(l.text):
			return s.started(l.text)
		case banner(l.text) || len(l.text) == 0:
		default:
			s.lines.lose(l.size)
		}
	}
}

// started reports whether a server began to write here: "/usr/sbin/mariadbd, Version: 10.11.18-MariaDB-log (Debian). started with:".
func started(text []byte) bool {
	return bytes.Contains(text, []byte(", Version: ")) && bytes.HasSuffix(text, []byte("started with:"))
}

// banner reports whether a line is one of the two behind that.
func banner(text []byte) bool {
	return bytes.HasPrefix(text, []byte("Tcp port: ")) || bytes.HasPrefix(text, []byte("Time")) && bytes.HasSuffix(text, []byte("Argument"))
}

func (s *slowLog) started(text []byte) (*entry, error) {
	_, rest, _ := strings.Cut(string(text), ", Version: ")
	version, _, _ := strings.Cut(rest, " ")
	server := "mysql"
	if strings.Contains(rest, "MariaDB") {
		server = "mariadb"
	}
	s.about.meta.Server, s.about.meta.Version = server, version
	s.schema = ""
	return &entry{restart: true, start: s.ends}, nil
}

// time reads a Time line: "# Time: 261121 19:40:01", with a blank for the first digit of an hour, or "# Time: 2026-11-21T19:40:01.123456Z", or with +01:00.
func (s *slowLog) time(text []byte) bool {
	v := strings.TrimSpace(string(text[len(timeLine):]))
	if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
		s.ends, s.exact = t, true
		return true
	}
	if t, err := time.ParseInLocation("060102 15:04:05", strings.Replace(v, "  ", " 0", 1), s.zone); err == nil {
		s.ends, s.exact = t, false
		return true
	}
	return false
}

// errNone means that what was read is no entry; it is counted already.
var errNone = errors.New("no entry")

// entry reads an entry from its User@Host line on.
func (s *slowLog) entry(first line) (*entry, error) {
	h := head{}
	lost := first.size
	if !h.user(first.text) {
		s.lines.lose(lost)
		return nil, errNone
	}
	var text []byte
	var cut uint64
	began, atEnd := false, false // the text began; the log ended in it
read:
	for {
		l, err := s.lines.next()
		if errors.Is(err, io.EOF) {
			atEnd = true
			break
		}
		if err != nil {
			return nil, err
		}
		switch {
		case began && !l.ended && whole(text): // the next one's first line is cut
			s.lines.lose(l.size)
			s.lines.loss.Cut = true
			break read
		case !began && !l.ended:
			s.lines.lose(lost + l.size)
			s.lines.loss.Cut = true
			return nil, errNone
		case !began && bytes.HasPrefix(l.text, userLine): // an entry without a text
			s.lines.unread(append(bytes.Clone(l.text), '\n'))
			s.lines.lose(lost)
			return nil, errNone
		case !began && bytes.HasPrefix(l.text, []byte("# ")) && !bytes.HasPrefix(l.text, adminCmd) || !began && string(l.text) == "#":
			h.line(string(l.text))
			lost += l.size
			continue
		case !began && h.e.stamp.IsZero() && h.use(l.text, &s.schema):
			lost += l.size
			continue
		case !began && h.e.stamp.IsZero() && h.set(l.text):
			lost += l.size
			continue
		}
		if began && s.begins(l, text) {
			if text, err = s.upTo(l, text); err != nil {
				return nil, err
			}
			break read
		}
		if began {
			text = append(text, '\n')
		}
		began = true
		text = append(text, l.text...)
		cut += l.cut
		lost += l.size
		if !l.ended {
			atEnd = true
			break
		}
	}
	if atEnd && !whole(text) && cut == 0 {
		s.lines.lose(lost)
		s.lines.loss.Cut = true
		return nil, errNone
	}
	return s.whole(h, text, cut, lost)
}

// begins reports whether a line in a text looks like the next entry's first, or like a server's that was started.
func (s *slowLog) begins(l line, text []byte) bool {
	switch {
	case bytes.HasPrefix(l.text, timeLine):
		probe := slowLog{zone: s.zone}
		return probe.time(l.text)
	case bytes.HasPrefix(l.text, userLine):
		h := head{}
		return h.user(l.text)
	}
	return started(l.text) && bytes.HasSuffix(text, []byte(";"))
}

// whole makes the entry, if its text is.
func (s *slowLog) whole(h head, text []byte, cut uint64, lost int) (*entry, error) {
	if cut == 0 && !whole(text) && !(bytes.HasSuffix(text, []byte(";")) && query.Ended(text, query.Mode{NoBackslashEscapes: true})) {
		s.lines.lose(lost)
		return nil, errNone
	}
	s.lines.found()
	e := &h.e
	text = bytes.TrimSuffix(text, []byte(";"))
	e.text, e.cut = text, cut
	switch {
	case h.mysql && h.extra:
		e.source = slowMySQLExtra
	case h.mysql:
		e.source = slowMySQL
	default:
		e.source = slowMariaDB
	}
	if !h.named {
		e.schema = s.schema
	}
	s.when(e)
	if cmd, ok := bytes.CutPrefix(text, adminCmd); ok {
		switch string(cmd) {
		case "Quit", "Change user", "Reset connection":
			e.quit, e.text = true, nil
			return e, nil
		}
		return nil, errNone // a Ping, a Prepare, a Close stmt: their work is logged as it is done
	}
	return e, nil
}
