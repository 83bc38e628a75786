package cli

import (
	"errors"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Version is the release's version.
var Version = "0.1.0-dev"

// New makes the command with every verb that talks to a server. The caller adds those that are one: server, supervisor, demo.
func New() *cobra.Command {
	o := &Options{}
	root := &cobra.Command{
		Use:   "windlass",
		Short: "Raise a fleet of stateful clusters from one version to the next, without downtime",
		Long: `Windlass raises a fleet of stateful database clusters from one version to the next, with zero
downtime and a way back at every step.

Try it on this machine:      windlass demo bluegreen
What moves, what is held:    windlass status
Why it does not move:        windlass why ENV/CLUSTER`,
		SilenceUsage: true, SilenceErrors: true, Version: Version,
	}
	f := root.PersistentFlags()
	f.StringVarP(&o.Output, "output", "o", "table", "`FORMAT` of the result: table or json")
	f.StringVar(&o.Server, "server", envOr("WINDLASS_SERVER", "http://127.0.0.1:8480"), "`URL` of the server (WINDLASS_SERVER)")
	f.StringVar(&o.TokenFile, "token-file", os.Getenv("WINDLASS_TOKEN_FILE"), "`FILE` with your token, mode 0600 (WINDLASS_TOKEN_FILE)")
	f.StringVar(&o.CAFile, "ca-file", os.Getenv("WINDLASS_CA_FILE"), "PEM `FILE` that the server's certificate must come from (WINDLASS_CA_FILE)")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if o.Output != "table" && o.Output != "json" {
			return Failf(ExitUsage, "give table or json", "--output can't be %q", o.Output)
		}
		return nil
	}
	group(root)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if cmd.HasSubCommands() { // the flags of a verb that there is not are unknown, too
			if err := knownVerb(cmd, cmd.Flags().Args()); err != nil {
				return err
			}
		}
		list := cmd.CommandPath() + " --help lists the flags"
		var bad *pflag.InvalidValueError
		if errors.As(err, &bad) {
			wanted := map[string]string{"bool": "a yes or no (true, false)", "int": "a number", "duration": "a duration, such as 90s or 2h,"}[bad.GetFlag().Value.Type()]
			if wanted != "" {
				return Failf(ExitUsage, list, "--%s can't be %q: %s is wanted", bad.GetFlag().Name, bad.GetValue(), wanted)
			}
		}
		return Failf(ExitUsage, list, "%w", err)
	})
	root.AddCommand(applyCommand(o), planCommand(o), checkCommand(o), statusCommand(o), whyCommand(o), forecastCommand(o), launchCommand(o), pauseCommand(o), resumeCommand(o), abortCommand(o),
		rollbackCommand(o), approveCommand(o), overrideCommand(o), freezeCommand(o), thawCommand(o), eventsCommand(o), tokenCommand(o))
	root.AddCommand(fleetCommand(o), forgetCommand(o), captureCommand(o), replayCommand(o))
	o.explain(root)
	return root
}

func envOr(name, other string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return other
}

func (o *Options) printer(cmd *cobra.Command) printer {
	return printer{cmd.OutOrStdout(), o.Output == "json"}
}
