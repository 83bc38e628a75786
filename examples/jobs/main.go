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
	"fmt"
	"os"

	"github.com/windlass-db/windlass/examples/jobs/workflow"
)

// version is set when it is built, or by --version.
var version = "1.0.0"

func main() {
	if err := workflow.Main(os.Args[1:], version, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "jobs:", err)
		os.Exit(1)
	}
}
