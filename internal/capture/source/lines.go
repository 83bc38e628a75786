package source

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/windlass-db/windlass/internal/capture"
)

// lines cuts a log into lines and counts what is no entry.
type lines struct {
	from *bufio.Reader
	back []byte // to be read again, before what follows
	buf  []byte
	loss capture.Loss
	lost bool // the line before was lost, too
}

// line is one line of a log, without its end.
type line struct {
	text  []byte // valid until the next one is read
	cut   uint64 // bytes that were left out at its end
	size  int    // bytes in the log
	ended bool   // it has a line's end
}

// next gives the next line; at the end io.EOF. Zeros at its beginning, which a truncated file has, are passed over.
func (l *lines) next() (line, error) {
	var out line
	if len(l.back) > 0 {
		at := bytes.IndexByte(l.back, '\n')
		out.ended = at >= 0
		if !out.ended {
			at = len(l.back)
		}
		out.text, out.size = l.back[:at], at
		l.back = l.back[at:]
		if out.ended {
			l.back, out.size = l.back[1:], at+1
			return out, nil
		}
		l.buf = append(l.buf[:0], out.text...) // the rest is in the log
	} else {
		l.buf = l.buf[:0]
	}
	for {
		part, err := l.from.ReadSlice('\n')
		if len(l.buf) == 0 && out.size == 0 {
			zeros := len(part) - len(bytes.TrimLeft(part, "\x00"))
			if zeros > 0 {
				l.lose(zeros)
				part = part[zeros:]
			}
		}
		out.size += len(part)
		if err == nil {
			out.ended, part = true, part[:len(part)-1]
		}
		if room := capture.MaxPayload - len(l.buf); len(part) > room {
			out.cut += uint64(len(part) - room)
			part = part[:room]
		}
		l.buf = append(l.buf, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && (!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) || out.size == 0):
			if errors.Is(err, io.ErrUnexpectedEOF) { // of a compressed log
				l.loss.Cut = true
				err = io.EOF
			}
			return line{}, err
		}
		out.text = l.buf
		return out, nil
	}
}

// unread gives back what was read, with all its lines' ends.
func (l *lines) unread(text []byte) {
	l.back = append(bytes.Clone(text), l.back...)
}

// lose counts bytes that are no entry. Those that follow one another are one place.
func (l *lines) lose(bytes int) {
	if !l.lost {
		l.loss.Damaged++
	}
	l.lost = true
	l.loss.Bytes += int64(bytes)
}

// found says that an entry was read.
func (l *lines) found() { l.lost = false }
