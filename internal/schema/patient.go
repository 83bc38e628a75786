package schema

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// concurrently are PostgreSQL's statements that wait for transactions older than themselves while nobody waits for them.
var concurrently = regexp.MustCompile(`(?is)^\s*((CREATE\s+(UNIQUE\s+)?|DROP\s+)INDEX\s+CONCURRENTLY\b|REINDEX\b.*\bCONCURRENTLY\b)`)

// The session's settings that would end such a statement at its end, and with it all that it built: lock_timeout counts while it waits for
// another's transaction, too. A server that does not know one does not list it.
const (
	pgTimeouts  = "SELECT coalesce(string_agg(name || '=' || setting, ','),'') FROM pg_settings WHERE name IN ('lock_timeout','statement_timeout','transaction_timeout')"
	pgPatient   = "SELECT count(set_config(name, '0', false)) FROM pg_settings WHERE name IN ('lock_timeout','statement_timeout','transaction_timeout')"
	pgImpatient = "SELECT count(set_config(split_part(s,'=',1), split_part(s,'=',2), false)) FROM unnest(string_to_array(%s,',')) AS s"
)

// pgWaits tells for whom a session waits, or nothing.
const pgWaits = `SELECT coalesce((SELECT concat('waits for a transaction of ', coalesce(nullif(a.application_name,''),'somebody'), ' (process ', b.pid, ', since ' || to_char(a.xact_start AT TIME ZONE 'UTC','HH24:MI:SS') || ' UTC', ')')
 FROM unnest(pg_blocking_pids(%d)) AS b(pid) JOIN pg_stat_activity a ON a.pid=b.pid ORDER BY a.xact_start LIMIT 1), '')`

// patient runs do with the session's timeouts off if the statement is one that holds up nobody, and tells whom it waits for. The caller's
// context bounds it.
func (a *applier) patient(ctx context.Context, e entry, do func(context.Context) error) (err error) {
	if a.Dialect != Postgres || !concurrently.MatchString(masked(e.SQL)) {
		return do(ctx)
	}
	var was string
	var pid int
	if err := a.conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		return a.wrong("does not tell its session", err)
	}
	if err := a.conn.QueryRowContext(ctx, pgTimeouts).Scan(&was); err != nil {
		return a.wrong("does not tell its timeouts", err)
	}
	if _, err := a.conn.ExecContext(ctx, pgPatient); err != nil {
		return a.wrong("does not let its timeouts be set", err)
	}
	defer func() {
		if _, back := a.conn.ExecContext(ctx, fmt.Sprintf(pgImpatient, a.literal(was))); back != nil {
			err = errors.Join(err, a.wrong("does not let its timeouts be set", back))
		}
	}()
	inner, cancel := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		a.watch(inner, pid, cancel)
	}()
	err = do(inner)
	cancel(nil)
	<-watched
	var told *toldError
	if errors.As(context.Cause(inner), &told) {
		return told
	}
	return err
}

// toldError is why a run ends: what it told was refused.
type toldError struct{ err error }

func (t *toldError) Error() string { return t.err.Error() }
func (t *toldError) Unwrap() error { return t.err }

// watch tells at each Backoff whom the session waits for, until ctx ends. Whoever is told may end the run by an error.
func (a *applier) watch(ctx context.Context, pid int, end context.CancelCauseFunc) {
	last := ""
	tick := time.NewTicker(a.Backoff)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var whom string
		if err := a.db.QueryRowContext(ctx, fmt.Sprintf(pgWaits, pid)).Scan(&whom); err != nil || whom == last {
			continue // it is for people: the statement itself says what is wrong
		}
		if last = whom; whom == "" {
			whom = "runs"
		}
		if err := a.tell(whom); err != nil {
			end(&toldError{err})
			return
		}
	}
}
