package mysql

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// tidy chooses the elect, raises the term everywhere, and puts right what an earlier try left: the old primary is writable
// here, so nothing of it is needed any more.
func (r *run) tidy(ctx context.Context) error {
	for _, v := range r.sc.views {
		s, err := r.to(ctx, v.place)
		if err != nil {
			return err
		}
		if err := s.raise(ctx, r.req.Term); err != nil {
			return err
		}
	}
	if _, err := each(ctx, r.gs, func(ctx context.Context, g gate) (adminapi.SwitchStatus, error) {
		return g.Cancel(ctx, adminapi.CancelRequest{Switch: r.req.ID, Term: r.req.Term})
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	for _, v := range r.sc.views {
		st := v.standing
		if st == nil || v == r.old || !aim(r.req).at(v) || st.Role != isPromoting && st.Switch != r.req.ID {
			continue
		}
		s, err := r.to(ctx, v.place)
		if err != nil {
			return err
		}
		if st.Role != isReplica {
			if err := s.note(ctx, r.req.Term, v.uuid, isReplica, r.req.ID, detail{}); err != nil {
				return err
			}
		}
		if ch, ok := v.channel(); ok && ch.stopped {
			if err := s.attach(ctx, r.old, r.req.Term); err != nil {
				return err
			}
		}
	}
	so, err := r.to(ctx, r.old.place)
	if err != nil {
		return err
	}
	if st := r.old.standing; st != nil && st.Role == isDemoting {
		r.det = st.Detail
		if err := r.restoreOld(ctx, so); err != nil {
			return err
		}
		r.det = detail{}
	}
	// A replica whose source was restarted takes a moment to be back.
	for stop := time.Now().Add(r.b.maxLag); ; {
		r.sc = r.d.look(ctx, r.req.Cluster)
		if r.old, err = r.sc.primary(); err != nil {
			return err
		}
		var why []string
		if r.elect, why = r.sc.electOf(r.old, aim(r.req), r.req.ID); r.elect != nil {
			break
		}
		if time.Now().After(stop) {
			return fmt.Errorf("%w: no node of %s is fit to become the primary: %s", ErrNotReady, aim(r.req), strings.Join(why, "; "))
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
	r.log = r.log.With("old", r.old.place.String(), "elect", r.elect.place.String())
	return nil
}

// pin gives the elect the old version's default collations. Set after sessions are opened there it would not reach them. It
// lasts until the way back is closed, or the server restarts: WayBack looks at it, and whoever makes a server writable
// that was restarted pins it again.
func (r *run) pin(ctx context.Context) error {
	s, err := r.to(ctx, r.elect.place)
	if err != nil {
		return err
	}
	return s.pin(ctx, r.req.Term, r.sc, &r.det)
}

// pinned is the variable that decides what "CHARACTER SET utf8mb4" means, MariaDB 11.2 and later.
const pinned = "character_set_collations"

func (s *session) pin(ctx context.Context, term int64, sc *scene, det *detail) error {
	older := false
	for _, v := range sc.views {
		older = older || v.err == nil && v.version.less(s.version)
	}
	now, err := s.variables(ctx, pinned)
	if err != nil {
		return err
	}
	value, has := now[pinned]
	if !has || value == "" || !older {
		return nil
	}
	det.Collation = &value
	return s.act(ctx, term, "keep the old version's default collations", "SET GLOBAL "+pinned+"=''")
}

// both are the sessions to the old primary and to the elect.
func (r *run) both(ctx context.Context) (so, se *session, err error) {
	if so, err = r.to(ctx, r.old.place); err != nil {
		return nil, nil, err
	}
	se, err = r.to(ctx, r.elect.place)
	return so, se, err
}

// markRow writes a marked row on the old primary and sees it on the elect: replication works now, and the elect's own binary
// log holds an event of the present history, so that others can follow it.
func (r *run) markRow(ctx context.Context) error {
	so, se, err := r.both(ctx)
	if err != nil {
		return err
	}
	row, err := so.writeProof(ctx, r.req.Term)
	if err != nil {
		return err
	}
	if err := se.seeProof(ctx, row, r.b.maxLag); err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	return nil
}

// prepare opens the gateways' sessions on the elect, ahead.
func (r *run) prepare(ctx context.Context) error {
	replies, err := each(ctx, r.gs, func(ctx context.Context, g gate) (adminapi.PrepareReply, error) {
		return g.Prepare(ctx, adminapi.PrepareRequest{Switch: r.req.ID, Term: r.req.Term, Target: r.elect.node.Address})
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotReady, err)
	}
	for i, rep := range replies {
		if !rep.OK() {
			return fmt.Errorf("%w: gateway %s can't move its sessions: %s", ErrNotReady, r.gs[i], complaints(rep))
		}
	}
	return nil
}

// complaints says what stands against moving a gateway's sessions.
func complaints(r adminapi.PrepareReply) string {
	out := append([]string{}, r.Problems...)
	for _, b := range r.Unmovable {
		out = append(out, fmt.Sprintf("session %d of %s from %s holds a %s: %s", b.Session, b.User, b.Client, b.Kind, b.Detail))
	}
	for _, a := range r.Accounts {
		if a.Error != "" {
			out = append(out, fmt.Sprintf("account %s can't log in: %s", a.User, a.Error))
		}
	}
	return strings.Join(out, "; ")
}

// closeBehind is how long the elect may take for what the old primary has, before anything is held.
const closeBehind = 500 * time.Millisecond

// catchUp waits until the elect is close behind: a switch with a lag would hold clients for as long as the lag.
func (r *run) catchUp(ctx context.Context) error {
	so, se, err := r.both(ctx)
	if err != nil {
		return err
	}
	stop := time.Now().Add(r.b.maxLag)
	for {
		now := so.look(ctx)
		if now.err != nil {
			return now.err
		}
		began := time.Now()
		there, err := se.fl.wait(ctx, se, now.target(), max(time.Until(stop), closeBehind))
		if err != nil {
			return err
		}
		took := time.Since(began)
		if there && took < closeBehind {
			return nil
		}
		if time.Now().After(stop) {
			return fmt.Errorf("%w: the elect %s did not catch up within %v: it is not less than %v behind", ErrNotReady, r.elect.place, r.b.maxLag, took.Round(time.Millisecond))
		}
	}
}

// noteIntent writes down on both servers what they are about to be, and what the old one did as primary: the new one takes
// that over.
func (r *run) noteIntent(ctx context.Context) error {
	so, se, err := r.both(ctx)
	if err != nil {
		return err
	}
	r.det.From, r.det.To = r.old.place.String(), r.elect.place.String()
	r.det.Semisync = r.old.vars[so.fl.semisync().source] == "ON"
	r.det.Scheduler = r.old.vars["event_scheduler"]
	if r.det.Events, err = so.enabledEvents(ctx); err != nil {
		return err
	}
	if err := se.note(ctx, r.req.Term, r.elect.uuid, isReplica, r.req.ID, r.det); err != nil {
		return err
	}
	r.req.Point("note-elect")
	if err := so.note(ctx, r.req.Term, r.old.uuid, isDemoting, r.req.ID, r.det); err != nil {
		return err
	}
	// Opened before anything is held: leftovers uses it.
	if _, err := r.second(ctx, r.old.place); err != nil {
		return err
	}
	// The demotion waits no longer than this for statements that run; the hold is longer (trap 3).
	return so.exec(ctx, fmt.Sprintf("SET SESSION lock_wait_timeout=%d", int(r.b.demote.Seconds())))
}

// enabledEvents lists the events that run on a primary, quoted.
func (s *session) enabledEvents(ctx context.Context) ([]string, error) {
	rs, err := s.rows(ctx, "SELECT EVENT_SCHEMA, EVENT_NAME FROM information_schema.EVENTS WHERE STATUS='ENABLED' ORDER BY 1, 2")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		out = append(out, ident(r["EVENT_SCHEMA"])+"."+ident(r["EVENT_NAME"]))
	}
	return out, nil
}
