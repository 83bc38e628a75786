package cli

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/state"
)

func tokenCommand(o *Options) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make, list and revoke tokens", Long: "A token is good for its role: an operator's for everything that people may do, a viewer's for looking, a supervisor's for its one environment."}
	group(cmd)
	cmd.AddCommand(tokenCreateCommand(o), tokenListCommand(o), tokenRevokeCommand(o))
	return cmd
}

func tokenCreateCommand(o *Options) *cobra.Command {
	var t state.Token
	cmd := &cobra.Command{
		Use: "create --role ROLE [--env ENV] --name NAME", Short: "Make a token and print it, this once", Args: exactly(0, "no argument"),
		Long:    "Prints the secret, which nobody can show again: the server keeps only its hash.",
		Example: "  (umask 077; windlass token create --role supervisor --env prod --name prod-1 > token)",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fitting(t); err != nil {
				return err
			}
			c, err := o.connect()
			if err != nil {
				return err
			}
			secret, err := c.NewToken(cmd.Context(), t)
			if err != nil {
				return err
			}
			return o.printer(cmd).value(map[string]string{"token": secret}, func(w io.Writer) error { _, err := fmt.Fprintln(w, secret); return err })
		},
	}
	cmd.Flags().StringVar(&t.Role, "role", "", "operator, viewer or supervisor")
	cmd.Flags().StringVar(&t.Env, "env", "", "a supervisor's `ENVIRONMENT`")
	cmd.Flags().StringVar(&t.Name, "name", "", "whom it is for")
	return cmd
}

// fitting says what a token lacks before the server is asked.
func fitting(t state.Token) error {
	switch roles := []string{"operator", "viewer", "supervisor"}; {
	case !slices.Contains(roles, t.Role):
		return Failf(ExitUsage, "roles are operator, viewer, and supervisor, which needs --env ENV, too", "--role %q is no role", t.Role)
	case t.Role == "supervisor" && t.Env == "":
		return Failf(ExitUsage, "say which with --env ENV", "a supervisor's token is for one environment")
	case t.Role != "supervisor" && t.Env != "":
		return Failf(ExitUsage, "leave --env out; only a supervisor's token is for one environment", "%s's token is for every environment", t.Role)
	case t.Name == "":
		return Failf(ExitUsage, "say with --name whom it is for", "a token needs a name")
	}
	return nil
}

func tokenListCommand(o *Options) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens, without their secrets, and when each was used last", Args: exactly(0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			shown := []state.TokenInfo{}
			for _, t := range tokens {
				if all || t.RevokedAt.IsZero() {
					shown = append(shown, t)
				}
			}
			return o.printer(cmd).value(shown, func(w io.Writer) error { return printTokens(w, shown) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that were revoked, too")
	return cmd
}

func printTokens(w io.Writer, tokens []state.TokenInfo) error {
	var rows [][]string
	for _, t := range tokens {
		env, used := t.Env, "never"
		if env == "" {
			env = "-"
		}
		if !t.UsedAt.IsZero() {
			used = t.UsedAt.Format(time.RFC3339)
		}
		if !t.RevokedAt.IsZero() {
			used += ", revoked " + t.RevokedAt.Format(time.RFC3339)
		}
		rows = append(rows, []string{t.ID, t.Role, env, t.Name, t.CreatedAt.Format(time.RFC3339), used})
	}
	return table(w, []string{"ID", "ROLE", "ENV", "FOR", "MADE", "LAST USED"}, rows)
}

// knownToken refuses before it is asked what no good token is named.
func knownToken(cmd *cobra.Command, c *api.Client, named string) error {
	all, err := c.Tokens(cmd.Context())
	if err != nil {
		return err
	}
	var names []string
	for _, t := range all {
		if !t.RevokedAt.IsZero() {
			continue
		}
		if t.ID == named || t.Name == named {
			return nil
		}
		names = append(names, t.ID, t.Name)
	}
	return Failf(ExitUsage, config.Meant(named, names, "`windlass token list` lists them"), "no good token is %q", named)
}

func tokenRevokeCommand(o *Options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "revoke ID|NAME", Short: "End a token, at once and for good", Args: exactly(1, "the id of one token, or whom it is for"),
		Long:    "Who comes with it is refused from now on. A supervisor stops its work in good order when its lease ends; traffic is not affected.",
		Example: "  windlass token revoke prod-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := o.connect()
			if err != nil {
				return err
			}
			if err := knownToken(cmd, c, args[0]); err != nil {
				return err
			}
			ok, err := confirm(cmd, o, fmt.Sprintf("Revoke the token %s: whoever comes with it is refused from now on, and it is never good again.", args[0]))
			if err != nil || !ok {
				return err
			}
			t, err := c.RevokeToken(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return o.printer(cmd).value(t, func(w io.Writer) error { _, err := fmt.Fprintf(w, "Revoked %s: %s.\n", t.ID, t.Token); return err })
		},
	}
	cmd.Flags().BoolVarP(&o.Yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and stop")
	return cmd
}
