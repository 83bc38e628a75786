package server

import (
	"context"
	"errors"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/server/web"
	"github.com/windlass-db/windlass/internal/state"
)

// Spec is a campaign as it was applied, for the page that draws its path.
func (p pages) Spec(ctx context.Context, name string) (campaign.Campaign, error) {
	snap, err := p.s.cfg.Store.Snapshot(ctx, name)
	if errors.Is(err, state.ErrNotFound) {
		return campaign.Campaign{}, web.ErrNotFound
	}
	return snap.Campaign, err
}

var _ web.Specs = pages{}
