package workflow

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Main runs a node with the arguments of a command line, until it is told to end. The database is told by the variable JOBS_DSN.
func Main(args []string, r Release, out io.Writer) error {
	c := Config{DSN: os.Getenv("JOBS_DSN"), Release: r}
	f := flag.NewFlagSet("jobs "+r.Version, flag.ContinueOnError)
	f.SetOutput(out)
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8081", "`ADDRESS` to serve on")
	f.StringVar(&c.Node, "node", "n1", "this node's `NAME`")
	f.IntVar(&c.Workers, "workers", 2, "steps at once")
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case f.NArg() > 0:
		return fmt.Errorf("%q is no flag", f.Arg(0))
	case c.DSN == "":
		return errors.New("JOBS_DSN is empty: put the database's name into it, postgres://… or mysql://…")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return Run(ctx, c)
}
