package local_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/drivertest"
	"github.com/windlass-db/windlass/internal/driver/local"
	"github.com/windlass-db/windlass/internal/driver/process"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

func secret(t *testing.T, dir, name, text string) string {
	t.Helper()
	p := filepath.Join(dir, name)
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// gatewayOnce builds the gateway once for all tests.
var gatewayOnce = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "windlass-local-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "windlass-gateway")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/windlass-db/windlass/cmd/windlass-gateway").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the gateway: %w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := gatewayOnce(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

func provisioner(t *testing.T) (*local.Provisioner, context.Context, string) {
	t.Helper()
	dir := t.TempDir()
	gatewayProgram, err := gatewayOnce()
	if err != nil {
		t.Fatal(err)
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

// TestAsEveryProvisioner passes the suite, with a real MariaDB and a real gateway. A node boots read-only (trap 2).
func TestAsEveryProvisioner(t *testing.T) {
	p, ctx, root := provisioner(t)
	gateway := bluegreen.Resource{ID: "qa-orders-green-gateway", Kind: "gateway", Env: "qa", Cluster: "orders", Cell: "green", Product: "mariadb", Version: "11.8", Mark: "c:qa/orders", Term: 100,
		Local: []string{"127.0.0.1:1"}, Servers: []string{"127.0.0.1:1"}}
	for _, r := range []bluegreen.Resource{node(100), gateway} {
		t.Run(r.Kind, func(t *testing.T) {
			drivertest.Provisioner(t, func(*testing.T) bluegreen.Provisioner { return p }, r, func(t *testing.T) {
				if err := (process.Spec{Name: r.ID, Dir: filepath.Join(root, r.ID)}).Kill(ctx); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
	made, err := p.Create(ctx, node(2000))
	if err != nil {
		t.Fatal(err)
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
}

// TestForeignFolder: what somebody else made is named as such (trap 36), and an id leads nowhere else.
func TestForeignFolder(t *testing.T) {
	p, ctx, root := provisioner(t)
	if err := process.Mark(filepath.Join(root, node(1).ID), "somebody else"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Create(ctx, node(1)); !errors.Is(err, process.ErrNotOurs) {
		t.Errorf("create with another mark: %v", err)
	}
	if err := p.Delete(ctx, node(1)); !errors.Is(err, process.ErrNotOurs) {
		t.Errorf("delete with another mark: %v", err)
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
