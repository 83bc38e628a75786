package api

import (
	"context"
	"net/http"
	"net/url"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// Apply stores a fleet, a campaign, or both. If they can't be applied, the Error has all that is wrong with them.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (state.Applied, error) {
	out, _, err := call[state.Applied](ctx, c, http.MethodPost, "/v1/apply", r)
	return out, err
}

// Fleets lists the fleets as they are now, with what campaigns have made of them.
func (c *Client) Fleets(ctx context.Context) ([]fleet.Fleet, error) {
	all, _, err := call[[]fleet.Fleet](ctx, c, http.MethodGet, "/v1/fleets", nil)
	return all, err
}

// Forget takes a cluster out of the inventory.
func (c *Client) Forget(ctx context.Context, ref fleet.ClusterRef, r ForgetRequest) error {
	return do(ctx, c, http.MethodPost, "/v1/clusters/"+url.PathEscape(ref.Env)+"/"+url.PathEscape(ref.Name)+"/forget", r)
}
