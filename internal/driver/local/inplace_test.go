package local_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

func old(term int64) bluegreen.Resource {
	r := node(term)
	r.ID, r.Cell, r.Version = "orders-2", "blue", "10.11"
	return r
}

func to(r bluegreen.Resource, version string) bluegreen.Resource { r.Version = version; return r }

// rows reads what the node holds, and its version.
func rows(t *testing.T, st bluegreen.ResourceState) (n int, version string) {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(st.Node.Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT COUNT(*), VERSION() FROM app.t").Scan(&n, &version); err != nil {
		t.Fatal(err)
	}
	return n, version
}

func write(t *testing.T, st bluegreen.ResourceState, stmts ...string) {
	t.Helper()
	db, err := sql.Open("mysql", processtest.DSN(st.Node.Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range stmts {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

var errKilled = errors.New("the supervisor is killed here")

// A real server is raised over its data, put back, and raised again, killed at every place inside: by the supervisor's death, and
// by the server's own in the middle. What the new version wrote is not in what is put back.
func TestUpgradeInPlaceKilledEverywhere(t *testing.T) {
	p, ctx, root := provisioner(t)
	st, err := p.Create(ctx, old(5))
	if err != nil {
		t.Fatal(err)
	}
	write(t, st, "CREATE TABLE app.t (id INT PRIMARY KEY)", "INSERT INTO app.t VALUES (1), (2)")
	spec := process.Spec{Name: "orders-2", Dir: filepath.Join(root, "orders-2")}

	// killed runs the change again and again; each time it comes one place further, and is killed there.
	killed := func(places []string, change func(*local.Provisioner) (bluegreen.ResourceState, error)) bluegreen.ResourceState {
		t.Helper()
		for _, place := range places {
			met := false
			p.Point = func(name string) error {
				if name == place {
					met = true
					return errKilled
				}
				return nil
			}
			if _, err := change(p); !errors.Is(err, errKilled) || !met {
				t.Fatalf("killed at %s: %v", place, err)
			}
			st, err := p.Observe(ctx, old(0))
			if err != nil || st.Running || !st.Exists {
				t.Fatalf("killed at %s it looks whole: %+v, %v", place, st, err)
			}
			if err := spec.Kill(ctx); err != nil { // and the server dies too
				t.Fatal(err)
			}
		}
		p.Point = nil
		st, err := change(p)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	raise := func(p *local.Provisioner) (bluegreen.ResourceState, error) {
		return p.Upgrade(ctx, to(old(6), "11.8"))
	}
	restore := func(p *local.Provisioner) (bluegreen.ResourceState, error) { return p.Restore(ctx, old(6)) }

	up := killed([]string{"noted", "stopped", "kept", "raised"}, raise)
	if up.Node.Address != st.Node.Address || !up.Running || !strings.HasPrefix(up.Version, "11.8.") || up.Kept != "10.11" {
		t.Fatalf("raised: %+v", up)
	}
	if n, v := rows(t, up); n != 2 || !strings.HasPrefix(v, "11.8.") {
		t.Fatalf("raised: %d rows on %s", n, v)
	}
	write(t, up, "INSERT INTO app.t VALUES (3)")
	if _, err := p.Create(ctx, old(6)); err == nil {
		t.Error("created over the raised one")
	}

	down := killed([]string{"noted", "aside", "swapped"}, restore)
	if down.Node.Address != st.Node.Address || !down.Running || !strings.HasPrefix(down.Version, "10.11.") || down.Kept != "" {
		t.Fatalf("put back: %+v", down)
	}
	if n, v := rows(t, down); n != 2 || !strings.HasPrefix(v, "10.11.") {
		t.Fatalf("put back: %d rows on %s", n, v)
	}
	again, err := raise(p)
	if err != nil || again.Kept != "10.11" {
		t.Fatalf("raised again: %+v, %v", again, err)
	}
	for i := range 2 { // each may be asked for again
		if again, err = raise(p); err != nil || !again.Running || (again.Kept == "10.11") != (i == 0) {
			t.Fatalf("raised twice: %+v, %v", again, err)
		}
		if err := p.Discard(ctx, to(old(6), "11.8")); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := p.Observe(ctx, old(0)); err != nil || st.Kept != "" || !st.Running {
		t.Errorf("discarded: %+v, %v", st, err)
	}

	// Without a copy there is no way back; another's node, and an old term, change nothing (traps 1, 36).
	var refusal *engine.Refusal
	if _, err := restore(p); !errors.As(err, &refusal) {
		t.Errorf("put back without a copy: %v", err)
	}
	other := to(old(7), "11.8")
	other.Mark = "somebody else"
	for what, call := range map[string]func(bluegreen.Resource) error{
		"upgrade": func(r bluegreen.Resource) error { _, err := p.Upgrade(ctx, r); return err },
		"restore": func(r bluegreen.Resource) error { _, err := p.Restore(ctx, r); return err },
		"discard": func(r bluegreen.Resource) error { return p.Discard(ctx, r) },
	} {
		if err := call(other); !errors.Is(err, process.ErrNotOurs) {
			t.Errorf("%s of another's node: %v", what, err)
		}
		if err := call(to(old(5), "11.8")); !errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s with a lower term: %v", what, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(root, "orders-2", "*.raised")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(filepath.Join(root, "orders-2", "data")); err != nil {
		t.Error(err)
	}
}
