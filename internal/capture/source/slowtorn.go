package source

import (
	"bytes"
	"errors"
	"io"

	"github.com/windlass-db/windlass/internal/query"
)

// most is how much is read to find out whether a head belongs to a text, in bytes.
const most = 256 << 10

// whole reports whether a text is a statement with the semicolon that the log puts behind it.
func whole(text []byte) bool {
	return bytes.HasSuffix(text, []byte(";")) && query.Ended(text, query.Mode{})
}

// upTo decides what a text is that a line follows which looks like a head. If the text is within quotes there, the line may be a part of a value, or the
// entry was torn. Then what follows is read up to where the quotes are closed before another head: if the last part of that is a whole entry by itself, the
// first was torn; else all of it is one value. It gives the text, and the line is read again if it is none of it.
func (s *slowLog) upTo(l line, text []byte) ([]byte, error) {
	ahead := append(bytes.Clone(l.text), '\n')
	if query.Ended(text, query.Mode{}) {
		s.lines.unread(ahead)
		return text, nil
	}
	long := append(append(bytes.Clone(text), '\n'), l.text...)
	p := part{head: true} // behind the last head
	for len(ahead) < most {
		n, err := s.lines.next()
		if errors.Is(err, io.EOF) {
			if whole(p.text) {
				break
			}
			if !whole(long) { // the log was cut within the text
				s.lines.lose(len(ahead))
				s.lines.loss.Cut = true
			}
			return long, nil
		}
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(n.text, userLine) || bytes.HasPrefix(n.text, timeLine) {
			if whole(long) && !whole(p.text) {
				s.lines.unread(append(bytes.Clone(n.text), '\n'))
				return long, nil
			}
			if whole(p.text) {
				s.lines.unread(append(bytes.Clone(n.text), '\n'))
				break
			}
			p = part{head: true}
		}
		p.add(n.text)
		long = append(append(long, '\n'), n.text...)
		ahead = append(ahead, n.text...)
		if n.ended {
			ahead = append(ahead, '\n')
		}
	}
	s.lines.unread(ahead)
	return text, nil
}

// part is what may be an entry.
type part struct {
	head bool // nothing but its head was there yet
	text []byte
}

func (p *part) add(text []byte) {
	var h head
	if p.head && (bytes.HasPrefix(text, []byte("#")) || h.set(text) || h.use(text, new(string))) {
		return
	}
	if !p.head {
		p.text = append(p.text, '\n')
	}
	p.head = false
	p.text = append(p.text, text...)
}
