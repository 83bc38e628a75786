package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// TestConcurrentlyWaitsForSnapshots: CREATE INDEX CONCURRENTLY waits at its end for every older snapshot (pg_dump, a report). The session's
// lock_timeout and a role's statement_timeout would end it there, and what it built would be thrown away and built again, without end.
func TestConcurrentlyWaitsForSnapshots(t *testing.T) {
	target, db := database(t, Postgres, pgServer(t), "patient")
	run(t, db, "CREATE TABLE a (id int, b int)", "INSERT INTO a VALUES (1,1)")
	// What a migration says of its session holds for the statements after it.
	dir := folder(t, "1.sql", "SET statement_timeout='100ms';\nCREATE INDEX CONCURRENTLY a_b ON a (b);\nALTER TABLE a ADD c int;\nCREATE TABLE shown AS SELECT name, setting FROM pg_settings WHERE name LIKE '%\\_timeout';")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // ended below
	if _, err := tx.Exec("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	index := func() (oid int64) {
		if err := db.QueryRow("SELECT indexrelid::int8 FROM pg_index WHERE indexrelid=to_regclass('a_b')").Scan(&oid); err != nil {
			t.Error(err)
		}
		return oid
	}
	var told []string
	var first int64
	o := ApplyOptions{Dialect: Postgres, Target: target, Folder: dir, Term: 1, LockTimeout: 100 * time.Millisecond, Backoff: 20 * time.Millisecond, Tries: 3, Progress: func(p Progress) error {
		told = append(told, fmt.Sprintf("%d %s", p.N, p.What))
		if strings.Contains(p.What, "waits for a transaction") && first == 0 {
			first = index()
			if _, err := tx.Exec("SELECT pg_sleep(0.5)"); err != nil { // five times what each timeout is
				t.Error(err)
			}
			if err := tx.Rollback(); err != nil {
				t.Error(err)
			}
		}
		return nil
	}}
	if err := Apply(ctx, o); err != nil {
		t.Fatal(err, told)
	}
	if all := strings.Join(told, ", "); first == 0 || first != index() || strings.Contains(all, "drops") || strings.Contains(all, "try 2") {
		t.Errorf("index %d became %d: %s", first, index(), all)
	}
	got, err := column(ctx, db, "SELECT name||'='||setting FROM shown WHERE name IN ('lock_timeout','statement_timeout') ORDER BY name")
	if err != nil || fmt.Sprint(got) != "[lock_timeout=100 statement_timeout=100]" {
		t.Errorf("the session's timeouts are %v, %v", got, err)
	}

	// Whoever is told of the wait may end the run, and the statement with it.
	if tx, err = db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead}); err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback() //nolint:errcheck // it changes nothing
	if _, err := tx.Exec("SELECT 1"); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the lease is lost")
	o.Folder = folder(t, "2.sql", "CREATE INDEX CONCURRENTLY a_c ON a (c);")
	o.Progress = func(p Progress) error {
		if strings.Contains(p.What, "waits for a transaction") {
			return lost
		}
		return nil
	}
	if err := Apply(ctx, o); err != lost {
		t.Errorf("got %v", err)
	}
}

// TestDeclined: a form that the server does not take is followed by the next; 4092 is a table with as many INSTANT changes as it may have.
func TestDeclined(t *testing.T) {
	for number, want := range map[uint16]bool{1845: true, 1846: true, 1221: true, 4092: true, 1205: false, 1062: false} {
		if got := declined(&mysql.MySQLError{Number: number}); got != want {
			t.Errorf("%d: %v", number, got)
		}
	}
}
