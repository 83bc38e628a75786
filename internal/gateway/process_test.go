package gateway

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// gatewayProcess is windlass-gateway as a process of its own.
type gatewayProcess struct {
	cmd           *exec.Cmd
	dir, program  string
	writer, admin string
	api           *adminapi.Client
	logs          safeBuffer
	ended         chan error
}

// safeBuffer is read while a process writes into it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startProcess builds the gateway and runs it, with more lines in its configuration.
func (c *cluster) startProcess(t testing.TB, level string, more ...string) *gatewayProcess {
	t.Helper()
	p := &gatewayProcess{dir: t.TempDir(), program: c.program}
	if out, err := exec.Command("go", "build", "-o", p.program, "../../cmd/windlass-gateway").CombinedOutput(); err != nil { // the second time it is there
		t.Fatalf("%v: %s", err, out)
	}
	port, admin := processtest.FreePort(t), processtest.FreePort(t)
	p.writer, p.admin = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", admin)
	p.write(t, "token", testToken)
	p.write(t, "monitor", processtest.MonitorSecret)
	p.write(t, "accounts.yaml", fmt.Sprintf("accounts:\n  - {user: %s, password: %s}\n", processtest.AppUser, processtest.AppPassword))
	p.write(t, "gateway.yaml", fmt.Sprintf("kind: Gateway\nversion: 1\nname: process\nlisten: %s\nadmin: {listen: '%s', token_file: token}\naccounts_file: accounts.yaml\nmonitor: {user: %s, password_file: monitor}\n"+
		"servers: {local: ['%[4]s'], all: ['%[4]s', '%[5]s']}\nstate_file: state\n%[6]s\n", p.writer, p.admin, processtest.MonitorUser, c.primary.Address(), c.replica.Address(), strings.Join(more, "\n")))
	p.api = adminapi.NewClient("http://"+p.admin, testToken, &http.Client{})
	p.start(t, level)
	return p
}

func (p *gatewayProcess) at(name string) string { return filepath.Join(p.dir, name) }

