package statetest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
)

// Postgres starts a PostgreSQL server of its own, without fsync, until the test ends, and returns the URL of its database
// postgres. It listens on 127.0.0.1 alone.
func Postgres(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	b, err := builds.Fetch(ctx, "postgresql-15", builds.Options{Progress: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin, err := b.PostgresTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	init := program(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "windlass", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if out, err := init.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v: %s (PostgreSQL refuses to be root: run the tests as another user, or where root may make user namespaces)", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	server := program(context.Background(), filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60")
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGQUIT) // at once: nothing is to be kept
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = server.Process.Kill()
			<-ended
		}
	})
	for {
		said, err := os.ReadFile(log.Name())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(said), "ready to accept connections") {
			return fmt.Sprintf("postgres://windlass@127.0.0.1:%s/postgres?sslmode=disable", port)
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("PostgreSQL ended: %v: %s", err, said)
		case <-ctx.Done():
			t.Fatalf("PostgreSQL is not ready: %s", said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// program prepares a program that refuses to run as root: if the test does, it has another number in a namespace of its own.
func program(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	builds.Unrooted(cmd)
	return cmd
}
