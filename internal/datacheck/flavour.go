package datacheck

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// flavour is how servers of a product come to one position.
type flavour interface {
	// stopsReference tells whether freeze stops the reference's applier for a moment.
	stopsReference() bool
	// freeze opens the reference's snapshot and tells its exact position.
	freeze(ctx context.Context, ref *side) (string, error)
}

func flavourOf(c *node.Conn) flavour {
	if c.MariaDB {
		return mariadb{}
	}
	return oracle{}
}

// mariadb tells a snapshot's position without stopping anything.
type mariadb struct{}

func (mariadb) stopsReference() bool { return false }

func (mariadb) freeze(ctx context.Context, ref *side) (string, error) {
	if err := ref.data.Exec(ctx, "ROLLBACK"); err != nil { // of an earlier try
		return "", err
	}
	p, err := ref.data.Snapshot(ctx)
	return p.String(), err
}

// oracle is MySQL, which can't tell a snapshot's position: the reference's applier is stopped for the moment of opening it.
type oracle struct{}

func (oracle) stopsReference() bool { return true }

func (oracle) freeze(ctx context.Context, ref *side) (string, error) {
	if !ref.replica {
		return "", fmt.Errorf("%s is a primary of MySQL, which can't tell a snapshot's position without a lock on all writes: compare with a replica", ref.name)
	}
	if err := ref.data.Exec(ctx, "ROLLBACK"); err != nil {
		return "", err
	}
	if err := ref.ctl.Stop(ctx); err != nil {
		return "", err
	}
	if err := node.Freeze(ctx, ref.data, ref.name); err != nil {
		return "", err
	}
	position, err := ref.ctl.Position(ctx)
	if err != nil {
		return "", err
	}
	if err := ref.ctl.Stopped(ctx); err != nil {
		return "", err
	}
	return position, ref.ctl.Start(ctx)
}
