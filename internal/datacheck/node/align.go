package node

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Grace is how long Resume tries to leave an applier running.
const Grace = 30 * time.Second

// patience is how long a replica may be on its way to its source.
const patience = 20 * time.Second

// Running sees that a replica's replication runs. One that is just connecting is waited for.
func (c *Conn) Running(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var a Applier
	return Wait(ctx, func() (bool, error) {
		var err error
		if a, err = c.Applier(ctx); err != nil {
			return false, err
		}
		if !a.Exists || !a.SQL || !a.IO && !a.Connecting {
			return false, fmt.Errorf("%s can't be compared: %s", c.Node.Name, a)
		}
		return a.IO, nil
	}, func() error { return fmt.Errorf("%s can't be compared: %s", c.Node.Name, a) })
}

// String tells what the replication does.
func (a Applier) String() string {
	switch {
	case !a.Exists:
		return "it is read-only and replicates from nowhere"
	case a.Error != "":
		return "its replication has stopped: " + a.Error
	case a.Connecting && a.SQL:
		return "it does not reach its source " + a.Source
	case !a.IO || !a.SQL:
		return "its replication is stopped"
	}
	return "its replication runs"
}

// Endless reports whether replication runs, or is on its way to its source, without an end; a node that has none needs none.
func (a Applier) Endless() bool { return !a.Exists || a.SQL && (a.IO || a.Connecting) && !a.Until }

// Resume sees that an applier runs without an end. A node without one is left as it is.
func (c *Conn) Resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, Grace)
	defer cancel()
	a, err := c.Applier(ctx)
	if err != nil {
		return err
	}
	if !a.Exists { // there is none any more
		return nil
	}
	if a.Until { // it would stop at the position that it was given
		if err := c.Stop(ctx); err != nil {
			return err
		}
	}
	if a.Until || !a.IO || !a.SQL {
		if err := c.Start(ctx); err != nil {
			return err
		}
	}
	return Wait(ctx, func() (bool, error) {
		a, err := c.Applier(ctx)
		if err == nil && !a.SQL && a.Error != "" {
			return false, fmt.Errorf("the replication of %s does not go on: %s", c.Node.Name, a.Error)
		}
		return a.IO && a.SQL, err
	}, func() error { return fmt.Errorf("the replication of %s was started and does not run", c.Node.Name) })
}

// Await waits until a MariaDB has everything of the position, by replication or by its own writes.
func (c *Conn) Await(ctx context.Context, position string) error {
	want, err := ParsePosition(position)
	if err != nil {
		return err
	}
	text := ""
	return Wait(ctx, func() (bool, error) {
		if err := c.One(ctx, "SELECT CONCAT(@@global.gtid_binlog_pos, ',', @@global.gtid_slave_pos)", &text); err != nil {
			return false, err
		}
		have, err := ParsePosition(text)
		return have.Reaches(want), err
	}, func() error { return fmt.Errorf("%s has not come from %q to %q", c.Node.Name, text, position) })
}

// RunTo lets a stopped MariaDB run to exactly the position, and leaves it stopped there. One that is past it is an error.
func (c *Conn) RunTo(ctx context.Context, position string) error {
	want, err := ParsePosition(position)
	if err != nil {
		return err
	}
	have, err := c.applied(ctx)
	if err != nil || have.Equal(want) {
		return err
	}
	if !want.Reaches(have) {
		return fmt.Errorf("%s stands at %q, past %q: it has transactions that the reference does not have", c.Node.Name, have, position)
	}
	return c.RunUntil(ctx, position)
}

func (c *Conn) applied(ctx context.Context) (Position, error) {
	text, err := c.Position(ctx)
	if err != nil {
		return nil, err
	}
	return ParsePosition(text)
}

// Stands sees that a MariaDB is stopped at exactly the position.
func (c *Conn) Stands(ctx context.Context, position string) error {
	have, err := c.applied(ctx)
	if err != nil {
		return err
	}
	if have.String() != position {
		return fmt.Errorf("%s stopped at %q instead of %q", c.Node.Name, have, position)
	}
	return c.Stopped(ctx)
}

// Stopped sees that nobody has started the applier.
func (c *Conn) Stopped(ctx context.Context) error {
	a, err := c.Applier(ctx)
	if err != nil {
		return err
	}
	if a.SQL {
		return fmt.Errorf("somebody else started the replication of %s while it was held at a position", c.Node.Name)
	}
	return nil
}

// RunUntil starts a stopped applier with an end and waits until it is there.
func (c *Conn) RunUntil(ctx context.Context, position string) error {
	if err := c.StartUntil(ctx, position); err != nil {
		return err
	}
	began := time.Now()
	return Wait(ctx, func() (bool, error) {
		a, err := c.Applier(ctx)
		if err != nil {
			return false, err
		}
		if !a.SQL && a.Error != "" {
			return false, fmt.Errorf("the replication of %s stopped: %s", c.Node.Name, a.Error)
		}
		return !a.SQL, nil
	}, func() error {
		return fmt.Errorf("%s did not reach %q in %v", c.Node.Name, position, time.Since(began).Round(time.Second))
	})
}

// Wait polls until the condition holds; late makes the error of a context that ends first.
func Wait(ctx context.Context, done func() (bool, error), late func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done()
		if ctx.Err() != nil {
			return errors.Join(late(), ctx.Err())
		}
		if err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}
