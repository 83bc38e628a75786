package writes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/plans"
	"github.com/windlass-db/windlass/internal/replay/probe"
	"github.com/windlass-db/windlass/internal/replay/tally"
)

// tried is what was seen of one kind of write.
type tried struct {
	runs    int
	reads   [2]int64
	changed int64
	told    bool
}

// Bounds of trying.
const (
	mostEffort = 5                // statements of one kind whose effort is counted while they are replayed
	mostTrying = 20 * time.Second // for one kind
	worseTimes = 10               // so many times as many rows read are a finding
	worseReads = 1000             // and at the least so many more
)

// readsOf is how many rows and keys the session has read.
func readsOf(ctx context.Context, p *probe.Session) (n int64, err error) {
	rs, err := p.Rows(ctx, "SHOW SESSION STATUS LIKE 'Handler_read%'")
	if err != nil {
		return 0, err
	}
	for _, row := range rs {
		v, err := strconv.ParseInt(row["Value"], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: counter %s: %w", p.Name, row["Variable_name"], err)
		}
		n += v
	}
	return n, nil
}

// baseline is what asking costs by itself.
func baseline(ctx context.Context, p *probe.Session) (int64, error) {
	a, err := readsOf(ctx, p)
	if err != nil {
		return 0, err
	}
	b, err := readsOf(ctx, p)
	return b - a, err
}

// Measured is what came of trying one write on both clones.
type Measured struct {
	Runs  int             `json:"runs"`
	Pairs []tally.Pair    `json:"pairs"`
	Old   compare.Answer  `json:"old"` // the first answers
	New   compare.Answer  `json:"new"`
	Reads [2]int64        `json:"reads"` // rows and keys that the first run read, old and new
	Plans tally.Explained `json:"plans"`
	Kind  compare.Kind    `json:"kind,omitempty"` // in what the answers differ
}

// Worse says why the new version is worse by effort; "" if it is not.
func (m Measured) Worse() string { return worse(m.Reads, int64(m.New.Affected)) }

func worse(reads [2]int64, changed int64) string {
	if reads[1] < worseTimes*max(reads[0], 1) || reads[1]-reads[0] < worseReads {
		return ""
	}
	return fmt.Sprintf("reads %d rows on the new version and %d on the old one, to change %d", reads[1], reads[0], changed)
}

// ErrKept means that a try could not be rolled back, so that the clones are not equal any more.
var ErrKept = errors.New("what was tried could not be rolled back")

// Measure tries one write on both clones, in transactions that are rolled back: plan, answer, rows read, and times in pairs, whose order is by turns. The sessions are outside of a transaction, before and after.
// Who calls has guarded both servers.
func Measure(ctx context.Context, old, new *probe.Session, s tally.Statement, traits query.Traits, times int) (m Measured, err error) {
	if m.Plans, _, _, err = plans.Compare(ctx, old, new, s); err != nil && !errors.Is(err, plans.ErrUnfit) {
		return m, err
	}
	p := [2]*probe.Session{old, new}
	began := time.Now()
	for ; m.Runs < times && (m.Runs == 0 || time.Since(began) < mostTrying); m.Runs++ {
		var res [2]probe.Result
		for _, side := range []int{m.Runs % 2, 1 - m.Runs%2} {
			var reads int64
			if res[side], reads, err = try(ctx, p[side], s); err != nil {
				return m, err
			}
			if m.Runs == 0 {
				m.Reads[side] = reads
			}
		}
		if m.Runs == 0 {
			m.Old, m.New = res[0].Answer, res[1].Answer
			m.Kind = compare.Difference(traits, m.Old, m.New)
			if m.Old.Errno != 0 || m.New.Errno != 0 {
				m.Runs++
				return m, nil
			}
			continue // it has warmed both
		}
		m.Pairs = append(m.Pairs, tally.Pair{A: res[0].Answer.Took, B: res[1].Answer.Took})
	}
	return m, nil
}

func try(ctx context.Context, p *probe.Session, s tally.Statement) (res probe.Result, reads int64, err error) {
	if err := p.Enter(ctx, s); err != nil {
		return res, 0, err
	}
	base, err := baseline(ctx, p)
	if err != nil {
		return res, 0, err
	}
	if err := p.Exec(ctx, "START TRANSACTION"); err != nil {
		return res, 0, err
	}
	before, err := readsOf(ctx, p)
	if err != nil {
		return res, 0, err
	}
	if res, err = p.Run(ctx, s); err != nil {
		return res, 0, err
	}
	after, err := readsOf(ctx, p)
	if err != nil {
		return res, 0, err
	}
	end, err := p.Run(ctx, tally.Statement{Command: 0x03, Text: []byte("ROLLBACK")})
	if err != nil {
		return res, 0, err
	}
	if end.Answer.Errno != 0 || end.Answer.Warnings > 0 {
		return res, 0, fmt.Errorf("%w: %s on %s", ErrKept, s.Text, p.Name)
	}
	return res, max(0, after-before-base), nil
}

