// Command windlass is the operator's command line, the server, the supervisor, and the demo.
package main

import (
	"os"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/interrupt"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := interrupt.Context()
	defer stop()
	root := cli.New()
	cli.Add(root, serverCommand(), supervisorCommand(), demoCommand())
	return cli.Run(ctx, root, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
}
