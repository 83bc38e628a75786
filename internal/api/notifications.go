package api

import (
	"context"
	"net/http"

	"github.com/windlass-db/windlass/internal/notify"
)

// Notifications tells how the sinks of events stand, as the server that answers sees it.
func (c *Client) Notifications(ctx context.Context) ([]notify.Status, error) {
	all, _, err := call[[]notify.Status](ctx, c, http.MethodGet, "/v1/notifications", nil)
	return all, err
}
