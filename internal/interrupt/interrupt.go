// Package interrupt makes of signals what programs of this system do with them: the first one asks to end, the second one ends.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context ends with the first SIGINT or SIGTERM. Before it does, nobody takes these signals any more: the next one ends the program,
// whatever it is at then. Call stop when the work is over.
func Context() (ctx context.Context, stop context.CancelFunc) {
	ctx, stop = context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
		case <-ctx.Done():
		}
		signal.Stop(signals)
		stop()
	}()
	return ctx, stop
}
