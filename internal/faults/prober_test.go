package faults

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// prober asks both servers for read_only every few milliseconds, on connections of its own.
type prober struct {
	dbs  map[string]*sql.DB // by cell
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	looks int
	both  []string // when two writable primaries were seen
}

const probeEvery = 5 * time.Millisecond

func newProber(dbs map[string]*sql.DB) *prober {
	ctx, stop := context.WithCancel(context.Background())
	p := &prober{dbs: dbs, stop: stop}
	p.done.Go(func() {
		for pause(ctx, probeEvery) == nil {
			p.look(ctx)
		}
	})
	return p
}

// look sees two primaries if one was writable before and after the other was. One that is demoted between two questions
// is not mistaken for a second one.
func (p *prober) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	both := p.writable(ctx, "blue") && p.writable(ctx, "green") && p.writable(ctx, "blue")
	p.mu.Lock()
	defer p.mu.Unlock()
	p.looks++
	if both {
		p.both = append(p.both, time.Now().Format("15:04:05.000"))
	}
}

func (p *prober) writable(ctx context.Context, cell string) bool {
	readOnly := true
	err := p.dbs[cell].QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly)
	return err == nil && !readOnly
}

// verdict is an error if two writable primaries were ever seen.
func (p *prober) verdict() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.both) > 0 {
		return fmt.Errorf("two writable primaries were seen %d times, first at %s", len(p.both), p.both[0])
	}
	return nil
}

func (p *prober) end() { p.stop(); p.done.Wait() }
