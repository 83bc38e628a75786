package exec

import (
	"context"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/inplace"
)

var _ inplace.Nodes = (*Provisioner)(nil)

// Upgrade raises a node to the resource's version over its own data, behind a copy of it. The mark is the one that Observe saw; a node of
// the site's own may have none.
func (p *Provisioner) Upgrade(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	return p.call(ctx, Upgrade, r)
}

// Restore puts the copy back, and starts the version that it is of.
func (p *Provisioner) Restore(ctx context.Context, r bluegreen.Resource) (bluegreen.ResourceState, error) {
	return p.call(ctx, Restore, r)
}

// Discard deletes the copy. One that is gone is fine.
func (p *Provisioner) Discard(ctx context.Context, r bluegreen.Resource) error {
	_, err := p.call(ctx, Discard, r)
	return err
}
