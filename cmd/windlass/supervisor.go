package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/supervisor"
	"github.com/windlass-db/windlass/internal/supervisor/settings"
)

func supervisorCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "supervisor --config FILE", Short: "Run the agent of one environment",
		Long: `Pulls actions of its environment from the server and runs them. Several supervisors of one environment share the work.

The file says where the work comes from and how nodes, gateways and records are reached: examples/supervisor.yaml, or
examples/exec/supervisor.yaml for a program of your own that makes the nodes. The secrets are in files of mode 0600 beside it.`,
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
	ports, err := drivers(f, log)
	if err != nil {
		return err
	}
	handlers, err := engine.NewHandlers(bluegreen.Handlers(ports)...)
	if err != nil {
		return err
	}
	log.Info("supervisor runs", "env", f.Environment, "name", f.Name, "server", f.Server.URL)
	return supervisor.New(supervisor.Config{
		Name: f.Name, Env: f.Environment, Server: client.Agent(f.Environment), Handlers: handlers, Slots: f.Slots, Log: log, Now: time.Now,
		Observer:   supervisor.Looks{Storage: ports.Storage, Switcher: ports.Switcher, Gateways: ports.Gateways, Records: ports.Records, Now: time.Now},
		WatchEvery: 2 * time.Second,
		Engine:     engine.Options{OnLease: bluegreen.Settle(ports)}, // a primary that was restarted boots read-only (trap 2)
	}).Run(ctx)
}
