package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/switchover"
)

// inspection is what a list of checks looks at: one scene, and connections that are opened as checks need them.
type inspection struct {
	d        *Driver
	sc       *scene
	req      switchover.Request
	primary  *view   // nil: there is not exactly one
	elect    *view   // nil: none is fit
	replicas []*view // nodes that will be, or are, replicas; the unknown ones too
	maxLag   time.Duration
	gs       gates
	gsErr    error

	sessions  map[string]*session
	rehearsed rehearsal

	found, latent []string // of wayBackRisks
}

// namedCheck is one check: a stable name and what it looks at. It writes what it sees into the finding.
type namedCheck struct {
	name string
	look func(in *inspection, ctx context.Context, f *finding)
}

// run makes the checks in their order, each with the time at which it looked.
func (in *inspection) run(ctx context.Context, list []namedCheck) check.Results {
	in.sessions = map[string]*session{}
	defer func() {
		for _, s := range in.sessions {
			s.close()
		}
	}()
	var out check.Results
	for _, c := range list {
		f := &finding{}
		c.look(in, ctx, f)
		r := f.result(c.name, in.d.cfg.Now())
		if err := ctx.Err(); err != nil {
			r = check.Unknowable(c.name, err, in.d.cfg.Now())
		}
		out = append(out, r)
	}
	return out
}

// on gives the session to a node.
func (in *inspection) on(ctx context.Context, p place) (*session, error) {
	if s := in.sessions[p.String()]; s != nil && !s.lost {
		return s, nil
	}
	s, err := in.d.lookTo(ctx, p)
	if err != nil {
		return nil, err
	}
	in.sessions[p.String()] = s
	return s, nil
}

// finding collects what one check sees; the worst is its verdict.
type finding struct {
	said     map[check.Verdict][]string
	remedies []string
	evidence []string
}

func (f *finding) say(v check.Verdict, format string, args ...any) {
	if f.said == nil {
		f.said = map[check.Verdict][]string{}
	}
	f.said[v] = append(f.said[v], fmt.Sprintf(format, args...))
}

func (f *finding) pass(format string, args ...any) { f.say(check.Pass, format, args...) }
func (f *finding) warn(remedy, format string, args ...any) {
	f.say(check.Warn, format, args...)
	f.remedy(remedy)
}
func (f *finding) fail(remedy, format string, args ...any) {
	f.say(check.Fail, format, args...)
	f.remedy(remedy)
}
func (f *finding) unknown(err error) { f.say(check.Unknown, "%v", err) }

func (f *finding) remedy(r string) {
	if r != "" && !slices.Contains(f.remedies, r) {
		f.remedies = append(f.remedies, r)
	}
}

// asked notes a query that the verdict rests on.
func (f *finding) asked(query string) {
	if !slices.Contains(f.evidence, query) {
		f.evidence = append(f.evidence, query)
	}
}

func (f *finding) result(name string, at time.Time) check.Result {
	r := check.Result{Name: name, Verdict: check.Unknown, Detail: "nothing was looked at", At: at, Remedy: strings.Join(f.remedies, "; "), Evidence: strings.Join(f.evidence, "; ")}
	for _, v := range []check.Verdict{check.Fail, check.Unknown, check.Warn, check.Pass} {
		if said := f.said[v]; len(said) > 0 {
			r.Verdict, r.Detail = v, strings.Join(said, "; ")
			if v == check.Unknown {
				r.Detail = "could not be observed: " + r.Detail
			}
			break
		}
	}
	if r.Verdict == check.Pass {
		r.Remedy = ""
	}
	return r
}

var (
	errNoPrimary = errors.New("there is not exactly one primary that could be asked")
	errNoElect   = errors.New("no node of the target cell is fit to become the primary")
)

