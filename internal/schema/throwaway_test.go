package schema

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// startAndStay is the program that TestThrowawayEndsWithUs kills: it starts a server, says where, and stays.
func startAndStay(build string) {
	s, err := startThrowaway(context.Background(), MySQL, build, nil, func(string) {}, func(string) {})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.dsn)
	select {}
}

// TestThrowawayEndsWithUs: the server of a check that is killed with -9 ends too, and the next check removes what it left.
func TestThrowawayEndsWithUs(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WINDLASS_THROWAWAY=mariadb-11.8", "WINDLASS_APPLY_KILL=none")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(said, err)
	}
	server, err := parseDSN(MySQL, "test", strings.TrimSpace(said))
	if err != nil {
		t.Fatal(said, err)
	}
	db, err := server.open(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	processtest.Until(t, 30*time.Second, "the server's end", func() bool {
		db, err := server.open(t.Context(), "test")
		if err == nil {
			db.Close()
		}
		return err != nil
	})
	dir, _, _ := strings.Cut(server.my.Addr, "/run/")
	if err := os.Chtimes(dir, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, free, err := privateDir()
	if err != nil {
		t.Fatal(err)
	}
	free()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", dir, err)
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err == nil {
		t.Error("the killed program is there")
	}
}

// TestMySQLLive: a live MySQL 9.7, with no development server given: one of its version and its settings is started. The times are of its
// real rows.
func TestMySQLLive(t *testing.T) {
	s, err := startThrowaway(t.Context(), MySQL, "mysql-9.7", []string{"sql-mode=NO_ENGINE_SUBSTITUTION", "collation-server=utf8mb4_bin"}, func(string) {}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.end)
	dsn, db := database(t, MySQL, s.dsn, "live")
	const init = "CREATE TABLE big (id int PRIMARY KEY AUTO_INCREMENT, body varchar(200), at date DEFAULT '0000-00-00');"
	run(t, db, strings.TrimSuffix(init, ";"), "SET SESSION cte_max_recursion_depth=100000")
	run(t, db, "INSERT INTO big (body) SELECT REPEAT('x',100) FROM information_schema.COLUMNS a, information_schema.COLUMNS b LIMIT 60000", "ANALYZE TABLE big")
	r := checked(t, Options{Dialect: MySQL, From: dsn, To: folder(t, "1.sql", init, "2.sql", "ALTER TABLE big MODIFY body text;\nALTER TABLE big ADD note int;"), Measure: true})
	if r.Started != "mysql-9.7" || r.Applied != "1.sql" || major(MySQL, r.LiveServer) != "9.7" {
		t.Errorf("started %q, at %q, live %q", r.Started, r.Applied, r.LiveServer)
	}
	f := r.Findings[0]
	if f.Rule != "copy-algorithm" || f.Estimate == nil || f.Estimate.Rows < 50000 || f.Estimate.Rows > 70000 || f.Estimate.Seconds <= 0 || f.Estimate.Low > f.Estimate.Seconds || f.Estimate.High < f.Estimate.Seconds {
		t.Errorf("got %+v, %+v", f, f.Estimate)
	}
	t.Log(f.Estimate)
	if f := r.Findings[len(r.Findings)-1]; f.Counts() || f.Object == "" {
		t.Errorf("an added column: %+v", f)
	}
}
