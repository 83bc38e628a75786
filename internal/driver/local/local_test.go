package local_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

func secret(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func provisioner(t *testing.T) (*local.Provisioner, context.Context, string) {
	t.Helper()
	dir := t.TempDir()
	gatewayProgram := filepath.Join(dir, "windlass-gateway")
	if out, err := exec.Command("go", "build", "-o", gatewayProgram, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		t.Fatalf("build the gateway: %v: %s", err, out)
	}
	root := filepath.Join(dir, "nodes")
	p := local.New(local.Config{Root: root, InitSQLFile: secret(t, dir, "init.sql", processtest.InitSQL), GatewayProgram: gatewayProgram, GatewayPort: 21000,
		AccountsFile: secret(t, dir, "accounts.yaml", "accounts:\n  - user: app\n    password: app-secret\n"), MonitorUser: processtest.MonitorUser,
		MonitorPasswordFile: secret(t, dir, "monitor", processtest.MonitorSecret), AdminTokenFile: secret(t, dir, "token", "an-admin-token-of-32-characters!")})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(func() {
		if err := p.StopAll(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	})
	return p, ctx, root
}

func node(term int64) bluegreen.Resource {
	return bluegreen.Resource{ID: "qa-orders-green-1", Kind: "node", Env: "qa", Cluster: "orders", Cell: "green", Product: "mariadb", Version: "11.8", Mark: "c:qa/orders", Term: term}
}

// TestNodeIsMadeAdoptedAndDeleted kills the node between two creates: the second adopts what the first made (trap 34).
func TestNodeIsMadeAdoptedAndDeleted(t *testing.T) {
	p, ctx, root := provisioner(t)
	before, err := p.Observe(ctx, node(1))
	if err != nil || before.Exists {
		t.Fatalf("before: %+v, %v", before, err)
	}
	made, err := p.Create(ctx, node(1))
	if err != nil || !made.Running || made.Node == nil || !strings.HasPrefix(made.Version, "11.8.") {
		t.Fatalf("made: %+v, %v", made, err)
	}
	db, err := sql.Open("mysql", processtest.DSN(made.Node.Address, processtest.AdminUser, processtest.AdminPassword, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var ro bool
	if err := db.QueryRow("SELECT @@global.read_only").Scan(&ro); err != nil || !ro {
		t.Errorf("read_only: %t, %v", ro, err)
	}
	if err := (process.Spec{Name: "n", Dir: filepath.Join(root, node(1).ID)}).Kill(ctx); err != nil {
		t.Fatal(err)
	}
	if seen, err := p.Observe(ctx, node(1)); err != nil || seen.Running || !seen.Exists {
		t.Errorf("killed: %+v, %v", seen, err)
	}
	again, err := p.Create(ctx, node(2))
	if err != nil || again.Node.Address != made.Node.Address {
		t.Fatalf("adopted: %+v, %v", again, err)
	}
	for range 2 {
		if err := p.Delete(ctx, node(3)); err != nil {
			t.Fatal(err)
		}
	}
	if seen, err := p.Observe(ctx, node(3)); err != nil || seen.Exists {
		t.Errorf("deleted: %+v, %v", seen, err)
	}
}

// TestLowerTermAndForeignMark are refused (traps 1, 36).
func TestLowerTermAndForeignMark(t *testing.T) {
	p, ctx, _ := provisioner(t)
	if _, err := p.Create(ctx, node(5)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Create(ctx, node(4)); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("create with a lower term: %v", err)
	}
	if err := p.Delete(ctx, node(4)); !errors.Is(err, engine.ErrFenced) {
		t.Errorf("delete with a lower term: %v", err)
	}
	foreign := node(6)
	foreign.Mark = "somebody else"
	if err := p.Delete(ctx, foreign); !errors.Is(err, process.ErrNotOurs) {
		t.Errorf("delete with another mark: %v", err)
	}
	if _, err := p.Create(ctx, foreign); !errors.Is(err, process.ErrNotOurs) {
		t.Errorf("create with another mark: %v", err)
	}
	if seen, err := p.Observe(ctx, node(6)); err != nil || !seen.Running {
		t.Errorf("it was harmed: %+v, %v", seen, err)
	}
	bad := node(1)
	bad.ID = "../escape"
	if _, err := p.Create(ctx, bad); err == nil {
		t.Error("an id that leaves the root was taken")
	}
}

// TestGatewayIsMade puts the real gateway before a real node.
func TestGatewayIsMade(t *testing.T) {
	p, ctx, _ := provisioner(t)
	primary := processtest.Primary(t, "10.11")
	g := bluegreen.Resource{ID: "qa-orders-blue-gateway", Kind: "gateway", Env: "qa", Cluster: "orders", Cell: "blue", Mark: "m", Term: 1, Local: []string{primary.Address()}, Servers: []string{primary.Address()}}
	made, err := p.Create(ctx, g)
	if err != nil || made.Gateway == nil {
		t.Fatalf("made: %+v, %v", made, err)
	}
	db, err := sql.Open("mysql", processtest.DSN(made.Gateway.Address, processtest.AppUser, processtest.AppPassword, "app"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var version string
	processtest.Until(t, 20*time.Second, "the gateway serves", func() bool { err = db.QueryRow("SELECT VERSION()").Scan(&version); return err == nil })
	if !strings.HasPrefix(version, "10.11.") {
		t.Errorf("version through the gateway: %s", version)
	}
	if err := p.Delete(ctx, g); err != nil {
		t.Fatal(err)
	}
}
