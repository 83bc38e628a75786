package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/windlass-db/windlass/internal/schema"
)

func checkSchemaCommand(o *Options) *cobra.Command {
	var s schema.Options
	var dialect, key string
	var verbose bool
	cmd := &cobra.Command{
		Use: "schema --dialect postgres|mysql --from X --to Y", Short: "Check that a migration only expands, so that old nodes work on the new schema, and what it locks",
		Long: `Says whether nodes of the old version can work on the new schema, and on every state on the way to it, and what each statement of the
migration locks and for how long.

X and Y are each a data source name of a live database, a folder of migrations or a file with the whole schema. Give a name that holds a
password as env:NAME of a variable that holds it. Each statement is run on an empty database that the check makes on the server --dev, and
drops at the end; that server should have production's version. Without --dev one is fetched and started, of the live database's version if
one is given, and ended with the check.

Exits 0 if old nodes can work on it, 3 if something is found, 2 if what was given is wrong, 1 if it did not work.`,
		Example: `  windlass check schema --dialect postgres --from migrations/v1 --to migrations/v2 --dev env:DEV_DSN
  windlass check schema --dialect mysql --from env:PROD_DSN --to migrations --dev env:DEV_DSN --statements old.sql
  windlass check schema --dialect mysql --from old.sql --to new.sql --dev mysql-9.7`,
		Args: exactly(0, "nothing but flags"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dialect == "" {
				return Failf(ExitUsage, "give --dialect postgres, or --dialect mysql, which is MariaDB's too", "--dialect is needed")
			}
			var err error
			if s.Dialect, err = schema.ParseDialect(dialect); err != nil {
				return schemaError(err)
			}
			if s.StatementsKey, err = keyFlag(key); err != nil {
				return err
			}
			s.Fetched = func(what string) { fmt.Fprintln(cmd.ErrOrStderr(), what) } // once for each server, and it takes its time
			if verbose {
				s.Progress = s.Fetched
			}
			report, err := schema.Check(cmd.Context(), s)
			if err != nil {
				return schemaError(err)
			}
			if err := o.printer(cmd).value(report, report.WriteText); err != nil {
				return err
			}
			if !report.Clean {
				return &Error{Code: ExitFinding, Err: errSilent}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dialect, "dialect", "", "`DIALECT` of the databases: postgres or mysql (MariaDB too)")
	f.StringVar(&s.From, "from", "", "`WHAT` old nodes know: a data source name, a folder of migrations or a schema file")
	f.StringVar(&s.To, "to", "", "`WHAT` the new version brings: the same")
	f.StringVar(&s.Dev, "dev", os.Getenv("WINDLASS_DEV_DSN"), "`DSN` of a server for trying (WINDLASS_DEV_DSN), or a server to start, such as mysql-9.7")
	f.StringVar(&s.Live, "live", "", "`DSN` of the database whose tables' sizes count, if --from is none")
	f.StringVar(&s.Applied, "applied", "", "last `MIGRATION` of --to that a live --from has; found by comparing unless given")
	f.StringVar(&key, "key-file", "", "`FILE` of the key that a capture for --statements was sealed with")
	f.StringVar(&s.Statements, "statements", "", "`FILE` with statements of the old version (SQL, a capture, or a log of MySQL, MariaDB or PostgreSQL), tried on the new schema and rolled back")
	f.StringSliceVar(&s.Allow, "allow", nil, "`RULES` whose findings do not count")
	f.BoolVar(&s.Measure, "measure", true, "time samples of the live tables that wait, in tables beside them that are gone after it")
	f.BoolVar(&verbose, "progress", false, "tell each statement on stderr")
	return cmd
}

// schemaError gives an error of the schema package its exit code.
func schemaError(err error) error {
	var e *schema.Error
	if errors.As(err, &e) && e.Usage {
		return Failf(ExitUsage, e.Hint, "%w", err)
	}
	return err
}
