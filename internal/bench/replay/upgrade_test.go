package replay

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/capture/store"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/replay/compare"
	"github.com/windlass-db/windlass/internal/replay/replaytest"
	"github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/replay/session"
)

// BenchmarkAgainstPtUpgrade: the same 10,000 statements of a dozen kinds compared between 10.11 and 11.8, by pt-upgrade and by a replay. Both find the one that differs; pt-upgrade
// also calls those different that give other rows each time.
func BenchmarkAgainstPtUpgrade(b *testing.B) {
	program, err := exec.LookPath("pt-upgrade")
	if err != nil {
		b.Fatal("pt-upgrade is not installed: ./scripts/setup pt-upgrade")
	}
	old, fresh := processtest.Primary(b, "10.11"), processtest.Primary(b, "11.8")
	for _, s := range []*processtest.Server{old, fresh} {
		s.Exec(b, "CREATE TABLE app.t (id INT PRIMARY KEY, name VARCHAR(50), amount DECIMAL(10,2), KEY(name))")
		s.Exec(b, "INSERT INTO app.t SELECT seq, CONCAT('name ', seq % 100), seq / 7 FROM app.seq_1_to_5000")
	}
	const statements = 10_000
	kinds := []string{"SELECT * FROM t WHERE id = %d", "SELECT name FROM t WHERE id = %d", "SELECT COUNT(*) FROM t WHERE id < %d %% 500", "SELECT name, SUM(amount) FROM t WHERE id BETWEEN %d AND %[1]d + 50 GROUP BY name ORDER BY name",
		"SELECT id FROM t WHERE name = CONCAT('name ', %d %% 100) ORDER BY id", "SELECT UPPER(name) FROM t WHERE id IN (%d, 7, 8) ORDER BY id", "SELECT MAX(id) FROM t WHERE id <= %d", "SELECT id + %d FROM t ORDER BY id LIMIT 5"}
	var texts []string
	for i := range statements {
		switch {
		case i%2000 == 7:
			texts = append(texts, fmt.Sprintf("SELECT CONV(%d, 10, 62)", 255+i))
		case i%2000 == 9:
			texts = append(texts, fmt.Sprintf("SELECT RAND() * %d", i))
		default:
			texts = append(texts, fmt.Sprintf(kinds[i%len(kinds)], 1+i%4900))
		}
	}
	file := filepath.Join(b.TempDir(), "queries")
	if err := os.WriteFile(file, []byte(strings.Join(texts, "\n")+"\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	rec := replaytest.New(b, b.TempDir(), old.Address(), processtest.AppUser, processtest.AppPassword)
	clients := make([]*replaytest.Session, 4)
	for i := range clients {
		clients[i] = rec.Session("app")
	}
	for i, text := range texts {
		clients[i%len(clients)].Query(text)
	}
	rec.Close()
	dsn := func(s *processtest.Server) session.Server {
		c := mysql.NewConfig()
		c.Net, c.Addr, c.User, c.Passwd = "tcp", s.Address(), processtest.AppUser, processtest.AppPassword
		return session.Server{Name: s.Name, Config: c}
	}
	for b.Loop() {
		peer := func(s *processtest.Server) string {
			return "h=127.0.0.1,P=" + strconv.Itoa(s.Port) + ",u=" + processtest.AppUser + ",p=" + processtest.AppPassword + ",D=app"
		}
		cmd := exec.Command(program, "--type", "rawlog", "--no-disable-query-cache", "--max-class-size", strconv.Itoa(statements), "--max-examples", "1", "--database", "app", file, peer(old), peer(fresh))
		began := time.Now()
		out, err := cmd.CombinedOutput()
		theirs := time.Since(began)
		if exit := new(exec.ExitError); err != nil && !asExit(err, &exit) {
			b.Fatal(err)
		}
		if !strings.Contains(string(out), "CONV") && !strings.Contains(string(out), "conv") {
			b.Errorf("pt-upgrade has not found the one that differs:\n%s", out)
		}
		volatile := strings.Contains(strings.ToLower(string(out)), "select rand()")

		bucket, err := store.Open(context.Background(), rec.Dir)
		if err != nil {
			b.Fatal(err)
		}
		reference := dsn(old)
		began = time.Now()
		got, err := run.Run(context.Background(), run.Config{Source: run.Bucket(bucket, run.Range{}), Target: dsn(fresh), Reference: &reference})
		ours := time.Since(began)
		bucket.Close()
		if err != nil || got.Replayed != statements {
			b.Fatalf("%d of %d: %v", got.Replayed, statements, err)
		}
		found := 0
		for _, q := range got.Queries {
			for kind, d := range q.Differences {
				if kind != compare.Content || !strings.Contains(q.Text, "conv(") || d.Real != statements/2000 {
					b.Errorf("%s: %s %+v", q.Text, kind, d)
				}
				found++
			}
		}
		if found != 1 {
			b.Errorf("%d differences were found", found)
		}
		b.ReportMetric(statements/theirs.Seconds(), "pt-upgrade-qps")
		b.ReportMetric(statements/ours.Seconds(), "replay-qps")
		b.ReportMetric(theirs.Seconds()/ours.Seconds(), "times-faster")
		b.ReportMetric(map[bool]float64{true: 1}[volatile], "pt-upgrade-false-positives")
		b.ReportMetric(0, "ns/op")
	}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}
