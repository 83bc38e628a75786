package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// roleEnv names the part that this binary is to play when a test starts it again, and settingsEnv the file with its settings.
const (
	roleEnv     = "WINDLASS_FAULTS_ROLE"
	settingsEnv = "WINDLASS_FAULTS_SETTINGS"
)

func TestMain(m *testing.M) {
	var err error
	switch role := os.Getenv(roleEnv); role {
	case "":
		os.Exit(m.Run())
	case "server":
		err = play(runServer)
	case "supervisor":
		err = play(runSupervisor)
	default:
		err = fmt.Errorf("no part is called %q", role)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play runs a part with its settings, until it is told to end or the test is gone.
func play[S any](part func(context.Context, S) error) error {
	b, err := os.ReadFile(os.Getenv(settingsEnv))
	if err != nil {
		return err
	}
	var s S
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() { // the test holds the other end of the standard input
		_, _ = os.Stdin.Read(make([]byte, 1)) // never written to: it ends with the test
		os.Exit(2)
	}()
	return part(ctx, s)
}
