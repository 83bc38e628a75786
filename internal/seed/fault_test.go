package seed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

// TestMain runs one copy that is killed, when the test starts itself again for that.
func TestMain(m *testing.M) {
	if request := os.Getenv("WINDLASS_SEED_CHILD"); request != "" {
		if err := child(request); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child copies, and kills itself in its n-th save.
func child(request string) error {
	var r bluegreen.SeedRequest
	if err := json.Unmarshal([]byte(request), &r); err != nil {
		return err
	}
	after, err := strconv.Atoi(os.Getenv("WINDLASS_SEED_SAVES"))
	if err != nil {
		return err
	}
	s, err := New(Config{Access: access, Mark: marked, Every: time.Nanosecond})
	if err != nil {
		return err
	}
	return s.Seed(context.Background(), r, nil, func(context.Context, any, float64, string) error {
		if after--; after == 0 {
			return syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	})
}

// killedAtEverySave kills the copy with SIGKILL in its first save, the next one in its seventh, and so on, until one
// gets to the end. No half copy is taken for a whole one; the last one is whole. trap 34
func killedAtEverySave(t *testing.T, w *world) {
	g := w.fresh(t)
	stop := load(t, w.primary)
	request, err := json.Marshal(g.SeedRequest)
	if err != nil {
		t.Fatal(err)
	}
	w.primary.Exec(t, "CREATE DATABASE passing")
	w.primary.Exec(t, "CREATE TABLE passing.t (id INT PRIMARY KEY)")
	w.replica.CatchUp(t, w.primary)
	kills := 0
	for saves := 1; ; saves += 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "WINDLASS_SEED_CHILD="+string(request), "WINDLASS_SEED_SAVES="+strconv.Itoa(saves))
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("run %d: %v: %s", saves, err, out)
		}
		if kills++; kills == 2 { // the half copy has it already
			if one(t, g.Admin, "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME='passing'") != "1" {
				t.Error("the half copy has no schema that goes")
			}
			w.primary.Exec(t, "DROP DATABASE passing")
			w.replica.CatchUp(t, w.primary)
		}
		if done, res, err := seeder(t, nil).Seeded(t.Context(), g.SeedRequest); done || err != nil {
			t.Fatalf("after %d saves: seeded %v %v %v", saves, done, res, err)
		}
		if saves > 200 {
			t.Fatal("it never ends")
		}
	}
	stop()
	t.Logf("%d kills", kills)
	if kills < 3 {
		t.Errorf("%d kills", kills)
	}
	w.whole(t, g)
	// Once more: a whole copy is left alone.
	err = seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, func(context.Context, any, float64, string) error { return errors.New("it copies again") })
	if err != nil {
		t.Error(err)
	}
}

// in runs a call once in the middle of copying the rows.
func in(call func()) bluegreen.Save {
	done := false
	return func(_ context.Context, st any, _ float64, _ string) error {
		if !done && st.(Status).Rows > 100 {
			done = true
			call()
		}
		return nil
	}
}

