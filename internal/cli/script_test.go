package cli_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/server"
	"github.com/windlass-db/windlass/internal/state"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"windlass": func() {
			os.Exit(cli.Run(context.Background(), cli.New(), cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
		},
	})
}

// TestScripts runs every script in testdata/script against a server of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exitcode N COMMAND… runs the command, which is to end with this very code.
			"exitcode": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: exitcode N COMMAND…")
				}
				var ended *exec.ExitError
				err := ts.Exec(args[1], args[2:]...)
				if !errors.As(err, &ended) || strconv.Itoa(ended.ExitCode()) != args[0] {
					ts.Fatalf("%v, want the exit code %s", err, args[0])
				}
			},
		},
		Setup: func(e *testscript.Env) error {
			ctx := context.Background()
			store, err := state.Open(ctx, filepath.Join(e.WorkDir, "state.db"), state.Options{LeaseTTL: time.Millisecond})
			if err != nil {
				return err
			}
			s, err := server.New(server.Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: time.Now})
			if err != nil {
				return err
			}
			srv := httptest.NewServer(s)
			e.Defer(func() { srv.Close(); store.Close() })
			for role, file := range map[string]string{"operator": "token", "viewer": "viewer"} {
				secret, err := store.NewToken(ctx, state.Token{Role: role, Name: "script"}, "test")
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(e.WorkDir, file), []byte(secret+"\n"), 0o600); err != nil {
					return err
				}
			}
			e.Setenv("WINDLASS_SERVER", srv.URL)
			e.Setenv("WINDLASS_TOKEN_FILE", filepath.Join(e.WorkDir, "token"))
			return nil
		},
	})
}
