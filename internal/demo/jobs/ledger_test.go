package jobs

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/driver/service"
	"github.com/windlass-db/windlass/internal/fleet"
)

// book is the engine's database without an engine: what is in it was written by hand.
type book struct {
	*testing.T
	*Site
}

func newBook(t *testing.T, k Kind) book {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b := book{t, &Site{cfg: Config{Dir: t.TempDir(), Database: k}}}
	t.Cleanup(func() {
		stop, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if b.DB != nil {
			must(t, b.DB.Close())
		}
		if b.Database != nil {
			must(t, end(stop, b.Database.spec))
		}
	})
	var err error
	b.Database, err = startDatabase(ctx, k, filepath.Join(b.cfg.Dir, "database"), processtest.FreePort(t), func(s string) { t.Log(s) })
	must(t, err)
	b.DB, err = b.Database.Open()
	must(t, err)
	must(t, b.migrate(ctx))
	b.write("ALTER TABLE job ADD COLUMN priority INT NOT NULL DEFAULT 0")
	must(t, service.Features{DB: b.DB, Dialect: k.Dialect()}.SetOpen(ctx, fleet.Cluster{Env: "qa", Name: "jobs"}, New, 1))
	return b
}

func (b book) write(format string, args ...any) {
	b.Helper()
	if _, err := b.DB.ExecContext(b.Context(), fmt.Sprintf(format, args...)); err != nil {
		b.Fatal(err)
	}
}

func (b book) job(name, state string, priority int, began string) {
	b.Helper()
	b.write("INSERT INTO job (name, steps, step, state, started_on, finished_on, priority) VALUES ('%s', 2, 2, '%s', '%s.0', '%s.0', %d)", name, state, began, New, priority)
}

// step writes a step of a job, done so many seconds after the features were opened.
func (b book) step(job string, step int, version, seconds string) {
	b.Helper()
	b.write("INSERT INTO job_step (job_id, step, node, version, done_at) SELECT j.id, %d, 'n1', '%s.0', %s FROM job j, windlass_features f WHERE j.name = '%s'", step, version, b.opened(seconds), job)
}

// Whatever may have become of a job is seen: by hand each of it is written into the database, one after the other.
func TestTheLedgerTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, k := range []Kind{Postgres, MariaDB} {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			b := newBook(t, k)
			keys := []string{"good"}
			sees := func(what string, want Outcome, old, used int) {
				t.Helper()
				o, err := b.Judge(t.Context(), keys)
				must(t, err)
				if o.Started != len(keys) || o.Done != want.Done || o.Across != want.Across || o.Early != want.Early || !slices.Equal(o.Lost, want.Lost) || !slices.Equal(o.Doubled, want.Doubled) {
					t.Errorf("%s: %+v, want %+v", what, o, want)
				}
				n, err := b.OldAfterOpening(t.Context())
				must(t, err)
				m, err := b.UsedBeforeOpening(t.Context())
				must(t, err)
				if n != old || m != used {
					t.Errorf("%s: %d steps by old nodes after the opening and %d uses before it, want %d and %d", what, n, m, old, used)
				}
			}
			b.job("good", "done", 0, Old)
			b.step("good", 0, Old, "-60")
			b.step("good", 1, New, "60")
			want := Outcome{Done: 1, Across: 1}
			sees("nothing is wrong", want, 0, 0)
			b.job("late", "done", 5, New)
			b.step("late", 0, New, "60")
			b.step("late", 1, New, "60")
			keys, want.Done = append(keys, "late"), 2
			sees("the feature is used when it is open", want, 0, 0)

			b.job("waits", "ready", 0, New)
			b.job("lacks a step", "done", 0, New)
			b.step("lacks a step", 0, New, "60")
			keys, want.Lost = append(keys, "gone", "waits", "lacks a step"), []string{"gone", "waits", "lacks a step"}
			sees("three are lost", want, 0, 0)
			b.job("twice", "done", 0, New)
			for step := range 3 {
				b.step("twice", min(step, 1), New, "60")
			}
			keys, want.Doubled = append(keys, "twice"), []string{"twice"}
			sees("a step was done twice", want, 0, 0)
			b.job("old", "done", 5, Old)
			want.Early = 1
			sees("an old node began a job with the feature", want, 0, 0)
			b.job("early", "done", 5, New)
			b.step("early", 0, New, "-60")
			b.step("early", 1, New, "60")
			sees("a new node took a job with the feature before it was opened", want, 0, 1)
			b.step("good", 1, Old, "60")
			want.Doubled, want.Done = []string{"good", "twice"}, 1
			sees("an old node did a step after the opening", want, 1, 1)
		})
	}
}

// A client that was given the feature before a look that saw an old node has it early, though no node says that it is open.
func TestAFeatureThatAClientWasGivenEarly(t *testing.T) {
	now := time.Now()
	w := &Watch{old: now}
	for given, early := range map[time.Time]bool{{}: false, now.Add(-time.Second): true, now.Add(time.Second): false} {
		if is := w.Early(given); (is != "") != early {
			t.Errorf("given at %v, an old node at %v: %q", given, now, is)
		}
	}
}
