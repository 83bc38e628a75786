package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

var errGRPC = errors.New("write grpc://HOST:PORT, or grpcs:// for TLS, and /SERVICE after it for one service")

// grpc takes the address apart.
func (p Probe) grpc(u Unit) (host, service string, secure bool, err error) {
	text, err := expand(p.GRPC, u)
	if err != nil {
		return "", "", false, err
	}
	at, err := url.Parse(text)
	if err != nil || at.Scheme != "grpc" && at.Scheme != "grpcs" || at.RawQuery != "" || at.User != nil {
		return "", "", false, fmt.Errorf("%q: %w", p.GRPC, errGRPC)
	}
	if _, _, err := net.SplitHostPort(at.Host); err != nil {
		return "", "", false, fmt.Errorf("%q: %w", p.GRPC, errGRPC)
	}
	return at.Host, strings.TrimPrefix(at.Path, "/"), at.Scheme == "grpcs", nil
}

// serving asks by gRPC's health protocol, on a connection of its own, past any proxy: it is this node that is asked.
func (p Probe) serving(ctx context.Context, u Unit) (answer string, err error) {
	host, service, secure, err := p.grpc(u)
	if err != nil {
		return "", err
	}
	how := insecure.NewCredentials()
	if secure {
		how = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	c, err := grpc.NewClient("passthrough:///"+host, grpc.WithTransportCredentials(how), grpc.WithNoProxy(), grpc.WithDisableServiceConfig())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	said, err := grpc_health_v1.NewHealthClient(c).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
	switch {
	case status.Code(err) == codes.NotFound:
		return "", fmt.Errorf("%s has no service %q", host, service)
	case status.Code(err) == codes.Unimplemented:
		return "", fmt.Errorf("%s does not speak gRPC's health protocol", host)
	case err != nil:
		return "", fmt.Errorf("ask %s: %w", host, err)
	case said.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING:
		return "", fmt.Errorf("%s says %s", host, said.GetStatus())
	}
	return said.GetStatus().String(), nil
}
