package cli

import (
	"context"
	"errors"
)

// unless runs what may block where no context reaches, such as a read of a terminal or of a pipe, and answers with the context's error if that
// ends first. What was read later is lost: the command ends.
func unless[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// interrupted tells whether a command ended because a person, or the machine, wanted it to.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