// measureAll tries the first statement of each kind.
func (r *run) measureAll(ctx context.Context, steps []*step) error {
	loose, err := r.loose(ctx)
	if err != nil {
		return err
	}
	var p [2]*probe.Session
	for i := range p {
		if p[i], err = r.session(ctx, i); err != nil {
			return err
		}
		defer p[i].Close()
	}
	seen := map[tally.Fingerprint]bool{}
	for _, s := range steps {
		if seen[s.fp] || s.made || !dml.MatchString(s.normal) || !s.traits.Has(query.Writes) || s.traits.Has(query.OwnSession) {
			continue
		}
		seen[s.fp] = true
		if name := probe.Mentions(s.stmt.Text, loose); name != "" { // it could not be rolled back
			continue
		}
		m, err := Measure(ctx, p[0], p[1], s.stmt, s.traits, r.Measure)
		if err != nil {
			return fmt.Errorf("try %s: %w", s.normal, err)
		}
		r.told(s, m)
	}
	return nil
}

// told gives the tally what trying has shown.
func (r *run) told(s *step, m Measured) {
	t := r.out.Tally
	t.AddPlan(s.fp, m.Plans)
	for i := range m.Pairs {
		t.AddTimes(s.fp, s.id+uint64(i), &m.Pairs[i], nil)
	}
	if why := m.Worse(); why != "" {
		r.slower(s, why, m.Plans, &m.Old, &m.New)
	}
	if m.Kind != "" && m.New.Errno != 0 { // an answer that differs is seen again when it is replayed; an error may not be
		t.AddFound(s.fp, tally.Seen{Text: []byte(s.normal), Traits: s.traits}, m.Kind, tally.Found{ID: s.id, At: s.start, Detail: "tried before the replay: " + m.New.Message, Statement: s.stmt, Old: &m.Old, New: &m.New})
	}
}

func (r *run) slower(s *step, why string, e tally.Explained, old, new *compare.Answer) {
	tr := r.tried[s.fp]
	if tr == nil {
		tr = &tried{}
		r.tried[s.fp] = tr
	}
	if tr.told {
		return
	}
	tr.told = true
	if e.Differs && e.Why != "" {
		why += " (" + e.Why + ")"
	}
	r.out.Tally.AddFound(s.fp, tally.Seen{Text: []byte(s.normal), Traits: s.traits}, compare.Slow, tally.Found{ID: s.id, At: s.start, Detail: why, Statement: s.stmt, Old: old, New: new})
}

// before says whether the effort of a statement is counted.
func (r *run) before(_ context.Context, s *step) (*tried, error) {
	if s.made || !dml.MatchString(s.normal) || !s.traits.Has(query.Writes) {
		return nil, nil
	}
	tr := r.tried[s.fp]
	if tr == nil {
		tr = &tried{}
		r.tried[s.fp] = tr
	}
	if tr.runs >= mostEffort {
		return nil, nil
	}
	return tr, nil
}

// effort adds what a replayed statement has read.
func (r *run) effort(s *step, tr *tried, res [2]probe.Result, reads [2]int64) {
	if res[0].Answer.Errno != 0 || res[1].Answer.Errno != 0 {
		return
	}
	tr.runs++
	tr.reads[0] += reads[0]
	tr.reads[1] += reads[1]
	tr.changed += int64(res[1].Answer.Affected)
	if why := worse(tr.reads, tr.changed); why != "" {
		e := tally.Explained{}
		if q := r.out.Tally.Queries[s.fp]; q != nil && q.Explained != nil {
			e = *q.Explained
		}
		r.slower(s, why, e, &res[0].Answer, &res[1].Answer)
	}
}

// loose lists the tables of both that no transaction holds.
func (r *run) loose(ctx context.Context) ([]string, error) {
	var out []string
	for _, c := range r.ctl {
		rs, err := c.Rows(ctx, probe.LooseSQL)
		if err != nil {
			return nil, fmt.Errorf("find the tables of %s that no transaction holds: %w", c.Node.Name, err)
		}
		for _, row := range rs {
			out = append(out, strings.ToLower(row["name"]))
		}
	}
	return out, nil
}
