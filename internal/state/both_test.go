package state

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/state/statetest"
)

// These tests run twice: on SQLite, and, by this program run again with the variable set to a server's URL, on PostgreSQL.
const postgresURL = "WINDLASS_TEST_POSTGRES"

// onlySQLite are the tests of what only a file can suffer.
const onlySQLite = "TestOnPostgreSQL|TestADamagedStateIsRefused|TestAStateThatCantBeWrittenIsRefused|TestAFullDisk|TestServersMakeOneNewStateTogether"

var schemas atomic.Int64

// newPlace is a place with nothing in it.
func newPlace(t *testing.T) string {
	t.Helper()
	url := os.Getenv(postgresURL)
	if url == "" {
		return filepath.Join(t.TempDir(), "state.db")
	}
	db, err := sql.Open("pgx", url)
	must(t, err)
	defer db.Close()
	schema := fmt.Sprintf("s%d", schemas.Add(1))
	_, err = db.Exec("CREATE SCHEMA " + schema)
	must(t, err)
	return url + "&search_path=" + schema
}

func TestOnPostgreSQL(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.skip", onlySQLite, "-test.v", "-test.timeout", "5m")
	cmd.Env = append(os.Environ(), postgresURL+"="+statetest.Postgres(t))
	out, err := cmd.CombinedOutput()
	if n := strings.Count(string(out), "--- PASS"); err != nil || n < 15 {
		t.Errorf("on PostgreSQL: %v, %d tests passed\n%s", err, n, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "another write waited") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// Several servers share one state: they open it at the same time, launch at the same time and stay under the limit together,
// and lease at the same time, each action once.
func TestServersShareAState_trap7(t *testing.T) {
	_, c, place := world(t, 20)
	const servers, limit = 6, 12
	together := func(do func(i int)) {
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for i := range servers {
			wg.Go(func() { <-begin; do(i) })
		}
		close(begin)
		wg.Wait()
	}
	var all [servers]*Store
	together(func(i int) {
		var err error
		if all[i], err = Open(ctx, place, Options{LeaseTTL: ttl, Now: c.Now}); err != nil {
			t.Error(err)
		}
	})
	if t.Failed() {
		return
	}
	for _, s := range all {
		defer s.Close()
	}
	together(func(i int) {
		if _, err := all[i].Launch(ctx, "c", "", "me", next(limit)); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex
	leased := map[int64]int{}
	together(func(i int) {
		for {
			a, err := all[i].Lease(ctx, "qa", fmt.Sprint(i), kinds())
			if err != nil {
				t.Error(err)
			}
			if a == nil {
				return
			}
			mu.Lock()
			leased[a.ActionID]++
			mu.Unlock()
		}
	})
	if len(leased) != limit {
		t.Errorf("%d actions, the limit is %d", len(leased), limit)
	}
	for id, n := range leased {
		if n != 1 {
			t.Errorf("action %d was leased %d times", id, n)
		}
	}
}

// Lease times come from the database's clock: a server whose own clock is wrong takes no lease over.
func TestTheDatabasesClock_trap6(t *testing.T) {
	if os.Getenv(postgresURL) == "" {
		return // a file has no clock of its own
	}
	s, err := Open(ctx, newPlace(t), Options{})
	must(t, err)
	defer s.Close()
	s.ahead.Store(int64(time.Hour)) // as if this machine's clock had been an hour behind, and was put right
	must(t, s.update(ctx, func(*sql.Tx) error { return nil }))
	if off := time.Until(s.Now()).Abs(); off > time.Minute {
		t.Errorf("the state's clock is %v off", off)
	}
}

// Every connection is cut, as by a restart of the database: what was cut is said, and the next try goes on.
func TestTheDatabaseWasAway(t *testing.T) {
	url := os.Getenv(postgresURL)
	if url == "" {
		return // a file is never away
	}
	s, _, place := world(t, 1)
	_, err := s.Snapshot(ctx, "c")
	must(t, err)
	admin, err := sql.Open("pgx", place)
	must(t, err)
	defer admin.Close()
	_, err = admin.Exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND application_name = 'windlass'`)
	must(t, err)
	end := time.Now().Add(time.Minute)
	for {
		_, err := s.Launch(ctx, "c", "2026-11-23", "me", next(1))
		if err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	if _, err := s.Launch(ctx, "c", "2026-11-23", "me", next(1)); !errors.Is(err, ErrLaunched) {
		t.Errorf("launched again: %v", err)
	}
}

// No password gets into a message.
func TestNoPasswordIsTold(t *testing.T) {
	const place = "postgres://windlass:hunter2@127.0.0.1:1/state?password=hunter2&connect_timeout=1"
	_, err := Open(ctx, place, Options{})
	troubled(t, err, "127.0.0.1", "can't be reached")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
	if got := Redacted(place); strings.Contains(got, "hunter2") {
		t.Error(got)
	}
	if got := Redacted("postgres://u:hunter2@h:x/"); strings.Contains(got, "hunter2") {
		t.Error(got)
	}
}
