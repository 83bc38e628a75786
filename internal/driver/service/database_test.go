package service

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

var (
	jobs = fleet.Cluster{Env: "qa", Name: "jobs"}
	one  = fleet.Node{Name: "n1", Address: "127.0.0.1:1"}
	two  = fleet.Node{Name: "n2", Address: "127.0.0.2:1"}
)

// pool opens n connections and keeps them.
func pool(t *testing.T, db *sql.DB, n int) (end func()) {
	t.Helper()
	var all []*sql.Conn
	for range n {
		c, err := db.Conn(ctx)
		must(t, err)
		must(t, c.PingContext(ctx))
		all = append(all, c)
	}
	return func() {
		for _, c := range all {
			must(t, c.Close())
		}
		must(t, db.Close())
	}
}

// counts sees a node's connections come and go, and none of another's.
func counts(t *testing.T, k Connections, open func(n fleet.Node) *sql.DB) {
	t.Helper()
	of := func(n fleet.Node) int {
		t.Helper()
		count, what, err := k.Of(ctx, jobs, n)
		must(t, err)
		if !strings.Contains(what, string(k.By)) {
			t.Errorf("what: %q", what)
		}
		return count
	}
	end := pool(t, open(one), 3)
	if a, b := of(one), of(two); a != 3 || b != 0 {
		t.Errorf("by %s: %d and %d connections, want 3 and 0", k.By, a, b)
	}
	for name, x := range map[string]struct {
		nodes []fleet.Node
		want  int
	}{"the fleet does not have it": {[]fleet.Node{two}, 1}, "the fleet has it": {[]fleet.Node{one, two}, 0}} {
		c := jobs
		c.Cells = []fleet.Cell{{Nodes: x.nodes}}
		others, err := k.Others(ctx, c)
		if strings.HasPrefix(k.Value, "{") { // there is nothing else
			if !errors.Is(err, rolling.ErrNoNames) {
				t.Errorf("by %s, %s: %v, %v", k.By, k.Value, others, err)
			}
		} else if err != nil || len(others) != x.want {
			t.Errorf("by %s, %s: %v, %v", k.By, name, others, err)
		}
	}
	end()
	processtest.Until(t, time.Minute, fmt.Sprintf("by %s: no connection is left", k.By), func() bool { return of(one) == 0 })
}

// opens opens features once, and says which are used early.
func opens(t *testing.T, f Features) {
	t.Helper()
	if _, open, err := f.OpenedAt(ctx, jobs, "1.1"); err != nil || open {
		t.Errorf("before: %v, %v", open, err)
	}
	if open, used, err := f.Open(ctx, jobs, "1.1", nil); err != nil || open || len(used) > 0 {
		t.Errorf("before: %v, %v, %v", open, used, err)
	}
	_, err := f.DB.Exec("INSERT INTO job VALUES (1, 'new')")
	must(t, err)
	if open, used, err := f.Open(ctx, jobs, "1.1", nil); err != nil || open || fmt.Sprint(used) != "[priorities (1)]" {
		t.Errorf("used early: %v, %v, %v", open, used, err)
	}
	for range 2 {
		must(t, f.SetOpen(ctx, jobs, "1.1", 7))
	}
	if open, _, err := f.Open(ctx, jobs, "1.1", nil); err != nil || !open {
		t.Errorf("after: %v, %v", open, err)
	}
	if at, open, err := f.OpenedAt(ctx, jobs, "1.1"); err != nil || !open || time.Since(at) < -time.Second || time.Since(at) > time.Minute {
		t.Errorf("open since %v, %v, %v", at, open, err)
	}
	if _, open, err := f.OpenedAt(ctx, jobs, "1.2"); err != nil || open {
		t.Errorf("the next version: %v, %v", open, err)
	}
	if open, _, err := f.Open(ctx, jobs, "1.2", nil); err != nil || open {
		t.Errorf("the next version: %v, %v", open, err)
	}
	if err := f.SetOpen(ctx, jobs, "1.2", 6); !errors.Is(err, engine.ErrFenced) { // trap 1
		t.Errorf("under an old term: %v", err)
	}
}

