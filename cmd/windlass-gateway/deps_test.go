package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is what the program may be built of, besides the standard library, each with its reason. The data plane is small, and what
// is not in it can't make it restart: no state, no engine, no server, no driver for a database.
var allowed = map[string]string{
	"github.com/windlass-db/windlass/internal/gateway":          "the gateway",
	"github.com/windlass-db/windlass/internal/gateway/adminapi": "how it is steered",
	"github.com/windlass-db/windlass/internal/wire":             "MySQL framing",
	"github.com/windlass-db/windlass/internal/config":           "its file",
	"github.com/windlass-db/windlass/internal/interrupt":        "what a signal asks, and a second one",

	"github.com/windlass-db/windlass/internal/capture":            "the files of captured statements",
	"github.com/windlass-db/windlass/internal/capture/tap":        "what keeps them",
	"github.com/windlass-db/windlass/internal/capture/store/name": "how the files are called",
	"github.com/windlass-db/windlass/internal/rowhash":            "hashes of answers",
	"github.com/windlass-db/windlass/internal/query":              "fingerprints, for samples; literals, for masks",
	"github.com/klauspost/compress":                               "the files are compressed",
	"github.com/zeebo/xxh3":                                       "the hashes",
	"github.com/klauspost/cpuid":                                  "asks the processor what xxh3 may use",
	"google.golang.org/protobuf":                                  "the wire format of a block's head: no generated code, no reflection",

	"github.com/goccy/go-yaml":   "the file's format",
	"golang.org/x/sync/errgroup": "waits for what it started",
}

func TestBuiltOfLittle(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range strings.Fields(string(out)) {
		if p == "github.com/windlass-db/windlass/cmd/windlass-gateway" {
			continue
		}
		for _, module := range []string{"github.com/goccy/go-yaml", "github.com/klauspost/compress", "github.com/klauspost/cpuid", "google.golang.org/protobuf"} {
			if strings.HasPrefix(p, module+"/") {
				p = module
			}
		}
		seen[p] = true
		if allowed[p] == "" {
			t.Errorf("the gateway brings along %s: leave it out, or say here why it is needed", p)
		}
	}
	for p := range allowed {
		if !seen[p] {
			t.Errorf("%s is allowed, and not needed", p)
		}
	}
	std, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"database/sql", "testing", "net/http/pprof"} {
		if slices.Contains(strings.Fields(string(std)), never) {
			t.Errorf("the gateway brings along %s", never)
		}
	}
}
