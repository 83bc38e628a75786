package state

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

const (
	// clockTolerance is by how much a supervisor's clock may be ahead before anybody is told: machines that are kept in time differ by less.
	clockTolerance = 2 * time.Second
	// clockAgain is how long it is not told again of the same environment.
	clockAgain = time.Hour
)

// clocks remembers when it was last told of an environment that a supervisor's clock is wrong.
type clocks struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// due tells whether it is to be told now, and takes it as told.
func (c *clocks) due(env string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.told[env]; ok && now.Sub(last) < clockAgain {
		return false
	}
	if c.told == nil {
		c.told = map[string]time.Time{}
	}
	c.told[env] = now
	return true
}

// tellClock tells of a supervisor's clock that is ahead: what it saw is dated by the state's clock then.
func (s *Store) tellClock(ctx context.Context, tx *sql.Tx, env string, ahead time.Duration, now time.Time) error {
	if ahead <= clockTolerance || !s.clocks.due(env, now) {
		return nil
	}
	return s.event(ctx, tx, Event{Kind: "clock-ahead", Loud: true, Ref: fleet.ClusterRef{Env: env},
		Message: fmt.Sprintf("a supervisor of %s has a clock that is %s ahead of the server's: what it sees is dated by the server's until its own is set, such as by NTP", env, ahead.Round(time.Second))})
}
