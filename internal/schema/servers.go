package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/builds"
)

// This file opens the servers that a check needs: the development server, which it may have to start, and the live one.

func (c *checker) open(ctx context.Context) error {
	live := ""
	switch {
	case c.from.kind == Live:
		c.liveDSN, live = c.from.dsn, "--from"
	case c.Live != "":
		var err error
		if c.liveDSN, err = parseDSN(c.Dialect, "--live", c.Live); err != nil {
			return err
		}
		live = "--live"
	}
	if live != "" {
		var err error
		if c.live, err = c.liveDSN.open(ctx, live); err != nil {
			return err
		}
		q := "SELECT current_setting('server_version'), ''"
		if c.Dialect == MySQL {
			q = "SELECT VERSION(), @@collation_database"
		}
		if err := c.live.QueryRowContext(ctx, q).Scan(&c.report.LiveServer, &c.collate); err != nil {
			return &Error{Where: live, What: c.liveDSN.String() + " does not tell its version", Hint: "see the account's rights", Err: c.liveDSN.clean(err)}
		}
	}
	if c.Dev == "" && c.from.kind == Live && c.to.kind == Live && c.old == nil {
		return nil
	}
	at, err := c.devServer(ctx)
	if err != nil {
		return err
	}
	server, err := parseDSN(c.Dialect, "--dev", at)
	if err != nil {
		return err
	}
	if c.dev, err = newDev(ctx, server, c.collate); err != nil {
		return err
	}
	c.report.Server = c.dev.version
	if c.report.LiveServer != "" && major(c.Dialect, c.report.LiveServer) != major(c.Dialect, c.dev.version) {
		return &Error{Where: "--dev", What: fmt.Sprintf("the development server is %s, and the live one %s", c.dev.version, c.report.LiveServer), Hint: "give a development server of the same version: what a statement locks is another thing in each", Usage: true}
	}
	return nil
}

// devServer is the DSN of the development server: the one that is given, or one that is started until the check ends, of the build that is
// named or of the live server's version.
func (c *checker) devServer(ctx context.Context) (string, error) {
	build := c.Dev
	named, err := isBuild(c.Dialect, c.Dev)
	if err != nil || c.Dev != "" && !named {
		return c.Dev, err
	}
	if !named {
		ok := false
		if build, ok = buildFor(c.Dialect, c.report.LiveServer); !ok {
			return "", &Error{Where: "--dev", What: fmt.Sprintf("the live server is %s, and no such server can be started here", c.report.LiveServer), Hint: "give --dev DSN of a server of that version that holds nothing of worth; or one of " + strings.Join(builds.Names(), ", ") + ", whose locks may be others", Usage: true}
		}
	}
	var options []string
	if same, _ := buildFor(c.Dialect, c.report.LiveServer); c.Dialect == MySQL && c.live != nil && same == build {
		if options, err = c.likeLive(ctx); err != nil {
			return "", err
		}
	}
	if c.thrown, err = startThrowaway(ctx, c.Dialect, build, options, c.Fetched, c.Progress); err != nil {
		return "", err
	}
	c.report.Started = build
	return c.thrown.dsn, nil
}

// likeLive are the settings of a live MySQL or MariaDB that change what statements mean.
func (c *checker) likeLive(ctx context.Context) ([]string, error) {
	var mode, charset, collation, lower string
	if err := c.live.QueryRowContext(ctx, "SELECT @@global.sql_mode, @@global.character_set_server, @@global.collation_server, @@global.lower_case_table_names").Scan(&mode, &charset, &collation, &lower); err != nil {
		return nil, &Error{Where: c.liveDSN.String(), What: "does not tell its settings", Hint: "see the account's rights", Err: c.liveDSN.clean(err)}
	}
	out := []string{"sql-mode=" + mode, "character-set-server=" + charset, "collation-server=" + collation}
	if lower != "0" && strings.Contains(c.report.LiveServer, "MariaDB") { // MySQL takes it only when its data folder is made
		out = append(out, "lower-case-table-names="+lower)
	}
	return out, nil
}

// major is the part of a version that decides how statements work: "15" of PostgreSQL, "11.8-MariaDB", "8.4".
func major(d Dialect, version string) string {
	number, _, _ := strings.Cut(version, " ") // "15.4 (Debian …)"
	parts := strings.SplitN(number, ".", 3)
	if d == Postgres || len(parts) < 2 {
		return parts[0]
	}
	m := parts[0] + "." + parts[1]
	if strings.Contains(version, "MariaDB") {
		m += "-MariaDB"
	}
	return m
}

func (c *checker) close() {
	if c.dev != nil {
		c.dev.close()
	}
	if c.live != nil {
		c.live.Close()
	}
	if c.thrown != nil {
		c.thrown.end()
	}
}
