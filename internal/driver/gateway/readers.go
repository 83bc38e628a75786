package gateway

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Readers counts the client sessions that the gateway has on the server at that address. A server that it does not know is an error.
func (d *Driver) Readers(ctx context.Context, g fleet.Gateway, address string) (int, error) {
	s, err := d.status(ctx, g)
	if err != nil {
		return 0, err
	}
	for _, sv := range s.Servers {
		if sv.Address == address {
			return sv.Sessions, nil
		}
	}
	return 0, fmt.Errorf("gateway %s does not know the server %s", g.Name, address)
}