// needPrimary opens a session to the primary, or says that it can't.
func (in *inspection) needPrimary(ctx context.Context, f *finding) *session {
	if in.primary == nil {
		f.unknown(errNoPrimary)
		return nil
	}
	return in.need(ctx, f, in.primary)
}

func (in *inspection) needElect(ctx context.Context, f *finding) *session {
	if in.elect == nil {
		f.unknown(errNoElect)
		return nil
	}
	return in.need(ctx, f, in.elect)
}

func (in *inspection) need(ctx context.Context, f *finding, v *view) *session {
	if v.err != nil {
		f.unknown(v.err)
		return nil
	}
	s, err := in.on(ctx, v.place)
	if err != nil {
		f.unknown(err)
		return nil
	}
	return s
}

// known gives the readable ones of the views; the others make the finding unknown.
func (f *finding) known(vs []*view) []*view {
	var out []*view
	for _, v := range vs {
		if v.err != nil {
			f.unknown(v.err)
			continue
		}
		out = append(out, v)
	}
	return out
}

// electOf chooses who becomes the primary: one of the target, read-only, replicating straight from the primary; the one that the
// same switch chose before, else the least behind, else the first by name. It says why the others are not fit.
func (sc *scene) electOf(primary *view, to target, switchID string) (*view, []string) {
	banned := strings.Split(sc.cluster.Labels[LabelNeverPrimary], ",")
	var fit []*view
	var why []string
	for _, v := range sc.views {
		if !to.at(v) || v == primary {
			continue
		}
		ch, replica := v.channel()
		switch {
		case v.err != nil:
			why = append(why, fmt.Sprintf("%s could not be read", v.place))
		case slices.ContainsFunc(banned, func(b string) bool { return strings.TrimSpace(b) == v.node.Name }):
			why = append(why, fmt.Sprintf("%s is banned by the label %s", v.place, LabelNeverPrimary))
		case !replica:
			why = append(why, fmt.Sprintf("%s does not replicate", v.place))
		case primary == nil || !v.follows(primary.node.Address):
			why = append(why, fmt.Sprintf("%s replicates from %s, not straight from the primary", v.place, ch.source))
		case !ch.healthy():
			why = append(why, fmt.Sprintf("%s: %s", v.place, ch.trouble()))
		default:
			fit = append(fit, v)
		}
	}
	if len(fit) == 0 {
		return nil, why
	}
	slices.SortStableFunc(fit, func(a, b *view) int {
		chosen := func(v *view) bool { return v.standing != nil && v.standing.Switch == switchID && switchID != "" }
		if chosen(a) != chosen(b) {
			if chosen(a) {
				return -1
			}
			return 1
		}
		ca, _ := a.channel()
		cb, _ := b.channel()
		if ca.lag != cb.lag {
			return int(ca.lag/time.Second) - int(cb.lag/time.Second)
		}
		return strings.Compare(a.node.Name, b.node.Name)
	})
	return fit[0], why
}

// parallel runs the look at every view at once; each writes into a finding of its own, joined in the views' order.
func parallel(vs []*view, f *finding, look func(v *view, f *finding)) {
	fs := make([]*finding, len(vs))
	var g errgroup.Group
	for i, v := range vs {
		fs[i] = &finding{}
		g.Go(func() error { look(v, fs[i]); return nil })
	}
	_ = g.Wait() // findings hold the errors
	for _, one := range fs {
		for v, said := range one.said {
			for _, t := range said {
				f.say(v, "%s", t)
			}
		}
		for _, r := range one.remedies {
			f.remedy(r)
		}
		for _, e := range one.evidence {
			f.asked(e)
		}
	}
}

// reversePairs lists the nodes that would replicate from a newer version than their own (trap 18).
func (in *inspection) reversePairs() []*view {
	if in.elect == nil {
		return nil
	}
	var out []*view
	for _, v := range in.sc.views {
		if v.err == nil && v != in.elect && v.version.less(in.elect.version) {
			out = append(out, v)
		}
	}
	return out
}
