package cli

import (
	"errors"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/api"
)

// connect opens the API with the token that the flags or the environment name.
func (o *Options) connect() (*api.Client, error) {
	token := ""
	if o.TokenFile != "" {
		info, err := os.Stat(o.TokenFile)
		if err != nil {
			return nil, Failf(ExitUsage, "name a file that holds the token with --token-file, or in WINDLASS_TOKEN_FILE", "read the token: %w", err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			return nil, Failf(ExitUsage, "chmod 600 "+o.TokenFile, "the token in %s can be read by others (mode %04o)", o.TokenFile, info.Mode().Perm())
		}
		b, err := os.ReadFile(o.TokenFile)
		if err != nil {
			return nil, Failf(ExitUsage, "", "read the token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	c, err := api.NewClient(o.Server, token, o.CAFile)
	if err != nil {
		return nil, Failf(ExitUsage, "give it with --server, or in WINDLASS_SERVER", "%w", err)
	}
	return c, nil
}

// explain makes every verb say which token was refused: the server knows only that it came.
func (o *Options) explain(cmd *cobra.Command) {
	if run := cmd.RunE; run != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			err := run(cmd, args)
			var refused *api.Error
			if o.TokenFile != "" && errors.As(err, &refused) && refused.Code == api.CodeUnauthorized {
				return Failf(ExitError, "an operator makes a new one: windlass token create --role ROLE --name NAME; is --server the right server?", "the server does not know the token in %s, or it was revoked", o.TokenFile)
			}
			return err
		}
	}
	for _, c := range cmd.Commands() {
		o.explain(c)
	}
}

// campaignName takes the campaign that was named, or the only one that there is.
func campaignName(cmd *cobra.Command, c *api.Client, named string) (string, error) {
	if named != "" {
		return named, nil
	}
	all, err := c.Campaigns(cmd.Context())
	if err != nil {
		return "", err
	}
	var names, live []string
	for _, one := range all {
		names = append(names, one.Campaign.Name)
		if one.Status == "running" || one.Status == "paused" {
			live = append(live, one.Campaign.Name)
		}
	}
	switch {
	case len(live) == 1:
		return live[0], nil
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0:
		return "", Failf(ExitError, "apply one: windlass apply -f campaign.yaml", "there is no campaign yet")
	}
	return "", Failf(ExitUsage, "name one with --campaign: "+strings.Join(names, ", "), "there are %d campaigns", len(names))
}

func whoAmI() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
