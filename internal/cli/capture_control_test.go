package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
)

// captureGateway is a gateway's admin API, as far as captures go.
func captureGateway(t *testing.T, fails error) (url string, asked *[]string) {
	asked = &[]string{}
	on := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		body.ReadFrom(r.Body)
		*asked = append(*asked, r.Method+" "+r.URL.Path+" "+body.String())
		err := fails
		if r.Header.Get("Authorization") != "Bearer the-token" {
			err = adminapi.ErrUnauthorized
		}
		if err != nil {
			p, status := adminapi.NewProblem(err)
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(p)
			return
		}
		on = r.URL.Path == adminapi.PathCaptureStart || on && r.URL.Path == adminapi.PathCapture
		json.NewEncoder(w).Encode(adminapi.CaptureStatus{On: on, Keeps: "all", Statements: 12, Kept: 9, Dropped: map[string]uint64{"sample": 1, "full": 2}, SpoolBytes: 1_250_000})
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func TestCaptureControl(t *testing.T) {
	good, asked := captureGateway(t, nil)
	without, _ := captureGateway(t, adminapi.ErrNoCapture)
	known := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cell := func(name, url string) fleet.Cell {
			return fleet.Cell{Name: name, Gateway: &fleet.Gateway{Name: "orders-" + name, Admin: url}}
		}
		json.NewEncoder(w).Encode([]fleet.Fleet{{Name: "shop", Environments: []fleet.Environment{{Name: "prod", Clusters: []fleet.Cluster{
			{Name: "orders", Env: "prod", Cells: []fleet.Cell{cell("blue", good), cell("green", without)}}, {Name: "stock", Env: "prod"}}}}}})
	}))
	defer known.Close()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("the-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("WINDLASS_GATEWAY_TOKEN_FILE", "")
	run := func(args ...string) (code int, out, errs string) {
		o := &Options{Output: "table", Server: known.URL}
		root := &cobra.Command{Use: "windlass", SilenceUsage: true, SilenceErrors: true}
		root.AddCommand(captureControlCommands(o)...)
		root.SetArgs(args)
		var stdout, stderr bytes.Buffer
		code = Run(context.Background(), root, Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
		return code, stdout.String(), stderr.String()
	}
	wants := func(got string, wanted ...string) {
		t.Helper()
		for _, want := range wanted {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	}
	code, out, errs := run("start", "--gateway", good, "--gateway-token-file", token, "--statements", "all", "--sample", "0.5")
	if code != ExitOK || errs != "" {
		t.Errorf("%d, %s", code, errs)
	}
	wants(out, "on", "all", "full 2, sample 1", "1.2 MB")
	wants(strings.Join(*asked, "\n"), `POST /v1/capture/start {"statements":"all","sample":0.5}`)

	code, out, errs = run("status", "prod/orders", "--gateway-token-file", token)
	if code != ExitError { // one of the two has no capture; the other one is told all the same
		t.Errorf("%d", code)
	}
	wants(out, "orders-blue", "orders-green", "12", "9")
	wants(errs, "1 of 2 gateways failed", "docs/capture.md")

	if code, out, _ = run("stop", "--gateway", good, "--gateway-token-file", token); code != ExitOK || !strings.Contains(out, "off") {
		t.Errorf("%d, %s", code, out)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"status"}, ExitUsage, "name a cluster as ENV/CLUSTER"},
		{[]string{"status", "prod/orders"}, ExitUsage, "--gateway-token-file"},
		{[]string{"status", "prod/orders", "--gateway", good, "--gateway-token-file", token}, ExitUsage, "can't be given together"},
		{[]string{"status", "prod/other", "--gateway-token-file", token}, ExitUsage, "there are: prod/orders, prod/stock"},
		{[]string{"status", "prod/stock", "--gateway-token-file", token}, ExitError, "has no gateway"},
		{[]string{"status", "--gateway", good, "--gateway-token-file", token + "x"}, ExitUsage, "read the gateways' token"},
	} {
		if code, _, errs := run(c.args...); code != c.code || !strings.Contains(errs, c.want) {
			t.Errorf("%v: %d, %s", c.args, code, errs)
		}
	}
	if err := os.WriteFile(token, []byte("another\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := run("status", "--gateway", good, "--gateway-token-file", token); code != ExitError || !strings.Contains(errs, "admin.token_file") {
		t.Errorf("a wrong token: %d, %s", code, errs)
	}
}
