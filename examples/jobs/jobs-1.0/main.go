// Command jobs-1.0 is version 1.0 of a small workflow engine, made to be upgraded: jobs of several steps that outlive the node that began them, timers,
// retries, over one database that all nodes share. It is the example of docs/design/rolling.md, and it knows nothing of Windlass.
//
//	JOBS_DSN=postgres://… jobs-1.0 --listen 127.0.0.1:8081 --node n1
//	JOBS_DSN='mysql://USER:PASSWORD@tcp(…)/jobs' jobs-1.0 --listen 127.0.0.1:8081 --node n1
//
// Its schema is in the folder migrations; what it answers is told in the package workflow.
package main

import (
	"fmt"
	"os"

	"github.com/windlass-db/windlass/examples/jobs/workflow"
)

func main() {
	if err := workflow.Main(os.Args[1:], workflow.Release{Version: "1.0.0"}, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}
