package pace

import (
	"context"
	"time"
)

// longest is how long is slept at a time, so that the end of a context is seen.
const longest = 20 * time.Millisecond

// Until sleeps until then, on the caller's thread (see Thread). It ends early, with the context's error, when the context does.
func Until(ctx context.Context, due time.Time) error {
	for {
		left := time.Until(due)
		if left <= 0 {
			return ctx.Err()
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		Sleep(min(left, longest))
	}
}
