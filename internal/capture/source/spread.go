package source

import (
	"errors"
	"io"
	"time"
)

// spreader gives statements of one second moments in it, in their order: the log says no more. One that took long comes after those of later seconds; it
// began somewhere in its own. One whose session has set its clock is taken as of the second around it.
type spreader struct {
	from  *slowLog
	group []*entry
	ready int // of the group, were given
	ahead []*entry
	err   error
}

// Bounds: how many statements of one second are held, and how far the log's time goes on from one statement to the next, if not by a session's own clock.
const (
	maxGroup = 1 << 16
	maxLeap  = time.Hour
)

func (s *spreader) next() (*entry, error) {
	if s.ready == len(s.group) {
		if err := s.fill(); err != nil {
			return nil, err
		}
	}
	e := s.group[s.ready]
	s.group[s.ready] = nil
	s.ready++
	return e, nil
}

func (s *spreader) read() (*entry, error) {
	if len(s.ahead) > 0 {
		e := s.ahead[0]
		s.ahead = s.ahead[1:]
		return e, nil
	}
	if s.err != nil {
		return nil, s.err
	}
	e, err := s.from.next()
	if errors.Is(err, io.EOF) {
		s.err = err
	}
	return e, err
}

// fill reads the statements of one second, or one that needs none of this.
func (s *spreader) fill() error {
	s.group, s.ready = s.group[:0], 0
	first, err := s.read()
	if err != nil {
		return err
	}
	s.group = append(s.group, first)
	if first.second.IsZero() {
		return nil
	}
	second, own := first.second, []*entry{first}
	for len(s.group) < maxGroup {
		e, err := s.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		ahead := e.second.Sub(second)
		switch {
		case e.second.IsZero():
		case ahead == 0:
			own = append(own, e)
			s.group = append(s.group, e)
			continue
		case ahead < 0 && -ahead > e.took+maxLeap, ahead > maxLeap && s.returns(second):
			e.second = second // by its session's own clock
			own = append(own, e)
			s.group = append(s.group, e)
			continue
		case ahead < 0:
			e.start = e.second.Add(time.Second / 2)
			s.group = append(s.group, e)
			continue
		}
		s.ahead = append([]*entry{e}, s.ahead...)
		break
	}
	for i, e := range own {
		e.start = e.second.Add(time.Duration(2*i+1) * time.Second / time.Duration(2*len(own)))
	}
	return nil
}

// returns reports whether the statement after the one that was just read is near a second again.
func (s *spreader) returns(second time.Time) bool {
	if len(s.ahead) == 0 {
		e, err := s.read()
		if err != nil {
			s.err = err
			return false
		}
		s.ahead = append(s.ahead, e)
	}
	next := s.ahead[0].second
	d := next.Sub(second)
	return !next.IsZero() && d >= 0 && d < maxLeap
}
