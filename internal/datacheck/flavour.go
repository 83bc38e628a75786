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
	// await waits until the reference has everything of the position.
	await(ctx context.Context, ref *side, position string) error
	// freeze opens the reference's snapshot and tells its exact position.
	freeze(ctx context.Context, ref *side) (string, error)
	// runTo lets a stopped server run to exactly the position, and leaves it stopped there.
	runTo(ctx context.Context, s *side, position string) error
	// stands sees that the server is stopped at exactly the position.
	stands(ctx context.Context, s *side, position string) error
	// hash is the expression of a hash over bytes, in hexadecimal digits.
	hash(expr string) string
}

func flavourOf(c *node.Conn) flavour {
	if c.MariaDB {
		return mariadb{}
	}
	return oracle{}
}

// mariadb tells a snapshot's position without stopping anything.
type mariadb struct{}

func (mariadb) stopsReference() bool    { return false }
func (mariadb) hash(expr string) string { return "MD5(" + expr + ")" }

func (mariadb) await(ctx context.Context, ref *side, position string) error {
	return ref.ctl.Await(ctx, position)
}

func (mariadb) freeze(ctx context.Context, ref *side) (string, error) {
	if err := ref.data.Exec(ctx, "ROLLBACK"); err != nil { // of an earlier try
		return "", err
	}
	p, err := ref.data.Snapshot(ctx)
	return p.String(), err
}

func (mariadb) runTo(ctx context.Context, s *side, position string) error {
	return s.ctl.RunTo(ctx, position)
}

func (mariadb) stands(ctx context.Context, s *side, position string) error {
	return s.ctl.Stands(ctx, position)
}

// oracle is MySQL, which can't tell a snapshot's position: the reference's applier is stopped for the moment of opening it.
type oracle struct{}

func (oracle) stopsReference() bool    { return true }
func (oracle) hash(expr string) string { return "SHA2(" + expr + ", 256)" }

func (oracle) await(ctx context.Context, ref *side, position string) error {
	return node.Wait(ctx, func() (bool, error) {
		var has bool
		err := ref.ctl.One(ctx, "SELECT GTID_SUBSET("+node.Quote(position)+", @@global.gtid_executed)", &has)
		return has, err
	}, func() error { return fmt.Errorf("%s has not come to %q", ref.name, position) })
}

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
	if err := ref.data.Exec(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"); err != nil {
		return "", fmt.Errorf("open a snapshot on %s: %w", ref.name, err)
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

func (o oracle) runTo(ctx context.Context, s *side, position string) error {
	same, err := o.same(ctx, s, position)
	if err != nil || same {
		return err
	}
	return s.ctl.RunUntil(ctx, position)
}

func (oracle) same(ctx context.Context, s *side, position string) (same bool, err error) {
	p := node.Quote(position)
	err = s.ctl.One(ctx, "SELECT GTID_SUBSET("+p+", @@global.gtid_executed) AND GTID_SUBSET(@@global.gtid_executed, "+p+")", &same)
	return same, err
}

func (o oracle) stands(ctx context.Context, s *side, position string) error {
	same, err := o.same(ctx, s, position)
	if err != nil {
		return err
	}
	if !same {
		return fmt.Errorf("%s did not stop at exactly %q", s.name, position)
	}
	return s.ctl.Stopped(ctx)
}
