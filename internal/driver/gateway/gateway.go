// Package gateway asks the cells' gateways by their admin API, for the bluegreen strategy's steps.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// Driver implements bluegreen.Gateways.
type Driver struct {
	tokenFile string
	http      *http.Client
	now       func() time.Time
}

// New makes a driver whose token is read from a file of mode 0600 at each call, so that it can be changed.
func New(tokenFile string, now func() time.Time) *Driver {
	return &Driver{tokenFile, &http.Client{Timeout: 40 * time.Second, Transport: &http.Transport{Proxy: nil}}, now}
}

// Client opens a gateway's admin API.
func (d *Driver) Client(g fleet.Gateway) (*adminapi.Client, error) {
	info, err := os.Stat(d.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("token of the gateways' admin API: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s holds the gateways' admin token and can be read by others (mode %04o): chmod 600 it", d.tokenFile, info.Mode().Perm())
	}
	b, err := os.ReadFile(d.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("token of the gateways' admin API: %w", err)
	}
	return adminapi.NewClient(g.Admin, strings.TrimSpace(string(b)), d.http), nil
}

// Observe asks every gateway of the cluster. One that can't be asked says so in its Error.
func (d *Driver) Observe(ctx context.Context, c fleet.Cluster) ([]fleet.GatewayObservation, error) {
	var all []fleet.GatewayObservation
	for _, cell := range c.Cells {
		if cell.Gateway == nil {
			continue
		}
		o := fleet.GatewayObservation{Cell: cell.Name, Gateway: cell.Gateway.Name}
		s, err := d.status(ctx, *cell.Gateway)
		if err != nil {
			o.Error = err.Error()
		} else {
			o.Sessions, o.Primary = s.Sessions(), s.Writer.Primary
			o.Held = s.Switch.Phase == adminapi.PhaseHeld || s.Switch.Phase == adminapi.PhaseDraining
		}
		all = append(all, o)
	}
	return all, nil
}

func (d *Driver) status(ctx context.Context, g fleet.Gateway) (adminapi.Status, error) {
	c, err := d.Client(g)
	if err != nil {
		return adminapi.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := c.Status(ctx)
	if err != nil {
		return s, fmt.Errorf("ask gateway %s at %s: %w", g.Name, g.Admin, err)
	}
	return s, nil
}

// SetServers tells a gateway of every node of the cluster, and which are of its own cell.
func (d *Driver) SetServers(ctx context.Context, g fleet.Gateway, local, all []string, term int64) error {
	c, err := d.Client(g)
	if err != nil {
		return err
	}
	_, err = c.SetServers(ctx, adminapi.ServersRequest{Term: term, Local: local, All: all})
	var lower *adminapi.TermError
	if errors.As(err, &lower) {
		return fmt.Errorf("gateway %s: %w: %w", g.Name, engine.ErrFenced, err)
	}
	if err != nil {
		return fmt.Errorf("tell gateway %s of its servers: %w", g.Name, err)
	}
	return nil
}

// Check looks whether the gateway is fit to take the cluster's clients: it answers, sees every server, routes writes to the
// one that is writable, and holds nothing.
func (d *Driver) Check(ctx context.Context, c fleet.Cluster, g fleet.Gateway) (check.Results, error) {
	now := d.now()
	s, err := d.status(ctx, g)
	if err != nil {
		return check.Results{check.Unknowable("gateway-answers", err, now)}, nil
	}
	rs := check.Results{check.Passed("gateway-answers", fmt.Sprintf("%s runs version %s", g.Name, s.Version), now)}
	if s.Stopping {
		rs = append(rs, check.Failed("gateway-serves", g.Name+" is stopping", "start it again", now))
	}
	if s.Writer.Route == adminapi.RouteOpen && s.Writer.Primary != "" {
		rs = append(rs, check.Passed("gateway-routes", "writes go to "+s.Writer.Primary, now))
	} else {
		rs = append(rs, check.Failed("gateway-routes", fmt.Sprintf("its writer endpoint is %s", s.Writer.Route), "exactly one server of the cluster must be writable, and no switch may hold it", now))
	}
	var missing, blind []string
	for _, cell := range c.Cells {
		for _, n := range cell.Nodes {
			found := false
			for _, sv := range s.Servers {
				if sv.Address != n.Address {
					continue
				}
				found = true
				if sv.Role == adminapi.RoleUnknown {
					blind = append(blind, n.Address+": "+sv.Error)
				}
			}
			if !found {
				missing = append(missing, n.Address)
			}
		}
	}
	switch {
	case len(missing) > 0:
		rs = append(rs, check.Failed("gateway-servers", "it does not know "+strings.Join(missing, ", "), "tell it of every node: the create stage does", now))
	case len(blind) > 0:
		rs = append(rs, check.Failed("gateway-servers", "it can't see "+strings.Join(blind, "; "), "its monitoring account must log in on every node", now))
	default:
		rs = append(rs, check.Passed("gateway-servers", fmt.Sprintf("it sees all %d servers", len(s.Servers)), now))
	}
	return rs, nil
}

// Clients counts client connections, with the addresses that are left.
func (d *Driver) Clients(ctx context.Context, g fleet.Gateway) (int, []string, error) {
	s, err := d.status(ctx, g)
	if err != nil {
		return 0, nil, err
	}
	var left []string
	for _, c := range s.Clients {
		left = append(left, fmt.Sprintf("%s (%d)", c.Address, c.Sessions))
	}
	return s.Sessions(), left, nil
}
