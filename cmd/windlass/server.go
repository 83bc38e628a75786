package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/launcher"
	"github.com/windlass-db/windlass/internal/notify"
	"github.com/windlass-db/windlass/internal/secret"
	"github.com/windlass-db/windlass/internal/server"
	"github.com/windlass-db/windlass/internal/state"
)

type serverFlags struct {
	listen, state, operatorToken, cert, key, notifications string
	lease                                                  time.Duration
	openReads                                              bool
}

func serverCommand() *cobra.Command {
	var f serverFlags
	cmd := &cobra.Command{
		Use: "server", Short: "Run the server: launcher, API, dashboard, metrics",
		Long: `Runs the control plane. Its state is one SQLite file, or a PostgreSQL database that several servers share: one of
them launches, each answers everybody. Killed anywhere, it goes on from there; while it is away nothing new starts,
and traffic is not affected.

The operator's token is written to --operator-token-file if that file is not there yet.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServer(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8480", "`ADDRESS` to serve on")
	fl.StringVar(&f.state, "state", "windlass.db", "`FILE` that keeps the state, or postgres://USER@HOST/DATABASE; a password is best kept in the file that PGPASSFILE names")
	fl.StringVar(&f.operatorToken, "operator-token-file", "operator.token", "`FILE` with the operator's token; made if it is not there")
	fl.StringVar(&f.cert, "tls-cert", "", "PEM `FILE` with the certificate; needs --tls-key")
	fl.StringVar(&f.key, "tls-key", "", "PEM `FILE` with the certificate's key")
	fl.DurationVar(&f.lease, "lease", 15*time.Second, "how long a supervisor's lease lasts without a heartbeat")
	fl.BoolVar(&f.openReads, "open-reads", false, "show pages and status without a token; only on a loopback address")
	fl.StringVar(&f.notifications, "notifications", "", "`FILE` that says where events are sent: Slack, webhooks")
	return cmd
}

func runServer(ctx context.Context, f serverFlags) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	tlsConfig, err := f.tls()
	if err != nil {
		return err
	}
	var sinks notify.Config
	if f.notifications != "" {
		if sinks, err = notify.LoadConfig(f.notifications); err != nil {
			hint := ""
			if errors.Is(err, fs.ErrNotExist) {
				hint = "look at the path; docs/notifications.md shows such a file, for example: --notifications notifications.yaml"
			}
			return cli.Failf(cli.ExitUsage, hint, "--notifications %s: %w", f.notifications, err)
		}
	}
	if err := knownPlace(f.state); err != nil {
		return err
	}
	l, err := listen(f.listen)
	if err != nil {
		return err
	}
	loopback := l.Addr().(*net.TCPAddr).IP.IsLoopback()
	if tlsConfig == nil && !loopback {
		log.Warn("tokens travel in clear text: give --tls-cert and --tls-key", "listen", f.listen)
	}
	if f.openReads && !loopback {
		return errors.Join(cli.Failf(cli.ExitUsage, "leave --open-reads out, or listen on 127.0.0.1", "--open-reads would show the fleet to everybody who reaches %s", f.listen), l.Close())
	}
	store, err := state.Open(ctx, f.state, state.Options{LeaseTTL: f.lease})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer store.Close()
	if err := operatorToken(ctx, store, f.operatorToken, log); err != nil {
		return errors.Join(err, l.Close())
	}
	host, err := os.Hostname()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	holder := fmt.Sprintf("%s/%d", host, os.Getpid())
	cfg := server.Config{Store: store, Decide: campaign.Decide, Log: log, Now: store.Now, TLS: tlsConfig, OpenReads: f.openReads}
	var n *notify.Notifier
	if f.notifications != "" {
		n = notify.New(notify.Options{Config: sinks, Store: store, Holder: holder, Log: log, Now: store.Now})
		if err := n.Start(ctx); err != nil {
			return errors.Join(err, l.Close())
		}
		cfg.Notifications = n
	}
	s, err := server.New(cfg)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	log.Info("server runs", "listen", l.Addr().String(), "state", state.Redacted(f.state), "version", cli.Version)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx, l) })
	if n != nil {
		g.Go(func() error { return n.Run(ctx) })
	}
	g.Go(func() error {
		return launcher.Launcher{Store: store, Decide: campaign.Decide, Holder: holder, Log: log, Now: store.Now}.Run(ctx)
	})
	return g.Wait()
}

// listen takes the address, or says what is wrong with it.
func listen(address string) (net.Listener, error) {
	const example = "write it as HOST:PORT, such as 127.0.0.1:8480"
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, cli.Failf(cli.ExitUsage, example, "--listen %q is no address: %w", address, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return nil, cli.Failf(cli.ExitUsage, example, "--listen %q: the port is a number from 0 to 65535, and 0 takes any that is free", address)
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	hint := ""
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "is another server running? stop it, or choose another address with --listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have that address; 0.0.0.0 is all that it has"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 are for root alone; choose another with --listen"
	case errors.As(err, &name):
		hint = "name an address of this machine; " + example
	}
	return nil, cli.Failf(cli.ExitError, hint, "can't serve on %s: %w", address, err)
}

func (f serverFlags) tls() (*tls.Config, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, cli.Failf(cli.ExitUsage, "give both --tls-cert and --tls-key", "only one of certificate and key is given")
	}
	if f.cert == "" {
		return nil, nil
	}
	if info, err := os.Stat(f.key); err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, cli.Failf(cli.ExitUsage, "chmod 600 "+f.key, "the key in %s can be read by others (mode %04o)", f.key, info.Mode().Perm())
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, cli.Failf(cli.ExitUsage, "", "read the certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// knownPlace refuses a PostgreSQL address that names no host or no database: the driver would take this user's own, which nobody meant.
func knownPlace(place string) error {
	u, err := url.Parse(place)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil // a file; of an address that is broken the driver says what is wrong, without its password
	}
	if q := u.Query(); u.Host == "" && !q.Has("host") || strings.Trim(u.Path, "/") == "" && !q.Has("dbname") && !q.Has("database") {
		return cli.Failf(cli.ExitUsage, "write it as postgres://USER@HOST/DATABASE", "--state %s names no host, or no database", state.Redacted(place))
	}
	return nil
}

// operatorToken makes the operator's token known, and makes it if there is none. One that was revoked does not keep the server from starting
// as long as another operator's is good: what was revoked is not made good again, and nothing needs it.
func operatorToken(ctx context.Context, store *state.Store, path string, log *slog.Logger) error {
	token, err := secret.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = secret.CreateFile(path, "wl_"+secret.New()); err == nil || errors.Is(err, fs.ErrExist) { // of several servers one makes it
			token, err = secret.ReadFile(path)
		}
	}
	if err != nil {
		return fmt.Errorf("the operator's token: %w", err)
	}
	err = store.AddToken(ctx, token, state.Token{Role: "operator", Name: "operator"}, "server")
	if errors.Is(err, state.ErrRevoked) {
		all, listErr := store.Tokens(ctx)
		if listErr != nil {
			return fmt.Errorf("the operator's token in %s: %w", path, errors.Join(err, listErr))
		}
		if slices.ContainsFunc(all, func(t state.TokenInfo) bool { return t.Role == "operator" && t.RevokedAt.IsZero() }) {
			log.Warn("the token in the operator's token file was revoked: the server goes on with the other operators' tokens; remove the file, and the next start makes a new one", "file", path)
			return nil
		}
		return cli.Failf(cli.ExitError, "remove "+path+" and start the server again: it makes a new one", "the operator's token in %s: %w, and no other operator's token is good", path, err)
	}
	if err != nil {
		return fmt.Errorf("the operator's token in %s: %w", path, err)
	}
	return nil
}
