package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/token"

	"github.com/windlass-db/windlass/internal/wire"
)

// Account is a user of the database that clients may log in as. More than one password is for a rotation: a client may
// use any of them, and servers are tried with each.
type Account struct {
	User      string   `yaml:"user"`
	Password  string   `yaml:"password,omitempty"`
	Passwords []string `yaml:"passwords,omitempty"`
	Plugin    string   `yaml:"plugin,omitempty"` // asked of clients: mysql_native_password or caching_sha2_password
}

// LogValue hides the passwords.
func (a Account) LogValue() slog.Value { return slog.StringValue(a.User) }

// String hides the passwords.
func (a Account) String() string { return a.User }

// GoString hides the passwords.
func (a Account) GoString() string { return "Account(" + a.User + ")" }

// Accounts are the users by name.
type Accounts map[string]Account

// accountsCommandTimeout bounds the program that prints the accounts.
const accountsCommandTimeout = 30 * time.Second

// LoadAccounts reads the accounts from the configured file or program.
func LoadAccounts(ctx context.Context, c Config) (Accounts, error) {
	if c.AccountsFile != "" {
		raw, err := readSecret(c.AccountsFile, "write into it\n"+accountsExample)
		if err != nil {
			return nil, fmt.Errorf("accounts_file: %w", err)
		}
		return parseAccounts(raw)
	}
	if len(c.AccountsCommand) == 0 {
		return nil, errors.New("accounts: neither accounts_file nor accounts_command is given")
	}
	ctx, cancel := context.WithTimeout(ctx, accountsCommandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.AccountsCommand[0], c.AccountsCommand[1:]...)
	cmd.WaitDelay = time.Second
	raw, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("accounts_command: run %s: %w; it has to end well within %s and to print\n%s", c.AccountsCommand[0], err, accountsCommandTimeout, accountsExample)
	}
	return parseAccounts(raw)
}

// accountsExample is shown to whoever has none.
const accountsExample = `accounts:
  - user: NAME
    password: SECRET`

// parseAccounts reads the YAML, and names everything that is wrong with it. Its errors never show the text, which holds passwords.
func parseAccounts(raw []byte) (Accounts, error) {
	var doc struct {
		Accounts []Account `yaml:"accounts"`
	}
	if err := yaml.UnmarshalWithOptions(raw, &doc, yaml.Strict()); err != nil {
		line := 0
		var at interface{ GetToken() *token.Token }
		if errors.As(err, &at) && at.GetToken() != nil {
			line = at.GetToken().Position.Line
		}
		return nil, fmt.Errorf("accounts: line %d is not understood (not shown: it may hold a password); write\n%s", line, accountsExample)
	}
	accounts := Accounts{}
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf("accounts: "+format, args...)) }
	for i, a := range doc.Accounts {
		if a.User == "" {
			bad("entry %d has no user", i+1)
			continue
		}
		if a.Password != "" && len(a.Passwords) > 0 {
			bad("%s has both password and passwords: keep passwords", a.User)
		}
		if a.Plugin != "" && a.Plugin != wire.NativePassword && a.Plugin != wire.CachingSHA2 {
			bad("%s has plugin %q: write %s or %s", a.User, a.Plugin, wire.NativePassword, wire.CachingSHA2)
		}
		if _, twice := accounts[a.User]; twice {
			bad("%s is listed twice", a.User)
		}
		if len(a.Passwords) == 0 {
			a.Passwords = []string{a.Password}
		}
		a.Password = ""
		accounts[a.User] = a
	}
	if len(doc.Accounts) == 0 {
		bad("none listed, so nobody could log in; write\n%s", accountsExample)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return accounts, nil
}

func readAll(r io.Reader, b []byte) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	_, err := buf.ReadFrom(io.LimitReader(r, 16<<20))
	return buf.Bytes(), err
}

// ReloadAccounts reads the accounts again; sessions that are open stay. After a failure the old ones stay.
func (g *Gateway) ReloadAccounts(ctx context.Context) error {
	accounts, err := LoadAccounts(ctx, g.cfg)
	if err != nil {
		return err
	}
	g.accounts.Store(&accounts)
	g.log.Info("accounts read again", "accounts", len(accounts))
	return nil
}
