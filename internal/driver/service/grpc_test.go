package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/windlass-db/windlass/internal/fleet"
)

// A real gRPC server says how it is, as a whole and for one service; one that does not speak the protocol, hangs or is not there is not healthy.
func TestGRPCHealth(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	word := health.NewServer()
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, word)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); must(t, <-ended) })
	u := Unit{Node: fleet.Node{Name: "n1", Address: l.Addr().String()}}
	ask := func(text string, u Unit) string {
		t.Helper()
		p := Probe{GRPC: text}
		must(t, p.check("health"))
		answer, err := p.ask(t.Context(), u)
		if err != nil {
			return err.Error()
		}
		return answer
	}
	want := func(got, want string) {
		t.Helper()
		if !strings.Contains(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	want(ask("grpc://{address}", u), "SERVING")
	want(ask("grpc://{host}:{port}/jobs.Jobs", u), `has no service "jobs.Jobs"`)
	word.SetServingStatus("jobs.Jobs", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	want(ask("grpc://{address}/jobs.Jobs", u), "says NOT_SERVING")
	word.SetServingStatus("jobs.Jobs", grpc_health_v1.HealthCheckResponse_SERVING)
	if got := ask("grpc://{address}/jobs.Jobs", u); got != "SERVING" {
		t.Error(got)
	}
	word.Shutdown()
	want(ask("grpc://{address}", u), "says NOT_SERVING")
	want(ask("grpcs://{address}", u), "ask "+u.Node.Address) // it has no TLS

	mute := grpc.NewServer()
	l2, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	go func() { ended <- mute.Serve(l2) }()
	want(ask("grpc://{address}", Unit{Node: fleet.Node{Address: l2.Addr().String()}}), "does not speak gRPC's health protocol")
	mute.Stop()
	must(t, <-ended)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	want(ask("grpc://{address}", Unit{Node: fleet.Node{Address: web.Listener.Addr().String()}}), "ask "+web.Listener.Addr().String())

	hangs, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer hangs.Close()
	began := time.Now()
	if _, err := (Probe{GRPC: "grpc://{address}", Timeout: 200 * time.Millisecond}).ask(context.Background(), Unit{Node: fleet.Node{Address: hangs.Addr().String()}}); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("one that hangs: %v after %v", err, time.Since(began))
	}
	for _, bad := range []string{"{address}", "http://{address}", "grpc://", "grpc://h", "grpc://{pod}", "grpc://u@{address}", "grpc://{address}?a=b"} {
		if err := (Probe{GRPC: bad}).check("health"); err == nil {
			t.Errorf("%q is taken", bad)
		} else if strings.HasPrefix(bad, "http") && !errors.Is(err, errGRPC) {
			t.Error(err)
		}
	}
	if err := (Probe{GRPC: "grpc://{address}", JSON: "a"}).check("health"); err == nil {
		t.Error("JSON of a health answer is taken")
	}
}
