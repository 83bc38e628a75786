package cli_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/server"
	"github.com/windlass-db/windlass/internal/state"
)

// Who follows sees what happened last, and then what happens next: not first, page by page, all that ever was.
func TestFollowBeginsWithWhatIsNew(t *testing.T) {
	dir := t.TempDir()
	store, err := state.Open(t.Context(), filepath.Join(dir, "state.db"), state.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s, err := server.New(server.Config{Store: store, Decide: campaign.Decide, Log: slog.New(slog.DiscardHandler), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	more := func(n int) (secret string) {
		for range n { // each token is an event
			if secret, err = store.NewToken(t.Context(), state.Token{Role: "viewer", Name: "v"}, "test"); err != nil {
				t.Fatal(err)
			}
		}
		return secret
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(more(9)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	read, write := io.Pipe()
	done := make(chan int, 1)
	go func() {
		root := cli.New()
		root.SetArgs([]string{"events", "--follow", "--limit", "3", "--server", srv.URL, "--token-file", token})
		done <- cli.Run(ctx, root, cli.Streams{In: strings.NewReader(""), Out: write, Err: io.Discard})
		write.Close()
	}()
	number := regexp.MustCompile(`(?m)^ *(\d+) `)
	var got []string
	for buffer := make([]byte, 4096); len(got) < 10; {
		n, err := read.Read(buffer)
		if err != nil {
			t.Fatalf("it ended after %v: %v", got, err)
		}
		for _, m := range number.FindAllStringSubmatch(string(buffer[:n]), -1) {
			got = append(got, m[1])
		}
		if len(got) == 3 {
			more(7) // two pages and one
		}
	}
	stop()
	read.Close() // more than these would be written to nobody
	if want := "[7 8 9 10 11 12 13 14 15 16]"; fmt.Sprint(got) != want {
		t.Errorf("the events %v, not %s", got, want)
	}
	if code := <-done; code != cli.ExitOK {
		t.Errorf("exit code %d", code)
	}
}
