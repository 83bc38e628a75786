package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// Gateway is one gateway's admin API; *adminapi.Client gives it.
type Gateway interface {
	gatewayReader
	gatewaySwitch
}

type gatewayReader interface {
	Status(ctx context.Context) (adminapi.Status, error)
	Sessions(ctx context.Context) (adminapi.SessionList, error)
}

type gatewaySwitch interface {
	Fence(ctx context.Context, term int64) (adminapi.Status, error)
	Prepare(ctx context.Context, r adminapi.PrepareRequest) (adminapi.PrepareReply, error)
	Hold(ctx context.Context, r adminapi.HoldRequest) (adminapi.SwitchStatus, error)
	Release(ctx context.Context, r adminapi.ReleaseRequest) (adminapi.ReleaseReply, error)
	Cancel(ctx context.Context, r adminapi.CancelRequest) (adminapi.SwitchStatus, error)
}

// gate is one gateway of the cluster.
type gate struct {
	Gateway
	cell string
	desc fleet.Gateway
}

func (g gate) String() string { return g.cell + "/" + g.desc.Name }

// gates are all gateways of the cluster, in every cell.
type gates []gate

func (d *Driver) gates(c fleet.Cluster) (gates, error) {
	var gs gates
	for _, cell := range c.Cells {
		if cell.Gateway == nil {
			continue
		}
		if d.cfg.Gateway == nil {
			return nil, fmt.Errorf("gateway %s/%s: the driver was given no way to reach gateways", cell.Name, cell.Gateway.Name)
		}
		g, err := d.cfg.Gateway(*cell.Gateway)
		if err != nil {
			return nil, fmt.Errorf("gateway %s/%s: %w", cell.Name, cell.Gateway.Name, err)
		}
		gs = append(gs, gate{g, cell.Name, *cell.Gateway})
	}
	return gs, nil
}

// each calls every gateway at once; the answers are in the gateways' order, and the error holds every one that failed.
func each[T any](ctx context.Context, gs gates, call func(ctx context.Context, g gate) (T, error)) ([]T, error) {
	out, errs := make([]T, len(gs)), make([]error, len(gs))
	var eg errgroup.Group
	for i, g := range gs {
		eg.Go(func() error {
			var err error
			if out[i], err = call(ctx, g); err != nil {
				errs[i] = fmt.Errorf("gateway %s: %w", g, fenced(err))
			}
			return nil
		})
	}
	_ = eg.Wait() // every error is in errs
	return out, errors.Join(errs...)
}

// fenced turns a gateway's refusal of our term into the error that the engine knows.
func fenced(err error) error {
	var term *adminapi.TermError
	if errors.As(err, &term) {
		return fmt.Errorf("%w: %w", engine.ErrFenced, err)
	}
	return err
}

// ask gets one gateway's status. One that hangs is given up after a while.
func (d *Driver) ask(ctx context.Context, g gate) (adminapi.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Query)
	defer cancel()
	st, err := g.Status(ctx)
	if err != nil {
		return st, fmt.Errorf("gateway %s: %w", g, fenced(err))
	}
	return st, nil
}

// threads lists the connections that the gateways have to a server: sessions, sessions opened ahead, and monitors. They must
// be asked after the process list that they are compared with: then none is missed that is still there.
func (gs gates) threads(ctx context.Context, address string) (map[uint64]bool, error) {
	type seen struct {
		status   adminapi.Status
		sessions adminapi.SessionList
	}
	all, err := each(ctx, gs, func(ctx context.Context, g gate) (seen, error) {
		var both errgroup.Group
		var a seen
		both.Go(func() (err error) { a.sessions, err = g.Sessions(ctx); return err })
		both.Go(func() (err error) { a.status, err = g.Status(ctx); return err })
		return a, both.Wait()
	})
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	for _, a := range all {
		for _, s := range a.sessions.Sessions {
			if sameAddress(s.Server, address) {
				ids[uint64(s.ThreadID)] = true
			}
			if sameAddress(s.ShadowServer, address) {
				ids[uint64(s.ShadowThreadID)] = true
			}
		}
		for _, s := range a.status.Servers {
			if sameAddress(s.Address, address) {
				for _, id := range s.MonitorIDs {
					ids[uint64(id)] = true
				}
			}
		}
	}
	delete(ids, 0)
	return ids, nil
}

// clients lists the connections to a server that are not ours, nor the server's own, nor a replica's, nor a gateway's, nor
// known.
func (d *Driver) clients(ctx context.Context, s *session, gs gates) ([]process, error) {
	list, err := s.processes(ctx)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(p process) bool {
		return p.internal() || p.dump() || p.user == d.cfg.Admin.User || slices.Contains(d.cfg.Known.Users, p.user) || slices.Contains(d.cfg.Known.Addresses, p.address())
	})
	if len(list) == 0 {
		return nil, nil
	}
	ours, err := gs.threads(ctx, s.node.Address)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(p process) bool { return ours[p.id] })
	if len(list) == 0 {
		return nil, nil
	}
	// A gateway's session that ended between the two questions looks like a stranger: only who is still there is one.
	now, err := s.processes(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(p process) bool {
		return !slices.ContainsFunc(now, func(q process) bool { return q.id == p.id && q.user == p.user })
	}), nil
}

// millis is a duration as the admin API wants it.
func millis(d time.Duration) int64 { return d.Milliseconds() }
