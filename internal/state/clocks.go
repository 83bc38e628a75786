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
	// behindTolerance is by how much it may be behind: a look that hangs until its end, and is told at the end of its time, is as old.
	behindTolerance = 2 * time.Minute
	// clockAgain is how long it is not told again of the same environment, in the same way.
	clockAgain = time.Hour
)

// clocks remembers when it was last told of an environment that a supervisor's clock is wrong, in which way.
type clocks struct {
	mu   sync.Mutex
	told map[string]time.Time
}

// due tells whether it is to be told now, and takes it as told.
func (c *clocks) due(what string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.told[what]; ok && now.Sub(last) < clockAgain {
		return false
	}
	if c.told == nil {
		c.told = map[string]time.Time{}
	}
	c.told[what] = now
	return true
}

// tellClock tells of a supervisor's clock that is ahead: what it saw is dated by the state's clock then. One that is behind is told by what no
// look takes until it is told.
func (s *Store) tellClock(ctx context.Context, tx *sql.Tx, env string, ahead time.Duration, now time.Time) error {
	e := Event{Kind: "clock-ahead", Loud: true, Ref: fleet.ClusterRef{Env: env},
		Message: fmt.Sprintf("a supervisor of %s has a clock that is %s ahead of the server's: what it sees is dated by the server's until its own is set, such as by NTP", env, ahead.Round(time.Second))}
	if ahead < 0 {
		e.Kind = "clock-behind"
		e.Message = fmt.Sprintf("a supervisor of %s has a clock that is %s behind the server's: while another one looks too, what it sees counts as late and is left out; set its clock, such as by NTP", env, (-ahead).Round(time.Second))
	}
	if ahead <= clockTolerance && -ahead <= behindTolerance || !s.clocks.due(env+" "+e.Kind, now) {
		return nil
	}
	return s.event(ctx, tx, e)
}
