package workflow

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/examples/jobs/programs"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/schema"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// built is the folder with a program for each version.
var built string

func TestMain(m *testing.M) {
	code := 1
	var err error
	if built, err = os.MkdirTemp("", "jobs-programs-"); err == nil {
		if err = programs.Build(context.Background(), built); err == nil {
			code = m.Run()
		}
		err = errors.Join(err, os.RemoveAll(built))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// database is one of the two, with the schema of 1.0.
type database struct {
	db      *sql.DB
	dsn     string // for the engine
	target  string // for schema.Apply
	dev     string
	dialect schema.Dialect
	folder  string
}

func postgres(t *testing.T) database {
	url := statetest.Postgres(t)
	db, err := sql.Open("pgx", url)
	must(t, err)
	return database{db, url, url, url, schema.Postgres, "../migrations/postgres"}
}

func mariadb(t *testing.T) database {
	s := processtest.Primary(t, "11.8", processtest.With("innodb-flush-log-at-trx-commit=2", "sync-binlog=0"))
	dsn := processtest.DSN(s.Address(), processtest.AdminUser, processtest.AdminPassword, "app")
	return database{s.Open(t, processtest.AdminUser, processtest.AdminPassword, "app"), "mysql://" + dsn, dsn, processtest.DSN(s.Address(), processtest.AdminUser, processtest.AdminPassword, "mysql"), schema.MySQL, "../migrations/mariadb"}
}

func (d database) apply(t *testing.T, version string, contract bool) {
	t.Helper()
	must(t, schema.Apply(t.Context(), schema.ApplyOptions{Dialect: d.dialect, Target: d.target, Folder: filepath.Join(d.folder, version), Term: 1, Contract: contract}))
}

func (d database) count(t *testing.T, query string) (n int) {
	t.Helper()
	must(t, d.db.QueryRow(query).Scan(&n))
	return n
}

// node is one node in a process of its own.
type node struct {
	base string
	cmd  *exec.Cmd
}

func (d database) start(t *testing.T, name, version string) *node {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", processtest.FreePort(t))
	n := &node{"http://" + address, exec.Command(programs.Path(built, version), "--listen", address, "--node", name, "--workers", "4")}
	n.cmd.Env = append(os.Environ(), "JOBS_DSN="+d.dsn)
	n.cmd.Stderr = os.Stderr
	must(t, n.cmd.Start())
	t.Cleanup(n.kill)
	processtest.Until(t, time.Minute, name+" answers", func() bool { _, err := n.ask(http.MethodGet, "/version"); return err == nil })
	return n
}

func (n *node) kill() {
	if n.cmd.ProcessState == nil {
		_ = n.cmd.Process.Signal(syscall.SIGKILL)
		_ = n.cmd.Wait()
	}
}

func (n *node) ask(method, path string) (answer string, err error) {
	req, err := http.NewRequest(method, n.base+path, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(b))), err
}

func (n *node) want(t *testing.T, method, path, want string) {
	t.Helper()
	if got, err := n.ask(method, path); err != nil || !strings.HasPrefix(got, want) {
		t.Errorf("%s %s: %s, %v; want %s", method, path, got, err, want)
	}
}

func onBoth(t *testing.T, f func(t *testing.T, d database)) {
	for name, open := range map[string]func(*testing.T) database{"postgres": postgres, "mariadb": mariadb} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := open(t)
			defer d.db.Close()
			f(t, d)
		})
	}
}

// Nodes of both versions share jobs, and die in the middle of steps: each step of each job has had effect once.
func TestEveryStepHasEffectOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		d.apply(t, "1.0", false)
		d.apply(t, "1.1", false)
		stays := d.start(t, "stays", "1.0")
		const jobs, steps = 60, 4
		for i := range jobs {
			stays.want(t, http.MethodPost, fmt.Sprintf("/jobs?key=k%d&steps=%d", i, steps), "201")
		}
		stays.want(t, http.MethodPost, "/jobs?key=k1&steps=4", "200") // its client did not see the answer
		stays.want(t, http.MethodPost, "/jobs?key=k1&steps=5", "409") // another job
		stays.want(t, http.MethodPost, "/jobs?key=late&steps=0", "400")
		stays.want(t, http.MethodPost, "/jobs?key=late&steps=1&delay=600000", "201")
		for i := range 3 { // one dies while it has steps
			dies := d.start(t, fmt.Sprint("dies", i), []string{"1.0", "1.1"}[i%2])
			processtest.Until(t, time.Minute, "it has steps", func() bool {
				return d.count(t, fmt.Sprintf("SELECT COUNT(*) FROM job WHERE claimed_by = 'dies%d'", i)) > 1
			})
			dies.kill()
		}
		if n := d.count(t, "SELECT COUNT(*) FROM job WHERE claimed_by LIKE 'dies%'"); n == 0 {
			t.Error("nobody died with a step")
		}
		// One is so slow at a step that another has done it meanwhile.
		slow := &engine{node: "slow", version: "1.0"}
		var err error
		slow.db, err = open(d.dsn, "slow", 1)
		must(t, err)
		defer slow.db.Close()
		slow.toil = func(c claim) {
			processtest.Until(t, time.Minute, "another has done its step", func() bool {
				return d.count(t, fmt.Sprintf("SELECT COUNT(*) FROM job_step WHERE job_id = %d AND step = %d", c.id, c.step)) > 0
			})
		}
		processtest.Until(t, 20*time.Second, "it learns that its step is done", func() bool {
			_, err := slow.step() // the first try of some fails, and that is no news
			if err != nil && !errors.Is(err, errTaken) {
				t.Fatal(err)
			}
			return err != nil
		})
		processtest.Until(t, time.Minute, "every job that is due is done", func() bool { return d.count(t, "SELECT COUNT(*) FROM job WHERE state <> 'done'") == 1 })
		if n := d.count(t, "SELECT COUNT(*) FROM job_step"); n != jobs*steps {
			t.Errorf("%d steps had effect, of %d", n, jobs*steps)
		}
		if n := d.count(t, "SELECT COUNT(*) FROM (SELECT job_id, step FROM job_step GROUP BY job_id, step) AS s"); n != jobs*steps {
			t.Errorf("%d different steps had effect, of %d", n, jobs*steps)
		}
		stays.want(t, http.MethodGet, "/jobs/late", `200 {"steps":1,"step":0,"state":"ready"`)
	})
}

