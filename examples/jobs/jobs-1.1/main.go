// Command jobs-1.1 is version 1.1 of the engine of which jobs-1.0 is the version before: it has priorities besides, which are compiled into it alone.
//
//	JOBS_DSN=postgres://… jobs-1.1 --listen 127.0.0.1:8081 --node n1
package main

import (
	"fmt"
	"os"

	"github.com/windlass-db/windlass/examples/jobs/priorities"
	"github.com/windlass-db/windlass/examples/jobs/workflow"
)

func main() {
	if err := workflow.Main(os.Args[1:], workflow.Release{Version: "1.1.0", Adds: priorities.Addition()}, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}
