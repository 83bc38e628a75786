package workflow

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// health answers gRPC's health service for the whole node.
type health struct {
	grpc_health_v1.UnimplementedHealthServer
	e *engine
}

// Check says whether the node can serve.
func (h health) Check(ctx context.Context, _ *grpc_health_v1.HealthCheckRequest) (*grpc_health_v1.HealthCheckResponse, error) {
	if h.e.healthy(ctx) != nil {
		return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}, nil
}

// withGRPC answers calls of gRPC beside what else comes to the port.
func (e *engine) withGRPC(other http.Handler) http.Handler {
	calls := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(calls, health{e: e})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
			calls.ServeHTTP(w, r)
			return
		}
		other.ServeHTTP(w, r)
	})
}
