package replaytest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
)

// TestCommand is windlass replay as its users have it: captured on 10.11, replayed on 11.8.
func TestCommand(t *testing.T) {
	old, fresh := processtest.Primary(t, "10.11"), processtest.Primary(t, "11.8")
	for _, s := range []*processtest.Server{old, fresh} {
		s.Exec(t, "CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(50))")
		s.Exec(t, "INSERT INTO app.t SELECT seq, CONCAT('name ', seq) FROM app.seq_1_to_100")
	}
	for name, s := range map[string]*processtest.Server{"OLD_DSN": old, "NEW_DSN": fresh} {
		t.Setenv(name, processtest.DSN(s.Address(), processtest.AppUser, processtest.AppPassword, ""))
	}
	for name, c := range map[string]struct {
		queries []string
		speed   string
		code    int
		verdict string
	}{
		"pass":  {[]string{"SELECT * FROM t WHERE id = 1", "SELECT COUNT(*) FROM t"}, "1", cli.ExitOK, "pass"},
		"fail":  {[]string{"SELECT * FROM t WHERE id = 1", "SELECT 1 AS vector"}, "max", cli.ExitFinding, "fail"},
		"rows":  {[]string{"SELECT id, CONV(255, 10, 62) FROM t WHERE id = 7"}, "max", cli.ExitFinding, "fail"},
		"write": {[]string{"UPDATE t SET name = 'x' WHERE id = 0"}, "max", cli.ExitInsufficient, "insufficient"},
	} {
		t.Run(name, func(t *testing.T) {
			r := replaytest.New(t, t.TempDir(), old.Address(), processtest.AppUser, processtest.AppPassword)
			s := r.Session("app")
			for range 5 {
				for _, q := range c.queries {
					s.Query(q)
				}
			}
			s.Close()
			r.Close()
			file := filepath.Join(t.TempDir(), "report.json")
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var out, told bytes.Buffer
			root := cli.New()
			root.SetArgs([]string{"replay", "--from", r.Dir, "--target", "env:NEW_DSN", "--reference", "env:OLD_DSN", "--speed", c.speed, "--report", file})
			if code := cli.Run(ctx, root, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &told}); code != c.code {
				t.Errorf("it ended with %d, want %d: %s%s", code, c.code, out.String(), told.String())
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// The contract of the report.
			var rep struct {
				Captured, Replayed    int64
				Skipped, Unreplayable map[string]int64
				Dropped               *int64
				Verdict               string
				Findings              []struct {
					Fingerprint, Kind string
					Example           json.RawMessage
					Count             int64
					Examples          []struct {
						OldRows struct{ Rows [][][]byte } `json:"old_rows"`
						NewRows struct{ Rows [][][]byte } `json:"new_rows"`
					}
				}
				Lateness struct{ P50, P99 *float64 } `json:"lateness_us"`
				QPS      *float64
				Old, New string
			}
			if err := json.Unmarshal(b, &rep); err != nil {
				t.Fatal(err)
			}
			if rep.Verdict != c.verdict || rep.Captured != r.Counted || rep.Dropped == nil || rep.Lateness.P50 == nil || rep.Lateness.P99 == nil || rep.QPS == nil || rep.Skipped == nil || rep.Unreplayable == nil {
				t.Errorf("%s", b)
			}
			if !strings.HasPrefix(rep.Old, "10.11") || !strings.HasPrefix(rep.New, "11.8") {
				t.Errorf("versions %q and %q", rep.Old, rep.New)
			}
			if name == "rows" {
				if len(rep.Findings) != 1 || rep.Findings[0].Kind != "content" || len(rep.Findings[0].Examples) == 0 {
					t.Fatalf("%+v", rep.Findings)
				}
				if e := rep.Findings[0].Examples[0]; len(e.OldRows.Rows) != 1 || len(e.NewRows.Rows) != 1 || string(e.OldRows.Rows[0][0]) != "7" || string(e.OldRows.Rows[0][1]) == string(e.NewRows.Rows[0][1]) {
					t.Errorf("the rows of both versions: %q, %q", e.OldRows.Rows, e.NewRows.Rows)
				}
			}
			if name == "fail" && (len(rep.Findings) == 0 || rep.Findings[0].Kind != "syntax" || rep.Findings[0].Count != 5 || rep.Findings[0].Fingerprint == "" || len(rep.Findings[0].Example) == 0) {
				t.Errorf("%+v", rep.Findings)
			}
			for _, text := range []string{out.String(), told.String(), string(b)} {
				if strings.Contains(text, processtest.AppPassword) {
					t.Error("the password is shown")
				}
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		r := replaytest.New(t, t.TempDir(), old.Address(), processtest.AppUser, processtest.AppPassword)
		s := r.Session("app")
		s.Query("SELECT * FROM t WHERE id = 1")
		s.Close()
		r.Close()
		file := filepath.Join(t.TempDir(), "report.json")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out, told bytes.Buffer
		root := cli.New()
		root.SetArgs([]string{"replay", "--from", r.Dir, "--target", "env:NEW_DSN", "--follow", "--delay", "1h", "--since", "2020-01-01T00:00:00Z", "--report", file})
		ended := make(chan int, 1)
		go func() { ended <- cli.Run(ctx, root, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &told}) }()
		processtest.Until(t, 30*time.Second, "the replay is at work", func() bool {
			var n int
			err := fresh.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.processlist WHERE user = ? AND command = 'Sleep' AND time_ms > 200", processtest.AppUser).Scan(&n)
			return err == nil && n > 0
		})
		cancel()
		if code := <-ended; code != cli.ExitInterrupted {
			t.Errorf("it ended with %d: %s%s", code, out.String(), told.String())
		}
		if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
			t.Error("there is no report")
		}
	})
}
