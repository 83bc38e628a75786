package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/state"
)

// TestListen: an address that can't be served on is told apart from one that is taken, each with what to do.
func TestListen(t *testing.T) {
	l, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, one := range []struct {
		address string
		code    int
		want    string
	}{
		{"127.0.0.1:99999", cli.ExitUsage, "the port is a number from 0 to 65535"},
		{"127.0.0.1:http", cli.ExitUsage, "the port is a number"},
		{"nonsense", cli.ExitUsage, "HOST:PORT, such as 127.0.0.1:8480"},
		{l.Addr().String(), cli.ExitError, "is another server running?"},
		{net.JoinHostPort("192.0.2.1", "0"), cli.ExitError, "this machine does not have that address"},
	} {
		_, err := listen(one.address)
		var e *cli.Error
		if !errors.As(err, &e) || e.Code != one.code || !strings.Contains(e.Error()+" | "+e.Hint, one.want) {
			t.Errorf("%s: %v, %+v", one.address, err, e)
		}
	}
}

// TestOperatorToken: the first start makes the file, each later one reads it; a file that others can read is refused, and a
// token that was revoked is not made good again, but does not keep the server away.
func TestOperatorToken(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	store, err := state.Open(ctx, filepath.Join(dir, "state.db"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	path := filepath.Join(dir, "operator.token")
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	for range 2 {
		if err := operatorToken(ctx, store, path, log); err != nil {
			t.Fatal(err)
		}
	}
	all, err := store.Tokens(ctx)
	if err != nil || len(all) != 1 || all[0].Role != "operator" {
		t.Fatalf("%+v, %v", all, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := operatorToken(ctx, store, path, log); err == nil || !strings.Contains(err.Error(), "can be read by others (mode 0644)") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.NewToken(ctx, state.Token{Role: "operator", Name: "mira"}, "mira"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RevokeToken(ctx, all[0].ID, "mira"); err != nil {
		t.Fatal(err)
	}
	if err := operatorToken(ctx, store, path, log); err != nil || !strings.Contains(logged.String(), "was revoked") || !strings.Contains(logged.String(), path) {
		t.Errorf("another operator's token is good, and the server is to start: %v, it said %q", err, logged.String())
	}
	if token, err := os.ReadFile(path); err != nil {
		t.Error(err)
	} else if _, err := store.TokenOf(ctx, strings.TrimSpace(string(token))); !errors.Is(err, state.ErrNoToken) {
		t.Errorf("what was revoked is good again: %v", err)
	}
}

// TestKnownPlace: a file is one, a PostgreSQL address names host and database, and a password is never shown.
func TestKnownPlace(t *testing.T) {
	for place, good := range map[string]bool{
		"windlass.db": true, "postgres://u@db.example.test/windlass": true, "postgres:///windlass?host=/run/postgresql": true,
		"postgres://": false, "postgres://u:geheim@db.example.test": false, "postgres:///windlass": false,
	} {
		err := knownPlace(place)
		var e *cli.Error
		if good != (err == nil) || err != nil && (!errors.As(err, &e) || !strings.Contains(e.Hint, "postgres://USER@HOST/DATABASE") || strings.Contains(err.Error(), "geheim")) {
			t.Errorf("%s: %v", place, err)
		}
	}
}