func (p *gatewayProcess) write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(p.at(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *gatewayProcess) start(t testing.TB, level string) {
	t.Helper()
	cmd := exec.Command(p.program, "--config", p.at("gateway.yaml"), "--log-level", level)
	cmd.Stderr, cmd.Stdout = &p.logs, &p.logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait(); close(ended) }()
	p.cmd, p.ended = cmd, ended
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	processtest.Until(t, patience, "the gateway answers", func() bool {
		resp, err := http.Get("http://" + p.admin + adminapi.PathHealth)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
}

// end waits for the process and gives how it ended.
func (p *gatewayProcess) end(t testing.TB) error {
	t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(2 * patience):
		t.Fatalf("the process did not end:\n%s", p.logs.String())
		return nil
	}
}

func (p *gatewayProcess) login(user, password string) error {
	db, err := sql.Open("mysql", processtest.DSN(p.writer, user, password, "gw"))
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Ping()
}

// The program as it is started: its signals, its secrets, and what of it outlives a kill.
func testProcess(t *testing.T, c *cluster) {
	makeWrites(t, c)
	c.primary.Exec(t, "CREATE OR REPLACE USER 'later'@'%' IDENTIFIED BY 'later-secret'")
	c.primary.Exec(t, "GRANT SELECT ON gw.* TO 'later'@'%'")
	c.replica.CatchUp(t, c.primary)
	spool := t.TempDir()
	p, outer := c.startProcess(t, "debug", "capture: {folder: '"+spool+"', statements: all}"), t

	t.Run("tokens", func(t *testing.T) {
		for _, path := range []string{adminapi.PathMetrics, adminapi.PathStatus, adminapi.PathSessions, adminapi.PathSwitch, "/", "/v1/unknown"} {
			for _, header := range []string{"", "Bearer ", "Bearer wrong", "Bearer " + testToken + "x", testToken, "Basic " + testToken} {
				req, _ := http.NewRequest(http.MethodGet, "http://"+p.admin+path, nil)
				req.Header.Set("Authorization", header)
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("%s with %q: %s", path, header, resp.Status)
				}
			}
		}
		bad := adminapi.NewClient("http://"+p.admin, "wrong", &http.Client{})
		if _, err := bad.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: 1, TTLMS: 1000, DrainMS: 10}); !errors.Is(err, adminapi.ErrUnauthorized) {
			t.Errorf("a hold with a wrong token: %v", err)
		}
		req, _ := http.NewRequest(http.MethodGet, "http://"+p.admin+adminapi.PathMetrics, nil)
		req.Header.Set("Authorization", "Bearer "+testToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		for _, want := range []string{"windlass_gateway_term 0\n", "windlass_gateway_open{endpoint=\"writer\"}", "windlass_gateway_server_role{server=\"" + c.primary.Address() + "\"", "windlass_gateway_holds_total 0\n"} {
			if !bytes.Contains(text, []byte(want)) {
				t.Errorf("the metrics lack %s:\n%s", want, text)
			}
		}
	})

	t.Run("accounts are read again", func(t *testing.T) {
		if err := p.login("later", "later-secret"); sqlError(err) != 1045 {
			t.Errorf("not listed yet: %v", err)
		}
		p.write(t, "accounts.yaml", "accounts:\n  - {user: app, password: app-secret}\n  - {user: later, password: later-secret}\n")
		p.cmd.Process.Signal(syscall.SIGHUP)
		processtest.Until(t, patience, "the new account logs in", func() bool { return p.login("later", "later-secret") == nil })
		p.write(t, "accounts.yaml", "accounts:\n  - {user: app, pasword: app-secret}\n")
		p.cmd.Process.Signal(syscall.SIGHUP)
		processtest.Until(t, patience, "the broken file is refused", func() bool { return strings.Contains(p.logs.String(), "the old ones stay") })
		if err := p.login("later", "later-secret"); err != nil {
			t.Errorf("after a broken file: %v", err)
		}
		os.Chmod(p.at("accounts.yaml"), 0o644)
		if out, err := exec.Command(p.program, "--config", p.at("gateway.yaml"), "--check").CombinedOutput(); err == nil || !bytes.Contains(out, []byte("chmod 0600")) {
			t.Errorf("--check of a file that others can read: %v: %s", err, out)
		}
		p.write(t, "accounts.yaml", "accounts:\n  - {user: app, password: app-secret}\n")
		os.Chmod(p.at("accounts.yaml"), 0o600)
		if out, err := exec.Command(p.program, "--check", p.at("gateway.yaml")).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("--check: %v: %s", err, out)
		}
	})

	t.Run("killed", func(t *testing.T) { // trap 1: what was fenced stays fenced
		if _, err := p.api.Fence(bg(t), 50); err != nil {
			t.Fatal(err)
		}
		one := conn(t, openPool(t, p.writer, "gw", ""))
		run(t, one, "SELECT 1")
		kept := captureBeforeKill(t, p)
		if _, err := p.api.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: 50, TTLMS: 120000, DrainMS: 20000}); err != nil {
			t.Fatal(err)
		}
		p.cmd.Process.Kill()
		p.end(t)
		p.start(outer, "debug")
		capturedBeforeKill(t, p, spool, kept)
		var low *adminapi.TermError
		if _, err := p.api.Hold(bg(t), adminapi.HoldRequest{Switch: "s", Term: 49, TTLMS: 1000, DrainMS: 10}); !errors.As(err, &low) || low.Seen != 50 {
			t.Errorf("a lower term after kill -9: %v", err)
		}
		// The hold has gone with the process: the servers' own state says where traffic goes (trap 10).
		if _, err := conn(t, openPool(t, p.writer, "gw", "")).ExecContext(bg(t), "REPLACE INTO writes (k) VALUES (?)", t.Name()); err != nil {
			t.Error(err)
		}
	})

	t.Run("SIGTERM", func(t *testing.T) {
		db := openPool(t, p.writer, "gw", "")
		idle, busy := conn(t, db), conn(t, db)
		run(t, idle, "SELECT 'query-secret'")
		run(t, busy, "START TRANSACTION")
		run(t, busy, "REPLACE INTO writes (k, n) VALUES (?, 1)", t.Name())
		p.cmd.Process.Signal(syscall.SIGTERM)
		processtest.Until(t, patience, "no new clients", func() bool {
			nc, err := net.Dial("tcp", p.writer)
			if err == nil {
				nc.Close()
			}
			return err != nil
		})
		run(t, busy, "UPDATE writes SET n = 2 WHERE k = ?", t.Name())
		run(t, busy, "COMMIT")
		if err := p.end(t); err != nil {
			t.Errorf("%v\n%s", err, p.logs.String())
		}
		var n int
		if err := c.primary.Admin.QueryRow("SELECT n FROM gw.writes WHERE k = ?", t.Name()).Scan(&n); err != nil || n != 2 {
			t.Errorf("n is %d, %v", n, err)
		}
		if _, err := idle.ExecContext(bg(t), "SELECT 1"); err == nil {
			t.Error("the idle client is still served")
		}
	})

	t.Run("no secret in the logs", func(t *testing.T) {
		text := p.logs.String()
		if !strings.Contains(text, `"level":"DEBUG"`) || !strings.Contains(text, "login refused") {
			t.Errorf("the logs tell little:\n%s", text)
		}
		for _, secret := range []string{processtest.AppPassword, processtest.MonitorSecret, testToken, "later-secret", "query-secret"} {
			if strings.Contains(text, secret) {
				t.Errorf("the logs hold %q", secret)
			}
		}
	})

	t.Run("SIGTERM, and a transaction that does not end", func(t *testing.T) {
		p := c.startProcess(t, "info", "timeouts: {stop: 300ms}")
		busy := conn(t, openPool(t, p.writer, "gw", ""))
		thread := ask(t, busy, "SELECT CONNECTION_ID()")
		run(t, busy, "START TRANSACTION")
		run(t, busy, "REPLACE INTO writes (k, n) VALUES (?, 1)", t.Name())
		p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.end(t); err != nil || !strings.Contains(p.logs.String(), "transactions were cut off") {
			t.Errorf("%v\n%s", err, p.logs.String())
		}
		processtest.Until(t, patience, "the transaction is rolled back", func() bool {
			var n int
			return c.primary.Admin.QueryRow("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = ?", thread).Scan(&n) == nil && n == 0
		})
		if _, err := busy.ExecContext(bg(t), "COMMIT"); err == nil {
			t.Error("a transaction that was cut off can be committed")
		}
	})
}
