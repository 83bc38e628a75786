package mysql

import (
	"context"
	"strings"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// rehearsal is what the gateways answered to a dry run of preparing, asked once for an inspection.
type rehearsal struct {
	replies []adminapi.PrepareReply
	err     error
	asked   bool
}

func (in *inspection) prepared(ctx context.Context) rehearsal {
	if in.rehearsed.asked {
		return in.rehearsed
	}
	in.rehearsed.asked = true
	switch {
	case in.gsErr != nil:
		in.rehearsed.err = in.gsErr
	case in.elect == nil:
		in.rehearsed.err = errNoElect
	default:
		in.rehearsed.replies, in.rehearsed.err = each(ctx, in.gs, func(ctx context.Context, g gate) (adminapi.PrepareReply, error) {
			return g.Prepare(ctx, adminapi.PrepareRequest{Switch: in.req.ID, Term: in.req.Term, Target: in.elect.node.Address, DryRun: true})
		})
	}
	return in.rehearsed
}

// gateways: every gateway of every cell answers, has seen no higher term, is in no other switch, knows every node and sends
// writes to the primary (trap 12).
func (in *inspection) gateways(ctx context.Context, f *finding) {
	f.asked("GET " + adminapi.PathStatus)
	if in.gsErr != nil {
		f.unknown(in.gsErr)
		return
	}
	if len(in.gs) == 0 {
		if in.d.cfg.WithoutGateways {
			f.warn("", "no gateway is registered: clients will see errors")
			return
		}
		f.fail("register the gateways of the cells", "no gateway is registered, so nothing could hold the clients")
		return
	}
	states := make([]adminapi.Status, len(in.gs))
	for i, g := range in.gs {
		st, err := in.d.ask(ctx, g)
		if err != nil {
			f.unknown(err)
			continue
		}
		states[i] = st
		switch {
		case st.Term > in.req.Term:
			f.fail("somebody else has taken over", "gateway %s has seen term %d, ours is %d", g, st.Term, in.req.Term)
		case st.Stopping:
			f.fail("wait until it is gone, or start it again", "gateway %s is stopping", g)
		case st.Switch.Phase != adminapi.PhaseIdle && st.Switch.Switch != in.req.ID:
			f.fail("let that switch end", "gateway %s is in switch %s", g, st.Switch.Switch)
		case in.primary != nil && st.Switch.Phase == adminapi.PhaseIdle && (st.Writer.Route != adminapi.RouteOpen || !sameAddress(st.Writer.Primary, in.primary.node.Address)):
			f.fail("find out what the gateway sees", "gateway %s does not send writes to the primary %s: it is %s, to %q", g, in.primary.node.Address, st.Writer.Route, st.Writer.Primary)
		default:
			f.pass("gateway %s with %d sessions", g, st.Sessions())
		}
		for _, v := range in.sc.views {
			known := false
			for _, s := range st.Servers {
				known = known || sameAddress(s.Address, v.node.Address)
			}
			if !known {
				f.fail("tell the gateway of every node", "gateway %s does not know %s (%s)", g, v.place, v.node.Address)
			}
		}
	}
}

// gatewayPrepare: every gateway can log in on the elect with every account, and restore every session there (traps 21, 22, 26).
func (in *inspection) gatewayPrepare(ctx context.Context, f *finding) {
	f.asked("POST " + adminapi.PathPrepare + " dry_run")
	p := in.prepared(ctx)
	if p.err != nil {
		f.unknown(p.err)
		return
	}
	for i, r := range p.replies {
		if !r.OK() {
			f.fail("see to the sessions and accounts that are named", "gateway %s: %s", in.gs[i], complaints(r))
			continue
		}
		if len(r.Warnings) > 0 {
			f.warn("", "gateway %s: %s", in.gs[i], strings.Join(r.Warnings, "; "))
		}
		f.pass("gateway %s can move %d of %d sessions, and logs %d accounts in", in.gs[i], r.Ready, r.Sessions, len(r.Accounts))
	}
	if len(p.replies) == 0 {
		f.pass("there is no gateway")
	}
}
