package api

import (
	"context"
	"net/http"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// ThawRequest ends the freezes of exactly these environments; none: those of all.
type ThawRequest struct {
	Environments []string `json:"environments,omitempty"`
	Why          string   `json:"why"`
}

// EndOverrideRequest ends the overrides of a rule in exactly this scope; an approval is one of the rule "approval".
type EndOverrideRequest struct {
	Rule    string `json:"rule"`
	Env     string `json:"env,omitempty"`
	Cluster string `json:"cluster,omitempty"`
	Stage   string `json:"stage,omitempty"`
	Why     string `json:"why"`
}

// RevokeRequest ends a token, which it names by its id, or by whom it was made for.
type RevokeRequest struct {
	Token string `json:"token"`
}

// Thaw ends freezes before they are over.
func (c *Client) Thaw(ctx context.Context, name string, r ThawRequest) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "thaw"), r)
}

// EndOverride ends an override, or an approval, before it expires.
func (c *Client) EndOverride(ctx context.Context, name string, r EndOverrideRequest) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "override/end"), r)
}

// AbortCluster turns the action of one cluster round; the campaign goes on without it.
func (c *Client) AbortCluster(ctx context.Context, name string, ref fleet.ClusterRef, why string) error {
	return do(ctx, c, http.MethodPost, campaignPath(name, "abort"), ScopeRequest{Env: ref.Env, Cluster: ref.Name, Why: why})
}

// Tokens lists all tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]state.TokenInfo, error) {
	r, _, err := call[[]state.TokenInfo](ctx, c, http.MethodGet, "/v1/tokens", nil)
	return r, err
}

// RevokeToken ends a token at once.
func (c *Client) RevokeToken(ctx context.Context, named string) (state.TokenInfo, error) {
	r, _, err := call[state.TokenInfo](ctx, c, http.MethodPost, "/v1/tokens/revoke", RevokeRequest{named})
	return r, err
}
