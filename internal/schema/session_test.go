package schema

import (
	"context"
	"errors"
	"testing"
)

// TestApplyGoesOnInTheSameSession: what a migration sets for its session is set again by whoever goes on after a kill, and does not hide the journal.
func TestApplyGoesOnInTheSameSession(t *testing.T) {
	for _, c := range []struct {
		d      Dialect
		server func(*testing.T) string
		text   string
		check  string
	}{
		{Postgres, pgServer, "CREATE SCHEMA app;\nSET search_path TO app;\nCREATE TABLE a (id int);\nCREATE INDEX CONCURRENTLY a_id ON a (id);\nSELECT pg_catalog.set_config('search_path', '', false);\nCREATE TABLE app.b (id int);",
			"SELECT to_regclass('app.a') IS NOT NULL AND to_regclass('app.b') IS NOT NULL AND to_regclass('app.a_id') IS NOT NULL AND to_regclass('public.a') IS NULL"},
		{MySQL, mariaServer, "SET SESSION sql_mode='ANSI_QUOTES';\nSET @n = 7;\nCREATE TABLE \"a\" (id int);\nINSERT INTO \"a\" VALUES (@n);", "SELECT COUNT(*)=1 AND MIN(id)=7 FROM a"},
	} {
		target, db := database(t, c.d, c.server(t), "session")
		dir := folder(t, "1_init.sql", c.text)
		killed := errors.New("killed")
		kills := 0
		for n := 1; ; n++ {
			err := Apply(context.Background(), ApplyOptions{Dialect: c.d, Target: target, Folder: dir, Term: 1, edge: func(statement int, name string) error {
				if statement == n && name == "noted" {
					return killed
				}
				return nil
			}})
			if err == nil {
				break
			}
			if kills++; !errors.Is(err, killed) {
				t.Fatalf("%s, after %d kills: %v", c.d, kills-1, err)
			}
		}
		if want := len(all([]migration{mustRead(t, c.d, dir)})); kills != want {
			t.Errorf("%s: %d kills in %d statements", c.d, kills, want)
		}
		var right bool
		if err := db.QueryRow(c.check).Scan(&right); err != nil || !right {
			t.Errorf("%s: %v, %v", c.d, right, err)
		}
	}
}

func mustRead(t *testing.T, d Dialect, dir string) migration {
	t.Helper()
	ms, err := readFolder(d, dir)
	if err != nil || len(ms) != 1 {
		t.Fatalf("%d migrations, %v", len(ms), err)
	}
	return ms[0]
}
