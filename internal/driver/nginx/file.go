package nginx

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/fleet"
)

// file is an upstream: its servers, and all other lines as they are.
type file struct {
	term  int64
	lines []line
}

// line is one of a server, or any other.
type line struct {
	text string
	srv  *server
}

// server is a line "server ADDRESS parameters;".
type server struct {
	address string
	weight  int // 1 unless the line says another; 100 is full
	down    bool
	others  string // parameters that are none of ours, with blanks before them
}

var (
	termLine   = regexp.MustCompile(`^# windlass: term (\d+)\b`)
	blocks     = regexp.MustCompile(`\b(server|upstream)\b`)
	serverLine = regexp.MustCompile(`^\s*server\s+([^\s;]+)((?:\s+[^;\s]+)*)\s*;\s*(?:#.*)?$`)
)

const notice = "; windlass changes this file, and nobody else"

// parse reads a file. It has to hold the upstream, and every server on a line of its own.
func parse(name, upstream string, text []byte) (*file, error) {
	f := &file{}
	head := regexp.MustCompile(`^\s*upstream\s+` + regexp.QuoteMeta(upstream) + `\s*\{\s*(?:#.*)?$`)
	found := false
	for i, t := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		code, _, _ := strings.Cut(t, "#")
		m, srv := termLine.FindStringSubmatch(t), serverLine.FindStringSubmatch(t)
		switch {
		case m != nil:
			term, err := strconv.ParseInt(m[1], 10, 64)
			if err != nil {
				return nil, &RefusedError{name, fmt.Sprintf("line %d holds no term: %q", i+1, t)}
			}
			f.term = term
		case head.MatchString(t):
			if found {
				return nil, &RefusedError{name, fmt.Sprintf("line %d begins the upstream %s a second time", i+1, upstream)}
			}
			found = true
			f.lines = append(f.lines, line{text: t})
		case srv != nil:
			s, err := parseServer(srv[1], srv[2])
			if err != nil {
				return nil, &RefusedError{name, fmt.Sprintf("line %d: %v", i+1, err)}
			}
			f.lines = append(f.lines, line{srv: s})
		case blocks.MatchString(code):
			return nil, &RefusedError{name, fmt.Sprintf("line %d can't be read; each server has to stand on a line of its own, and the file holds the upstream %s alone: %q", i+1, upstream, t)}
		default:
			f.lines = append(f.lines, line{text: t})
		}
	}
	if !found {
		return nil, &RefusedError{name, "there is no line \"upstream " + upstream + " {\""}
	}
	return f, nil
}

func parseServer(address, parameters string) (*server, error) {
	s := &server{address: address, weight: 1}
	for _, p := range strings.Fields(parameters) {
		w, isWeight := strings.CutPrefix(p, "weight=")
		switch {
		case isWeight:
			n, err := strconv.Atoi(w)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%q is no weight", p)
			}
			s.weight = n
		case p == "down":
			s.down = true
		default:
			s.others += " " + p
		}
	}
	return s, nil
}

// server is the one line of a node.
func (f *file) server(n fleet.Node, name string) (*server, error) {
	var found *server
	for _, l := range f.lines {
		if l.srv == nil || l.srv.address != n.Address {
			continue
		}
		if found != nil {
			return nil, &RefusedError{name, fmt.Sprintf("%s (%s) is there twice", n.Name, n.Address)}
		}
		found = l.srv
	}
	if found == nil {
		return nil, &RefusedError{name, fmt.Sprintf("there is no server %s, the address of %s", n.Address, n.Name)}
	}
	return found, nil
}

// given are the servers that get requests while any of them answers; none if there is no file.
func (f *file) given() (all []*server) {
	if f == nil {
		return nil
	}
	for _, l := range f.lines {
		if l.srv != nil && !l.srv.down && !slices.Contains(strings.Fields(l.srv.others), "backup") {
			all = append(all, l.srv)
		}
	}
	return all
}

// text is the file as it is written.
func (f *file) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# windlass: term %d%s\n", f.term, notice)
	for _, l := range f.lines {
		s := l.srv
		if s == nil {
			b.WriteString(l.text + "\n")
			continue
		}
		fmt.Fprintf(&b, "    server %s weight=%d%s", s.address, s.weight, s.others)
		if s.down {
			b.WriteString(" down")
		}
		b.WriteString(";\n")
	}
	return b.Bytes()
}
