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

// Await waits until a server has everything of the position, by replication or by its own writes.
func (c *Conn) Await(ctx context.Context, position string) error {
	have := ""
	return Wait(ctx, func() (bool, error) {
		query := "SELECT @@global.gtid_executed"
		if c.MariaDB {
			query = "SELECT CONCAT(@@global.gtid_binlog_pos, ',', @@global.gtid_slave_pos)"
		}
		if err := c.One(ctx, query, &have); err != nil {
			return false, err
		}
		return c.within(ctx, position, have)
	}, func() error { return fmt.Errorf("%s has not come from %q to %q", c.Node.Name, have, position) })
}

// within tells whether every transaction of a position is in the other one.
func (c *Conn) within(ctx context.Context, position, other string) (is bool, err error) {
	if !c.MariaDB {
		err = c.One(ctx, "SELECT GTID_SUBSET("+Quote(position)+", "+Quote(other)+")", &is)
		return is, err
	}
	want, err := ParsePosition(position)
	if err != nil {
		return false, err
	}
	have, err := ParsePosition(other)
	return have.Reaches(want), err
}

// at tells whether a replica has exactly the position, and what it has.
func (c *Conn) at(ctx context.Context, position string) (is bool, have string, err error) {
	if have, err = c.Position(ctx); err != nil {
		return false, "", err
	}
	if c.MariaDB { // of domains that are no more written to as well
		a, err1 := ParsePosition(position)
		b, err2 := ParsePosition(have)
		return a.Equal(b), have, errors.Join(err1, err2)
	}
	if is, err = c.within(ctx, position, have); err == nil && is {
		is, err = c.within(ctx, have, position)
	}
	return is, have, err
}

// RunTo lets a stopped replica run to exactly the position, and leaves it stopped there. One that is past it is an error.
func (c *Conn) RunTo(ctx context.Context, position string) error {
	is, have, err := c.at(ctx, position)
	if err != nil || is {
		return err
	}
	before, err := c.within(ctx, have, position)
	if err != nil {
		return err
	}
	if !before {
		return fmt.Errorf("%s stands at %q, past %q: it has transactions that the reference does not have", c.Node.Name, have, position)
	}
	return c.RunUntil(ctx, position)
}

// Stands sees that a replica is stopped at exactly the position.
func (c *Conn) Stands(ctx context.Context, position string) error {
	is, have, err := c.at(ctx, position)
	if err != nil {
		return err
	}
	if !is {
		return fmt.Errorf("%s stopped at %q instead of exactly %q", c.Node.Name, have, position)
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
	return c.untilStopped(ctx, position, func() error { return nil })
}

// untilStopped waits until an applier that was started with an end is there. What it calls meanwhile may end that.
func (c *Conn) untilStopped(ctx context.Context, position string, meanwhile func() error) error {
	began := time.Now()
	return Wait(ctx, func() (bool, error) {
		a, err := c.Applier(ctx)
		if err != nil {
			return false, err
		}
		if !a.SQL && a.Error != "" {
			return false, fmt.Errorf("the replication of %s stopped: %s", c.Node.Name, a.Error)
		}
		if !a.SQL {
			return true, nil
		}
		return false, meanwhile()
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
