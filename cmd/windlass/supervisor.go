package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/driver/engines"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/inplace"
	queries "github.com/windlass-db/windlass/internal/replay/run"
	"github.com/windlass-db/windlass/internal/rolling"
	"github.com/windlass-db/windlass/internal/supervisor"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

func supervisorCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "supervisor --config FILE", Short: "Run the agent of one environment",
		Long: `Pulls actions of its environment from the server and runs them. Several supervisors of one environment share the work.

The file says where the work comes from and how nodes, gateways and records are reached: examples/supervisor.yaml, or
examples/exec/supervisor.yaml for a program of your own that makes the nodes; examples/rolling/supervisor.yaml for engines behind load
balancers. The secrets are in files of mode 0600 beside it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runSupervisor(cmd.Context(), file) },
	}
	cmd.Flags().StringVar(&file, "config", "supervisor.yaml", "the supervisor's `FILE`")
	return cmd
}

func runSupervisor(ctx context.Context, file string) error {
	f, err := settings.Read(file)
	if errors.Is(err, os.ErrNotExist) {
		return cli.Failf(cli.ExitUsage, "name the supervisor's file with --config", "%w", err)
	}
	if err != nil {
		return cli.Failf(cli.ExitUsage, "", "%w", err)
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	token, err := settings.Secret(f.Server.TokenFile)
	if err != nil {
		return cli.Failf(cli.ExitUsage, "", "%w", err)
	}
	if f.Server.Clear() {
		log.Warn("the token travels in clear text: give the server a certificate, and write https into server.url", "server", f.Server.URL)
	}
	client, err := api.NewClient(f.Server.URL, token, f.Server.CAFile)
	if err != nil {
		return cli.Failf(cli.ExitUsage, "", "%w", err)
	}
	var all []engine.Handler
	looks, kinds := supervisor.Looks{Now: time.Now}, supervisor.Kinds{}
	options := engine.Options{}
	replays := 0
	if f.Databases {
		ports, nodes, err := drivers(f, log)
		if err != nil {
			return err
		}
		all = append(bluegreen.Handlers(ports), inplace.Handlers(nodes)...)
		looks.Storage, looks.Switcher, looks.Gateways, looks.Records = ports.Storage, ports.Switcher, ports.Gateways, ports.Records
		kinds.Databases = ports.Storage
		if f.Replay != nil {
			queries.Threads() // statements are due at their time
			replays = f.Replay.AtOnce
		}
		options.OnLease = ofDatabases(bluegreen.Settle(ports)) // a primary that was restarted boots read-only (trap 2)
	}
	nodes, err := engines.New(f.Engines)
	if err != nil {
		return cli.Failf(cli.ExitUsage, "look at engines in the supervisor's file", "%w", err)
	}
	defer nodes.Close()
	if len(f.Engines) > 0 {
		all = append(all, rolling.Handlers(nodes.Ports())...)
		all = append(all, rolling.ContractHandlers(nodes.Ports())...)
		looks.Engines = rolling.Looks{Ports: nodes.Ports(), Now: time.Now}
		kinds.Engines = looks.Engines
	}
	options.Gate = supervisor.Guard{Storage: kinds, Now: time.Now}.Before
	handlers, err := engine.NewHandlers(all...)
	if err != nil {
		return err
	}
	if err := greet(ctx, client.Agent(f.Environment), f, log); err != nil {
		return err
	}
	log.Info("supervisor runs", "env", f.Environment, "name", f.Name, "server", f.Server.URL)
	return supervisor.New(supervisor.Config{
		Name: f.Name, Env: f.Environment, Server: client.Agent(f.Environment), Handlers: handlers, Slots: f.Slots, Replays: replays, Log: log, Now: time.Now,
		Observer: looks, WatchEvery: f.WatchEvery, NoReopen: f.NoReopen, Engine: options,
		Covers: func(c fleet.Cluster) bool {
			if c.Database() {
				return f.Databases
			}
			return nodes.Drives(c)
		},
	}).Run(ctx)
}

// ofDatabases does it for databases alone: no other cluster has a primary.
func ofDatabases(settle func(context.Context, engine.Assignment) error) func(context.Context, engine.Assignment) error {
	return func(ctx context.Context, a engine.Assignment) error {
		if !a.Cluster.Database() {
			return nil
		}
		return settle(ctx, a)
	}
}

// greet asks the server once. What no waiting mends ends the program: a certificate that is not trusted, a token that is not
// known or is another environment's. A server that is merely away is waited for.
func greet(ctx context.Context, agent *api.Agent, f settings.File, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	_, err := agent.Watched(ctx)
	var away *api.UnreachableError
	var refused *api.Error
	switch {
	case errors.As(err, &away) && away.Untrusted():
		return cli.Failf(cli.ExitError, away.ErrorHint(), "%w", err)
	case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden):
		return cli.Failf(cli.ExitError, fmt.Sprintf("make one with: windlass token create --role supervisor --env %s --name %s", f.Environment, f.Name),
			"the server refuses the token in %s for environment %s: %w", f.Server.TokenFile, f.Environment, err)
	case err != nil:
		log.Warn("the server did not answer yet; it is asked again and again", "err", err)
	}
	return nil
}
