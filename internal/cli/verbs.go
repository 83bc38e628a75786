package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/config"
)

// Add adds verbs that talk to no server's API, such as the server itself: one with verbs below it says which there are, every other takes no argument.
func Add(root *cobra.Command, cmds ...*cobra.Command) {
	for _, cmd := range cmds {
		root.AddCommand(cmd)
		if cmd.HasSubCommands() {
			group(cmd)
			for _, c := range cmd.Commands() {
				if !c.Hidden { // which is run by ourselves
					c.Args = exactly(0, "no argument")
				}
			}
			continue
		}
		cmd.Args = exactly(0, "no argument")
	}
}

// group makes a command that has only verbs below it: alone it shows its help, and a verb that there is not is a mistake of usage.
func group(cmd *cobra.Command) {
	cmd.Args = knownVerb
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// knownVerb refuses what is left of the command line when no verb took it.
func knownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint, list := config.Suggest(args[0], names), cmd.CommandPath()+" --help lists the verbs"
	if near := config.Meant(args[0], names, ""); near != "" {
		hint = near + " " + list
	} else if len(hint) > 60 {
		hint = list
	}
	return Failf(ExitUsage, hint, "%s has no verb %q", cmd.CommandPath(), args[0])
}

// completeVerbs makes the library's own verbs, help and completion, refuse what there is not like every other.
func completeVerbs(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "completion":
			group(c)
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				found, left, err := root.Find(args)
				if err != nil {
					return err
				}
				if found.HasSubCommands() {
					return knownVerb(found, left)
				}
				return nil
			}
		}
	}
}

// exactly is cobra.ExactArgs with an error that says what is wanted.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		hint := "usage: " + cmd.UseLine()
		if n == 0 && len(args) == 1 && cmd.Flags().Lookup("campaign") != nil {
			hint = fmt.Sprintf("if %s is a campaign, write --campaign %s", args[0], args[0])
		}
		return Failf(ExitUsage, hint, "%s takes %s, and got %s", cmd.CommandPath(), what, given(args))
	}
}

func given(args []string) string {
	if len(args) == 0 {
		return "none"
	}
	return strings.Join(args, " ")
}
