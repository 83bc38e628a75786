// Command windlass-gateway is the data plane alone: the MySQL gateway of one cell. It knows nothing of campaigns, and a release of
// the rest of Windlass never restarts it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/windlass-db/windlass/internal/gateway"
	"github.com/windlass-db/windlass/internal/interrupt"
)

const usage = `windlass-gateway serves clients of a MySQL or MariaDB cluster, and keeps their sessions while the primary moves.

  windlass-gateway --config FILE          serve
  windlass-gateway --check FILE           read the configuration and the secrets, say all that is missing or wrong, and stop
  windlass-gateway --version

SIGHUP reads the accounts again. SIGTERM takes no new client, lets transactions end, and stops; a second one stops at once.

`

// errUsage means that the command line is wrong.
var errUsage = errors.New("name the configuration: windlass-gateway --config FILE")

// errNoFile means that the configuration's file, or one that it names, is not there.
var errNoFile = errors.New("the configuration can't be read")

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "windlass-gateway:", err)
		switch {
		case errors.Is(err, errUsage):
			os.Exit(2)
		case errors.Is(err, errNoFile):
			fmt.Fprintln(os.Stderr, "  hint: look at the path and the name")
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("windlass-gateway", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	path := flags.String("config", "", "the gateway's configuration `file`")
	check := flags.Bool("check", false, "check the configuration, and what it names, and stop")
	version := flags.Bool("version", false, "print the version and stop")
	level := slog.LevelInfo
	flags.TextVar(&level, "log-level", level, "debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			os.Exit(2) // the flag's error and the usage are printed
		}
		return err
	}
	if *version {
		fmt.Println("windlass-gateway", gateway.Version)
		return nil
	}
	rest := flags.Args()
	if *check && *path == "" && len(rest) == 1 {
		*path, rest = rest[0], nil
	}
	if *path == "" || len(rest) > 0 {
		return errUsage
	}
	cfg, err := gateway.LoadConfig(*path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", errNoFile, err)
	}
	if err != nil {
		return err
	}
	ctx, stop := interrupt.Context()
	defer stop()
	if *check {
		return gateway.Check(ctx, cfg)
	}
	// Whoever reads the log may end: a write to nobody fails, and clients are served on. (Notify and not Ignore, which what is started here would inherit.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	g, err := gateway.New(ctx, cfg, log)
	if err != nil {
		return err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		for range hup {
			if err := g.ReloadAccounts(ctx); err != nil {
				log.Error("accounts were not read again: the old ones stay", "err", err)
			}
		}
	}()
	return g.Run(ctx)
}
