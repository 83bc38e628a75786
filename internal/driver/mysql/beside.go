package mysql

import (
	"context"
	"time"
)

// aside is one piece of work that runs while the strides go on. It uses no session of theirs.
type aside struct {
	end  context.CancelFunc
	done chan error
}

// beside starts it. It has to be joined before the promotion, and ends within the limit.
func (r *run) beside(ctx context.Context, limit time.Duration, do func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	r.aside = &aside{end: cancel, done: make(chan error, 1)}
	go func(a *aside) { a.done <- do(ctx) }(r.aside)
}

// joined waits for what runs beside, if anything does. It may be told to end first.
func (r *run) joined(end bool) error {
	if r.aside == nil {
		return nil
	}
	a := r.aside
	r.aside = nil
	defer a.end()
	if end {
		a.end()
	}
	return <-a.done
}
