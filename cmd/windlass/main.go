// Command windlass is the operator's command line, the server, the supervisor, and the demo.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/windlass-db/windlass/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the first signal asks it to end, the second one ends it: whatever it is at then
	root := cli.New()
	cli.Add(root, serverCommand(), supervisorCommand(), demoCommand())
	return cli.Run(ctx, root, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
