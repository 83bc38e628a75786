package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

func TestMain(m *testing.M) {
	if os.Getenv("WINDLASS_GATEWAY_OF_A_TEST") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// What reads the log may end, as a logger behind a pipe does: the gateway serves on.
func TestNobodyReadsTheLog(t *testing.T) {
	dir := t.TempDir()
	admin := fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
	for name, text := range map[string]string{
		"token": "a-token-of-a-test-that-is-long-enough", "monitor": "secret", "accounts.yaml": "accounts:\n  - {user: app, password: secret}\n",
		"gateway.yaml": fmt.Sprintf("kind: Gateway\nversion: 1\nname: g\nlisten: 127.0.0.1:%d\nadmin: {listen: '%s', token_file: token}\naccounts_file: accounts.yaml\nmonitor: {user: monitor, password_file: monitor}\n"+
			"servers: {local: ['127.0.0.1:1'], all: ['127.0.0.1:1']}\nstate_file: state\n", processtest.FreePort(t), admin),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logger, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	cmd := exec.Command(os.Args[0], "--config", filepath.Join(dir, "gateway.yaml"))
	cmd.Env = append(os.Environ(), "WINDLASS_GATEWAY_OF_A_TEST=1")
	cmd.Stdout, cmd.Stderr = pipe, pipe
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended, if all is well
		<-ended
	})
	answers := func() bool {
		r, err := http.Get("http://" + admin + adminapi.PathHealth)
		return err == nil && r.Body.Close() == nil
	}
	processtest.Until(t, 30*time.Second, "the gateway answers", answers)
	if err := errors.Join(logger.Close(), pipe.Close()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "accounts.yaml"), []byte("accounts: broken\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(cmd.Process.Signal(syscall.SIGHUP), cmd.Process.Signal(syscall.SIGTERM)); err != nil { // of both there is a line in the log
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v, not because it was asked to", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it does not end")
	}
}