// serversKilled kills the new server in the middle of one copy, and the replica that is read in the middle of the next. Nothing
// is known of a server that is away, and the primary is never read instead of a replica. In the middle of the third the
// primary's logs are purged: what follows the copy's position stays. trap 33
func serversKilled(t *testing.T, w *world) {
	g := w.fresh(t)
	kill := func(s *processtest.Server) func() {
		return func() {
			spec, err := s.Spec()
			if err == nil {
				err = spec.Kill(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	seed := func(save bluegreen.Save) error { return seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, save) }
	seeded := func() (bool, string, error) {
		done, res, err := seeder(t, nil).Seeded(t.Context(), g.SeedRequest)
		return done, res.String(), err
	}

	err := seed(in(kill(g.Server)))
	if err == nil || !strings.Contains(err.Error(), "green-1") {
		t.Fatalf("error: %v", err)
	}
	if done, _, err := seeded(); done || err == nil {
		t.Errorf("a server that can't be read: seeded %v, %v", done, err)
	}
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if done, res, err := seeded(); done || err != nil || !strings.Contains(res, "green-1 holds a half copy") {
		t.Errorf("seeded %v %v %v", done, res, err)
	}

	if err := seed(in(kill(w.replica))); err == nil {
		t.Error("no error")
	}
	if err := seed(nothing); err == nil || !strings.Contains(err.Error(), "cell blue has no healthy replica to copy from") {
		t.Errorf("while it is away: %v", err)
	}
	if err := w.replica.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	w.primary.Exec(t, "CREATE TABLE app.big (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)")
	defer w.primary.Exec(t, "DROP TABLE app.big")
	w.replica.CatchUp(t, w.primary)
	purged := false
	save := in(func() {
		for range 4 { // more than what fits into the sockets of the reader that holds the logs
			w.primary.Exec(t, "INSERT INTO app.big (v) VALUES (REPEAT(RANDOM_BYTES(1000), 2000))")
		}
		w.primary.Exec(t, "FLUSH BINARY LOGS")
		w.primary.Exec(t, "INSERT INTO app.big (v) VALUES ('later')")
		w.primary.Exec(t, "PURGE BINARY LOGS BEFORE '2038-01-01'")
		purged = true
	})
	processtest.Until(t, 30*time.Second, "the replica is healthy again", func() bool {
		err = seed(save)
		return err == nil || !strings.Contains(err.Error(), "no healthy replica")
	})
	if err != nil || !purged {
		t.Fatal(err)
	}
	w.whole(t, g)
}

// noRoom: a disk that is full is an error that says so, while tables are made and while rows are written. Once there is room
// the next try ends well. A server of 11.8 may end when rows find no room, and not start again: that is another error.
func noRoom(t *testing.T, w *world) {
	w.primary.Exec(t, "CREATE TABLE app.big (id INT PRIMARY KEY AUTO_INCREMENT, v LONGBLOB)")
	defer w.primary.Exec(t, "DROP TABLE app.big")
	for range 10 {
		w.primary.Exec(t, "INSERT INTO app.big (v) VALUES (REPEAT(RANDOM_BYTES(1000), 2000))")
	}
	w.replica.CatchUp(t, w.primary)
	g, enlarge := w.small(t)
sizes:
	for _, more := range enlarge {
		err := seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, nothing)
		switch gone := errors.Is(err, ErrGone); {
		case gone && strings.Contains(err.Error(), "green-1 stopped answering in the middle of the copy"): // the version's own way with a full disk
			t.Log(err)
			g = w.fresh(t) // it may not start again: it is made anew, with more room
			break sizes
		case gone, err == nil, !errors.Is(err, ErrNoRoom), !strings.Contains(err.Error(), "green-1 has no room for the copy"):
			t.Fatalf("error: %v", err)
		}
		if refused := new(engine.Refusal); errors.As(err, &refused) {
			t.Error("a full disk is no refusal: it can be mended")
		}
		t.Log(err)
		if done, res, err := seeder(t, nil).Seeded(t.Context(), g.SeedRequest); done || err != nil {
			t.Errorf("seeded: %v %v %v", done, res, err)
		}
		more()
	}
	if err := seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, nothing); err != nil {
		t.Fatal(err)
	}
	w.whole(t, g)
}

// mayMount tells whether we may mount a disk: root may, outside of most containers.
func mayMount(t *testing.T) bool {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m")
	if errors.Is(err, syscall.EPERM) {
		return false
	}
	if err == nil {
		err = syscall.Unmount(dir, 0)
	}
	if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	return true
}

// small starts a node whose data has little room, and gives what makes it larger, twice. Who may mount gives it a small disk of
// its own; otherwise all tables lie in a file that may not grow, of which the server says the same.
func (w *world) small(t *testing.T) (target, []func()) {
	t.Helper()
	s := processtest.New(t, "11.8", fast, processtest.With("skip-slave-start=ON"))
	if err := s.Init(t.Context()); err != nil {
		t.Fatal(err)
	}
	var enlarge []func()
	if mayMount(t) {
		used, err := exec.CommandContext(t.Context(), "du", "-sm", s.DataDir()).Output()
		if err != nil {
			t.Fatal(err)
		}
		mb, err := strconv.Atoi(string(bytes.Fields(used)[0]))
		if err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(s.Dir, "data.made")
		if err := errors.Join(os.Rename(s.DataDir(), full), os.Mkdir(s.DataDir(), 0o700), syscall.Mount("tmpfs", s.DataDir(), "tmpfs", 0, fmt.Sprintf("mode=0700,size=%dm", mb+12))); err != nil {
			t.Fatalf("mount a small disk: %v", err)
		}
		t.Cleanup(func() { // the server is ended later: the disk goes with its last user
			if err := syscall.Unmount(s.DataDir(), syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		if out, err := exec.CommandContext(t.Context(), "cp", "-a", full+"/.", s.DataDir()).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, size := range []int{mb + 12 + 16, 400} { // a server takes 12 MiB for temporary tables when it starts
			enlarge = append(enlarge, func() {
				if err := syscall.Mount("tmpfs", s.DataDir(), "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dm", size)); err != nil {
					t.Fatal(err)
				}
			})
		}
	} else {
		s.Extra = append(s.Extra, "innodb-file-per-table=OFF", "innodb-data-file-path=ibdata1:12M:autoextend:max:14M")
		for _, size := range []string{"ibdata1:12M:autoextend:max:24M", "ibdata1:12M:autoextend"} {
			enlarge = append(enlarge, func() {
				if err := s.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.Extra[len(s.Extra)-1] = "innodb-data-file-path=" + size
				if err := s.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return target{s, w.request(s, nodeOf("blue-1", w.primary), nodeOf("blue-2", w.replica))}, enlarge
}

// restored: the node's maker has put a physical backup of a replica into it, made with the old version's own program and
// upgraded by the new one's. It is adopted as it is. trap 33
func restored(t *testing.T, w *world) {
	g := w.backup(t)
	if one(t, g.Admin, "SELECT @@global.gtid_slave_pos") == "" {
		t.Fatal("the backup has no position")
	}
	stop := load(t, w.primary)
	var st Status
	err := seeder(t, func(c *Config) { c.Limit = 1 }).Seed(t.Context(), g.SeedRequest, nil, func(_ context.Context, s any, _ float64, _ string) error {
		st = s.(Status)
		return nil
	})
	stop()
	if err != nil || st.Method != Restored {
		t.Fatalf("%+v %v", st, err)
	}
	w.whole(t, g)

	t.Run("of another cluster", func(t *testing.T) {
		g.Exec(t, "STOP SLAVE")
		g.Exec(t, "RESET SLAVE ALL")
		for stmt, want := range map[string]string{
			"SET GLOBAL gtid_slave_pos='0-999-99999999'": "which the primary blue-1 has not come to",
			"SET GLOBAL gtid_slave_pos=''":               "no position (gtid_slave_pos) that it could be a backup of",
		} {
			g.Exec(t, "RESET MASTER")
			g.Exec(t, stmt)
			g.Exec(t, "SET STATEMENT sql_log_bin=0 FOR UPDATE windlass.seed SET target='another'")
			refusal(t, seeder(t, nil).Seed(t.Context(), g.SeedRequest, nil, nothing), want)
		}
	})
}

// backup starts a node of the new version on a physical backup of the replica.
func (w *world) backup(t *testing.T) target {
	t.Helper()
	old, s := w.replica.Build, processtest.New(t, "11.8", fast, processtest.With("skip-slave-start=ON"))
	conf := filepath.Join(t.TempDir(), "client.cnf")
	if err := os.WriteFile(conf, []byte(fmt.Sprintf("[client]\nhost=127.0.0.1\nport=%d\nuser=%s\npassword=%s\n", w.replica.Port, processtest.AdminUser, processtest.AdminPassword)), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(program string, args ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", filepath.Base(program), args, err, out)
		}
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(old.Bin(), "mariadb-backup")
	run(program, "--defaults-file="+conf, "--backup", "--target-dir="+s.DataDir(), "--datadir="+w.replica.DataDir())
	run(program, "--prepare", "--target-dir="+s.DataDir())
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, []byte(fmt.Sprintf("[client]\nhost=127.0.0.1\nport=%d\nuser=%s\npassword=%s\n", s.Port, processtest.AdminUser, processtest.AdminPassword)), 0o600); err != nil {
		t.Fatal(err)
	}
	run(filepath.Join(s.Build.Bin(), "mariadb-upgrade"), "--defaults-file="+conf, "--skip-ssl", "--skip-write-binlog")
	return target{s, w.request(s, nodeOf("blue-1", w.primary), nodeOf("blue-2", w.replica))}
}

// refusal sees that an error is one that no waiting mends, with that text.
func refusal(t *testing.T, err error, want string) {
	t.Helper()
	var r *engine.Refusal
	if !errors.As(err, &r) || !strings.Contains(err.Error(), want) {
		t.Errorf("no refusal with %q: %v", want, err)
	}
	if r != nil && r.Checks.OK() {
		t.Errorf("its checks say nothing: %v", r.Checks)
	}
}

// refused lists what is not copied, or not written to, with the reason.
func refused(t *testing.T, w *world) {
	g := w.fresh(t)
	undo := func(stmts ...string) func() {
		return func() {
			for _, stmt := range stmts {
				g.Exec(t, stmt)
			}
		}
	}
	primary := func(stmts ...string) func() {
		return func() {
			for _, stmt := range stmts {
				w.primary.Exec(t, stmt)
			}
			w.replica.CatchUp(t, w.primary)
		}
	}
	for _, c := range []struct {
		name     string
		do, undo func()
		config   func(*Config)
		request  func(*bluegreen.SeedRequest)
		want     string
	}{
		{name: "a node of somebody else's", config: func(c *Config) {
			c.Mark = func(context.Context, bluegreen.SeedRequest) (string, error) { return "somebody", nil }
		}, want: `green-1 carries the mark "somebody", its cell green is owned by "raise prod/orders"`},
		{name: "a writable node", do: undo("SET GLOBAL read_only=0"), undo: undo("SET GLOBAL read_only=1"), want: "green-1 is writable"},
		{name: "a node with data", do: undo("SET STATEMENT sql_log_bin=0 FOR CREATE DATABASE mine", "SET STATEMENT sql_log_bin=0 FOR CREATE TABLE mine.t (id INT)"), undo: undo("SET STATEMENT sql_log_bin=0 FOR DROP DATABASE mine"), want: "green-1 holds a schema mine that no try of ours has made"},
		{name: "the old cell's own server", request: func(r *bluegreen.SeedRequest) {
			r.Node.Address = w.replica.Address()
			r.Cluster.Cells[1].Nodes[0].Address = w.replica.Address()
		}, want: "is the same server as blue/blue-2"},
		{name: "an old term", do: undo("SET STATEMENT sql_log_bin=0 FOR CREATE DATABASE windlass", "SET STATEMENT sql_log_bin=0 FOR CREATE TABLE windlass.fence (id INT, term BIGINT)", "SET STATEMENT sql_log_bin=0 FOR INSERT INTO windlass.fence VALUES (1, 4)"), undo: undo("SET STATEMENT sql_log_bin=0 FOR DROP DATABASE windlass"), want: "green-1 has seen term 4, this is 3"}, // trap 1
		{name: "too much data", config: func(c *Config) { c.Limit = 1000 }, want: "a copy over the network is limited to 1000 bytes"}, // trap 33
		{name: "a table without transactions", do: primary("CREATE TABLE app.my (id INT) ENGINE=MyISAM"), undo: primary("DROP TABLE app.my"), want: "1 tables are not InnoDB, so that a snapshot does not hold them: app.my (MyISAM)"},
		{name: "what the new version does not understand", do: primary("CREATE PROCEDURE app.old() SELECT 1 AS vector"), undo: primary("DROP PROCEDURE app.old"), want: "does not take routine app.old as blue-2 has it"},
		{name: "a node that logged", do: undo("CREATE DATABASE logged", "DROP DATABASE logged"), want: "green-1 has logged transactions of its own"}, // last: it stays so
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.do != nil {
				c.do()
			}
			r := g.SeedRequest
			if c.request != nil {
				r = w.request(g.Server, nodeOf("blue-1", w.primary), nodeOf("blue-2", w.replica))
				c.request(&r)
			}
			err := seeder(t, c.config).Seed(t.Context(), r, nil, nothing)
			switch {
			case c.name == "an old term" && !errors.Is(err, engine.ErrFenced), err == nil, !strings.Contains(err.Error(), c.want):
				t.Errorf("no %q in %v", c.want, err)
			}
			if done, _, err := seeder(t, nil).Seeded(t.Context(), g.SeedRequest); done || err != nil {
				t.Errorf("seeded: %v %v", done, err)
			}
			if c.undo != nil {
				c.undo()
			}
		})
	}
}
