package exec

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"unicode/utf8"
)

// errTooMuch means that the program wrote more than an answer can be.
var errTooMuch = errors.New("too much output")

// capped keeps what is written, up to a limit, and calls over once when there is more.
type capped struct {
	buf  bytes.Buffer
	most int
	over func()
}

func (c *capped) Write(p []byte) (int, error) {
	if c.buf.Len()+len(p) > c.most {
		if c.over != nil {
			c.over()
			c.over = nil
		}
		return 0, errTooMuch
	}
	return c.buf.Write(p)
}

// The bounds of what one call may log.
const (
	mostLine  = 2000 // bytes; the rest of the line is left out
	mostLines = 500
	tailLines = 5 // kept for the error's text
)

// lines turns standard error into log lines, and keeps the last ones.
type lines struct {
	mu      sync.Mutex
	log     *slog.Logger
	hide    hider
	part    []byte
	cut     bool // the rest of the line is left out
	n       int
	tail    []string
	skipped int
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		// As much more is kept as a secret may be long that begins within the line: it is hidden before the line is cut.
		if room := mostLine + l.hide.longest - len(l.part); len(line) > room {
			line, l.cut = line[:room], true
		}
		l.part = append(l.part, line...)
		if ended {
			l.flush()
		}
		rest = after
	}
	return len(p), nil
}

func (l *lines) flush() {
	text := strings.TrimRight(l.hide.hide(printable(l.part)), " \t")
	if len(text) > mostLine {
		text, l.cut = strings.ToValidUTF8(text[:mostLine], ""), true
	}
	if l.cut {
		text += "…"
	}
	l.part, l.cut = l.part[:0], false
	if text == "" {
		return
	}
	if l.n++; l.n > mostLines {
		l.skipped++
	} else {
		l.log.Info(text)
	}
	l.tail = append(l.tail, text)
	if len(l.tail) > tailLines {
		l.tail = l.tail[1:]
	}
}

// end logs what is left, and returns the last lines.
func (l *lines) end() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
	if l.skipped > 0 {
		l.log.Warn("the program wrote more lines than are logged", "left_out", l.skipped)
		l.skipped = 0
	}
	return strings.Join(l.tail, " / ")
}

// printable makes bytes of another program safe to show in a terminal.
func printable(b []byte) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if r < ' ' || r == 0x7F || r == utf8.RuneError {
			return -1
		}
		return r
	}, strings.TrimRight(string(b), "\r"))
}
