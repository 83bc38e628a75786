package gateway

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// mariadbClient is the command of the mariadb client of a version, for an address.
func mariadbClient(t testing.TB, b builds.Build, address string, args ...string) *exec.Cmd {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	argv, err := b.Argv("mariadb", append([]string{"--no-defaults", "--skip-ssl", "--character-sets-dir=" + b.Root + "/usr/share/mysql/charsets", "--default-character-set=utf8mb4",
		"-h" + host, "-P" + port, "-u" + processtest.AppUser, "-p" + processtest.AppPassword, "gw"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

func pymysql(t testing.TB, mode, address string) *exec.Cmd {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, "/usr/bin/python3", "testdata/pymysql_client.py", mode, host, port, processtest.AppUser, processtest.AppPassword, t.Name())
}

// Each client says the same through the gateway as it does to the server itself, whichever version that is (trap 31).
func testClientsSayTheSame(t *testing.T, c *cluster) {
	for _, version := range []string{"10.11", "11.8"} {
		c.putOn(t, version)
		g := c.gateway(t, func(cfg *Config) { cfg.ServerVersion = "" })
		g.until(t, "open", func(st adminapi.Status) bool { return st.Writer.Route == adminapi.RouteOpen })
		same := func(name string, run func(address string) string) {
			t.Run(version+"/"+name, func(t *testing.T) {
				direct, through := run(c.primary.Address()), run(g.writer)
				if len(direct) < 1000 {
					t.Fatalf("the client said little: %s", direct)
				}
				if diff := cmp.Diff(strings.Split(direct, "\n"), strings.Split(through, "\n")); diff != "" {
					t.Errorf("direct -, through the gateway +\n%.4000s", diff)
				}
			})
		}
		for _, client := range []string{"10.11", "11.8"} {
			b := processtest.Fetch(t, "mariadb-"+client)
			same("mariadb-"+client, func(address string) string {
				corpus, err := os.Open("testdata/corpus.sql")
				if err != nil {
					t.Fatal(err)
				}
				defer corpus.Close()
				cmd := mariadbClient(t, b, address, "--force", "--show-warnings", "-vvv", "--comments")
				cmd.Stdin = corpus
				out, _ := cmd.CombinedOutput() // fails, because some statements do
				return regexp.MustCompile(`\(\d+\.\d+ sec\)|Id:\s+\d+`).ReplaceAllString(string(out), "(T)")
			})
		}
		same("pymysql", func(address string) string {
			out, err := pymysql(t, "corpus", address).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			return string(out)
		})
		g.stop()
	}
	c.putOn(t, "10.11")
}

// An interactive mariadb client stays connected over a switch, with its session.
func testMariadbClientMoves(t *testing.T, c *cluster) {
	g := c.gateway(t)
	for _, client := range []string{"10.11", "11.8"} {
		cmd := mariadbClient(t, processtest.Fetch(t, "mariadb-"+client), g.writer, "--skip-reconnect", "--unbuffered", "-N", "-B")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		ask := func(sql string) string {
			t.Helper()
			if _, err := io.WriteString(in, sql+";\n"); err != nil {
				t.Fatalf("%v: %s", err, errs.String())
			}
			if !lines.Scan() {
				t.Fatalf("the client is gone: %s", errs.String())
			}
			return lines.Text()
		}
		io.WriteString(in, "SET @mine = 'kept', SESSION wait_timeout = 777;\n")
		port := ask("SELECT @@port")
		for range 2 {
			c.move(t, g)
			if got := ask("SELECT CONCAT(@mine, @@wait_timeout)"); got != "kept777" {
				t.Errorf("%q", got)
			}
			if p := ask("SELECT @@port"); p == port {
				t.Error("it did not move")
			} else {
				port = p
			}
		}
		in.Close()
		if err := cmd.Wait(); err != nil || errs.Len() > 0 {
			t.Errorf("%v: %s", err, errs.String())
		}
	}
}

// PyMySQL as it comes (autocommit off) and sysbench work on while the primary moves, with no error and no reconnect.
func testClientsUnderSwitch(t *testing.T, c *cluster) {
	makeWrites(t, c)
	g := c.gateway(t)
	py := pymysql(t, "load", g.writer)
	in, err := py.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var acked, errs bytes.Buffer
	py.Stdout, py.Stderr = &acked, &errs
	if err := py.Start(); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(g.writer)
	sb := func(args ...string) *exec.Cmd {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		t.Cleanup(cancel)
		return exec.CommandContext(ctx, "sysbench", append([]string{"oltp_read_write", "--db-driver=mysql", "--mysql-host=" + host, "--mysql-port=" + port, "--mysql-user=" + processtest.AppUser,
			"--mysql-password=" + processtest.AppPassword, "--mysql-db=gw", "--tables=1", "--table-size=10000", "--rand-type=uniform", "--threads=4", "--rate=60"}, args...)...)
	}
	sb("cleanup").Run()
	if out, err := sb("prepare").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	load := sb("--time=0", "--events=0", "--report-interval=1", "run")
	var said bytes.Buffer
	load.Stdout, load.Stderr = &said, &said
	if err := load.Start(); err != nil {
		t.Fatal(err)
	}
	g.until(t, "both are at work", func(st adminapi.Status) bool { return st.Writer.Sessions == 7 })
	before := g.status(t)
	for range 2 {
		commands := g.status(t).Counts.Commands
		g.until(t, "they work", func(st adminapi.Status) bool { return st.Counts.Commands > commands+500 })
		c.move(t, g)
	}
	commands := g.status(t).Counts.Commands
	g.until(t, "they work on", func(st adminapi.Status) bool { return st.Counts.Commands > commands+500 })
	after := g.status(t)
	if after.Counts.Connections != before.Counts.Connections || after.Writer.Sessions != 7 || after.Counts.MovesFailed+after.Counts.Unknown+after.Counts.RolledBack > 0 {
		t.Errorf("before %+v, after %+v", before.Counts, after.Counts)
	}
	in.Close()
	if err := py.Wait(); err != nil {
		t.Errorf("PyMySQL: %v\n%s", err, errs.String())
	}
	load.Process.Signal(os.Interrupt)
	load.Wait()
	// Its err/s are conflicts between its own threads, which it tries again (1213, 1205, 1020); one of the gateway's would be in RolledBack.
	if text := said.String(); strings.Contains(text, "FATAL") || regexp.MustCompile(`reconn/s: (0\.0*[1-9]|[1-9])`).MatchString(text) {
		t.Errorf("sysbench saw trouble:\n%s", text)
	}
	n := 0
	for _, k := range strings.Fields(acked.String()) {
		var there int
		if err := c.primary.Admin.QueryRow("SELECT COUNT(*) FROM gw.writes WHERE k = ?", k).Scan(&there); err != nil || there != 1 {
			t.Fatalf("acknowledged write %s: %d rows, %v", k, there, err)
		}
		n++
	}
	t.Logf("%d acknowledged writes of PyMySQL; %s", n, fmt.Sprintf("%+v", after.Counts))
}
