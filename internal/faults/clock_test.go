package faults

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/engine"
)

// leaseTTL is so long that no machine is too slow to keep a lease, and no case waits for one: when a holder was killed or stopped, the test moves
// the control plane's clock ahead by a lease. It is shorter than the minute after which a look that was under way then counts as late.
const leaseTTL = 45 * time.Second

// clock is the machine's, ahead by what a file says. A part of the control plane reads it, the test moves it, and a part that is started again
// goes by it, too.
type clock struct{ file string }

// Now is what it shows.
func (c clock) Now() time.Time { return time.Now().Add(c.ahead()) }

func (c clock) ahead() time.Duration {
	b, err := os.ReadFile(c.file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0 // nobody has moved it
	}
	if err != nil {
		panic(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		panic(err)
	}
	return time.Duration(n)
}

// pass moves it ahead. One goroutine does at a time.
func (c clock) pass(d time.Duration) error {
	text := strconv.FormatInt(int64(c.ahead()+d), 10)
	if err := os.WriteFile(c.file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(c.file+".new", c.file)
}

// ownClock is what a supervisor's engine goes by. It is moved for one that sleeps: when it wakes, its lease is over by its own clock, too.
type ownClock struct {
	engine.SystemClock
	clock clock
}

// Now is what it shows.
func (c ownClock) Now() time.Time { return c.clock.Now() }

// Sleep notices when the clock was moved. Requests under way do not.
func (c ownClock) Sleep(ctx context.Context, d time.Duration) error {
	end := c.Now().Add(d)
	for {
		left := end.Sub(c.Now())
		if left <= 0 {
			return nil
		}
		if err := c.SystemClock.Sleep(ctx, min(left, 100*time.Millisecond)); err != nil {
			return err
		}
	}
}
