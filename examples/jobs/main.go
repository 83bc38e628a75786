// Command jobs is a small workflow engine, made to be upgraded: jobs of several steps that outlive the node that began them, timers,
// retries, over one database that all nodes share. It is the example of docs/design/rolling.md, and it knows nothing of Windlass.
//
// One program, two versions: 1.0, and 1.1, which knows priorities.
//
//	JOBS_DSN=postgres://… jobs --listen 127.0.0.1:8081 --node n1 --version 1.1
//	JOBS_DSN='mysql://USER:PASSWORD@tcp(…)/jobs' jobs --listen 127.0.0.1:8081 --node n1
//
// Its schema is in the folder migrations; what it answers is told in the package workflow.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	"github.com/windlass-db/windlass/examples/jobs/workflow"
)

// version is set when it is built, or by --version.
var version = "1.0.0"

func main() {
	c := workflow.Config{DSN: os.Getenv("JOBS_DSN")}
	flag.StringVar(&c.Listen, "listen", "127.0.0.1:8081", "`ADDRESS` to serve on")
	flag.StringVar(&c.Node, "node", "n1", "this node's `NAME`")
	flag.StringVar(&c.Version, "version", version, "`VERSION` to be: 1.0 or 1.1")
	flag.IntVar(&c.Workers, "workers", 2, "steps at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := workflow.Run(ctx, c); err != nil {
		log.Fatal(err)
	}
}
