package cli

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var update = flag.Bool("update", false, "write the golden file anew")

// TestHelp holds what every verb says of itself against a golden file, so that a change of it is seen in review.
func TestHelp(t *testing.T) {
	var all bytes.Buffer
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		all.WriteString("$ " + cmd.CommandPath() + " --help\n")
		cmd.SetOut(&all)
		if err := cmd.Help(); err != nil {
			t.Fatal(err)
		}
		all.WriteString("\n")
		for _, c := range cmd.Commands() {
			if c.Name() == "completion" || c.Name() == "help" {
				continue
			}
			if c.Short == "" || strings.HasSuffix(c.Short, ".") || c.RunE == nil {
				t.Errorf("%s: a short sentence without a full stop, and something to run, are wanted", c.CommandPath())
			}
			walk(c)
		}
	}
	for _, name := range []string{"WINDLASS_SERVER", "WINDLASS_TOKEN_FILE", "WINDLASS_CA_FILE"} {
		t.Setenv(name, "") // they are defaults of flags, which the help shows
	}
	walk(New())
	const golden = "testdata/help.golden"
	if *update {
		if err := os.WriteFile(golden, all.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, all.Bytes()) {
		t.Errorf("the help has changed; look at it, and write it anew with: go test ./internal/cli -run TestHelp -update\n%s", all.String())
	}
}