func TestPostgreSQL(t *testing.T) {
	url := statetest.Postgres(t)
	open := func(url string) *sql.DB {
		db, err := sql.Open("pgx", url)
		must(t, err)
		return db
	}
	db := open(url)
	defer db.Close()
	for _, stmt := range []string{"CREATE TABLE job (id int, priority text)", "CREATE ROLE n1 LOGIN", "CREATE ROLE blind LOGIN"} {
		_, err := db.Exec(stmt)
		must(t, err)
	}
	counts(t, Connections{db, Postgres, ByApplication, "jobs-{node}"}, func(n fleet.Node) *sql.DB { return open(url + "&application_name=jobs-" + n.Name) })
	counts(t, Connections{db, Postgres, ByUser, "{node}"}, func(n fleet.Node) *sql.DB { return open(strings.Replace(url, "windlass@", n.Name+"@", 1)) })
	long := strings.Repeat("x", 54) // the 63 bytes that PostgreSQL keeps end behind the node's name
	counts(t, Connections{db, Postgres, ByApplication, long + "-jobs-{node}-of-{cluster}"}, func(n fleet.Node) *sql.DB {
		return open(url + "&application_name=" + long + "-jobs-" + n.Name + "-of-jobs")
	})
	alike := jobs
	alike.Cells = []fleet.Cell{{Nodes: []fleet.Node{one, two}}}
	if _, _, err := (Connections{db, Postgres, ByApplication, long + "-jobs-of-{node}"}).Of(ctx, alike, one); !errors.Is(err, ErrAlike) || !strings.Contains(err.Error(), "n1 and n2") {
		t.Errorf("names that are cut before they differ: %v", err)
	}
	blind := open(strings.Replace(url, "windlass@", "blind@", 1))
	defer blind.Close()
	if _, _, err := (Connections{blind, Postgres, ByUser, "{node}"}).Of(ctx, jobs, one); !errors.Is(err, ErrBlind) {
		t.Errorf("an account that may not look: %v", err)
	}
	if _, err := (Connections{blind, Postgres, ByApplication, "jobs-{node}"}).Others(ctx, jobs); !errors.Is(err, ErrBlind) {
		t.Errorf("an account that may not look for others: %v", err)
	}
	counted(t, db, Postgres)
	opens(t, Features{DB: db, Dialect: Postgres, Used: map[string]string{"priorities": "SELECT COUNT(*) FROM job WHERE priority IS NOT NULL"}})
}

func TestMariaDB(t *testing.T) {
	s := processtest.Primary(t, "11.8", processtest.With("performance-schema=ON"))
	s.Exec(t, "CREATE TABLE app.job (id INT, priority TEXT)")
	for _, user := range []string{"n1", "blind"} {
		s.Exec(t, "CREATE USER '"+user+"'@'%' IDENTIFIED BY 'x'")
	}
	s.Exec(t, "GRANT SELECT ON app.* TO blind")
	db := s.Open(t, processtest.AdminUser, processtest.AdminPassword, "app")
	counts(t, Connections{db, MySQL, ByUser, "{node}"}, func(n fleet.Node) *sql.DB {
		d, err := sql.Open("mysql", processtest.DSN(s.Address(), n.Name, "x", ""))
		must(t, err)
		return d
	})
	counts(t, Connections{db, MySQL, ByApplication, "jobs-{node}"}, func(n fleet.Node) *sql.DB {
		cfg := mysql.NewConfig()
		cfg.Net, cfg.Addr, cfg.User, cfg.Passwd, cfg.ConnectionAttributes = "tcp", s.Address(), "n1", "x", "program_name:jobs-"+n.Name
		c, err := mysql.NewConnector(cfg)
		must(t, err)
		return sql.OpenDB(c)
	})
	blind, err := sql.Open("mysql", processtest.DSN(s.Address(), "blind", "x", "app"))
	must(t, err)
	defer blind.Close()
	if _, _, err := (Connections{blind, MySQL, ByUser, "{node}"}).Of(ctx, jobs, one); !errors.Is(err, ErrBlind) {
		t.Errorf("an account that may not look: %v", err)
	}
	counted(t, db, MySQL)
	opens(t, Features{DB: db, Dialect: MySQL, Used: map[string]string{"priorities": "SELECT COUNT(*) FROM job WHERE priority IS NOT NULL"}})
}

// MySQL's own list of connections is asked, also while somebody's statement has a character that the other one can't hold.
func TestMySQL(t *testing.T) {
	s := processtest.MySQL(t)
	s.Exec(t, "SET GLOBAL super_read_only=0, GLOBAL read_only=0")
	s.Exec(t, "CREATE USER 'n1'@'%' IDENTIFIED BY 'x'", "CREATE TABLE app.job (id INT, priority TEXT)")
	db := s.Open(t, processtest.AdminUser, processtest.AdminPassword, "app")
	other, err := db.Conn(ctx)
	must(t, err)
	ended := make(chan error, 1)
	go func() { _, err := other.ExecContext(ctx, "DO SLEEP(600) /* 🐘 */"); ended <- err }()
	processtest.Until(t, time.Minute, "the statement runs", func() bool {
		return s.Ask(t, "SELECT COUNT(*) FROM performance_schema.processlist WHERE INFO LIKE 'DO SLEEP%'") == "1"
	})
	counts(t, Connections{db, MySQL, ByUser, "{node}"}, func(n fleet.Node) *sql.DB {
		d, err := sql.Open("mysql", processtest.DSN(s.Address(), n.Name, "x", ""))
		must(t, err)
		return d
	})
	s.Exec(t, "KILL "+s.Ask(t, "SELECT ID FROM performance_schema.processlist WHERE INFO LIKE 'DO SLEEP%'"))
	if err := <-ended; err == nil {
		t.Error("the statement was not ended")
	}
	must(t, other.Close())
	counted(t, db, MySQL)
	opens(t, Features{DB: db, Dialect: MySQL, Used: map[string]string{"priorities": "SELECT COUNT(*) FROM job WHERE priority IS NOT NULL"}})
}

func TestConnectionsThatCantBeTold(t *testing.T) {
	for _, k := range []Connections{{nil, "oracle", ByUser, "x"}, {nil, Postgres, "colour", "x"}, {nil, MySQL, ByUser, "{pod}"}} {
		if _, _, err := k.Of(ctx, jobs, one); err == nil {
			t.Errorf("%+v", k)
		}
	}
}
