// Package programs builds the two versions of the engine of examples/jobs, for tests and for a demo that does not find them.
package programs

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds the program of each version into a folder, with the Go toolchain, in this module.
func Build(ctx context.Context, dir string) error {
	const all = "github.com/windlass-db/windlass/examples/jobs/jobs-"
	out, err := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", dir+string(filepath.Separator), all+"1.0", all+"1.1").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build examples/jobs: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Path is where the program of a version, 1.0 or 1.1, is in such a folder.
func Path(dir, version string) string { return filepath.Join(dir, "jobs-"+version) }