// The new version keeps its feature shut until it is opened, and is ill on the old schema; the schema only expands, and contracts only
// when that is allowed.
func TestTheNewVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, d database) {
		for to, marked := range map[string]int{"1.1": 0, "contract": 1} {
			from := map[string]string{"1.1": "1.0", "contract": "1.1"}[to]
			r, err := schema.Check(t.Context(), schema.Options{Dialect: d.dialect, From: filepath.Join(d.folder, from), To: filepath.Join(d.folder, to), Dev: d.dev})
			must(t, err)
			if !r.Clean || len(r.Contract) != marked {
				var text strings.Builder
				must(t, r.WriteText(&text))
				t.Errorf("from %s to %s: %s", from, to, text.String())
			}
		}
		d.apply(t, "1.0", false)
		old, young := d.start(t, "old", "1.0"), d.start(t, "young", "1.1")
		young.want(t, http.MethodGet, "/version", `200 {"node":"young","version":"1.1.0"}`)
		young.want(t, http.MethodGet, "/health", "503")
		old.want(t, http.MethodGet, "/health", "200 ok")
		d.apply(t, "1.1", false)
		for _, n := range []*node{old, young} {
			n.want(t, http.MethodGet, "/health", "200 ok")
			n.want(t, http.MethodPost, "/jobs?key=first&steps=1&priority=3", "409")
			n.want(t, http.MethodGet, "/priorities", "404")
		}
		old.want(t, http.MethodGet, "/features", `200 {}`)
		young.want(t, http.MethodGet, "/features", `200 {"priorities":false}`)
		old.want(t, http.MethodGet, "/features/1.1", "404")
		young.want(t, http.MethodGet, "/features/1.1", `200 {"open":false,"used":[]}`)
		young.want(t, http.MethodPut, "/features/1.1", "503")
		for _, stmt := range []string{"CREATE TABLE windlass_features (version VARCHAR(64) PRIMARY KEY)", "INSERT INTO windlass_features VALUES ('1.1')"} {
			_, err := d.db.Exec(stmt)
			must(t, err)
		}
		young.want(t, http.MethodGet, "/features", `200 {"priorities":true}`)
		old.want(t, http.MethodGet, "/features", `200 {}`)
		old.want(t, http.MethodGet, "/priorities", "404")
		old.want(t, http.MethodPost, "/jobs?key=again&steps=1&priority=3", "409")
		young.want(t, http.MethodPut, "/features/1.1", `200 {"open":true,"used":[]}`)
		young.want(t, http.MethodPost, "/jobs?key=first&steps=1&priority=3", "201")
		young.want(t, http.MethodGet, "/priorities", "200")
		if n := d.count(t, "SELECT priority FROM job WHERE name = 'first'"); n != 3 {
			t.Errorf("its priority is %d", n)
		}
		old.kill()
		const indexes = "SELECT COUNT(*) FROM %s WHERE %s = 'job_due'"
		query := fmt.Sprintf(indexes, "pg_indexes", "indexname")
		if d.dialect == schema.MySQL {
			query = fmt.Sprintf(indexes, "information_schema.STATISTICS", "SEQ_IN_INDEX = 1 AND TABLE_SCHEMA = DATABASE() AND INDEX_NAME")
		}
		if n := d.count(t, query); n != 1 {
			t.Errorf("%d indexes that only 1.0 needs, before the contract step", n)
		}
		d.apply(t, "contract", true)
		if n := d.count(t, query); n != 0 {
			t.Errorf("the contract step left %d indexes", n)
		}
		young.want(t, http.MethodPost, "/jobs?key=second&steps=1", "201")
		young.want(t, http.MethodGet, "/nothing", "404")
	})
	if out, err := exec.Command(programs.Path(built, "1.0"), "--version", "1.1").CombinedOutput(); err == nil || !strings.Contains(string(out), "-version") {
		t.Errorf("a program can be told to be of another version: %s, %v", out, err)
	}
	if old, err := os.ReadFile(programs.Path(built, "1.0")); err != nil || strings.Contains(string(old), "priority DESC") {
		t.Errorf("what is new in 1.1 is in the program of 1.0: %v", err)
	}
}
