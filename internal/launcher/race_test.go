package launcher

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/state"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

var morning = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func limited(n int) func(*campaign.Campaign) {
	return func(c *campaign.Campaign) { c.Limits.PerStage = n }
}

// Of two servers with one state, one launches. The other takes over when the first has not been heard of for a while, and
// at once when it has ended in good order.
func TestOneServerLaunches(t *testing.T) {
	a, clock, path := world(t, 1, morning, daily("UTC", "09:00", "17:00"))
	b := open(t, path, clock)
	must(t, a.launcher("a").Tick(ctx))
	for range 3 { // a goes on
		clock.Add(lead - time.Second)
		must(t, a.launcher("a").Tick(ctx))
	}
	clock.Set(morning.AddDate(0, 0, 1))
	clock.Add(-time.Second)
	must(t, a.launcher("a").Tick(ctx))
	clock.Add(2 * time.Second) // the day's run is due, a has just said that it leads, and is killed
	must(t, b.launcher("b").Tick(ctx))
	if len(b.keys) != 0 {
		t.Fatalf("b ran %v while a leads", b.keys)
	}
	clock.Add(lead)
	must(t, b.launcher("b").Tick(ctx))
	if !slices.Equal(a.keys, []string{"2026-11-23"}) || !slices.Equal(b.keys, []string{"2026-11-24"}) {
		t.Errorf("a ran %v, b ran %v", a.keys, b.keys)
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	must(t, b.launcher("b").Run(over))
	clock.Add(24 * time.Hour)
	must(t, a.launcher("a").Tick(ctx))
	if !slices.Contains(a.keys, "2026-11-25") {
		t.Errorf("b has ended, and a ran %v", a.keys)
	}
}

// Servers that all believe to lead, as after a pause of one of them, do a run once, and the limits hold.
func TestTwoLeadersDoARunOnce_trap7(t *testing.T) {
	a, clock, path := world(t, 30, morning, limited(3))
	b := open(t, path, clock)
	var wg sync.WaitGroup
	for _, s := range []*runs{a, b} {
		s.usurp = true
		for i := range 8 {
			wg.Go(func() {
				if err := s.launcher(fmt.Sprint(i)).Tick(ctx); err != nil {
					t.Error(err)
				}
				if _, err := s.Store.Launch(ctx, "c", "", "mira", campaign.Decide); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if n := len(a.keys) + len(b.keys); n != 1 {
		t.Errorf("%d runs: %v and %v", n, a.keys, b.keys)
	}
	if n := live(t, a.Store); n != 3 {
		t.Errorf("%d live, the limit is 3", n)
	}
}

// racer is this test's program run again as one of several processes on one state: it launches by hand, leases, ends.
const racer = "WINDLASS_TEST_RACER"

func TestMain(m *testing.M) {
	if path := os.Getenv(racer); path != "" {
		if err := race(path); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func race(path string) error {
	s, err := state.Open(ctx, path, state.Options{LeaseTTL: time.Minute})
	if err != nil {
		return err
	}
	defer s.Close()
	me := fmt.Sprint(os.Getpid())
	for range 15 {
		if _, err := s.Launch(ctx, "c", "", me, campaign.Decide); err != nil {
			return err
		}
		snap, err := s.Snapshot(ctx, "c")
		if err != nil {
			return err
		}
		inStage := map[string]int{}
		for _, p := range snap.Clusters {
			if p.Action != nil {
				inStage[p.Action.Stage]++
			}
		}
		for stage, n := range inStage {
			if n > 3 {
				return fmt.Errorf("%d live in %s, the limit is 3", n, stage)
			}
		}
		a, err := s.Lease(ctx, "qa", me, statetest.Kinds())
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		fmt.Println("leased", a.ActionID, a.Term)
		if err := s.Finish(ctx, a.ActionID, a.Term, "completed", ""); err != nil {
			return err
		}
	}
	return nil
}

// Several processes launch and lease from one file at once: no action is leased twice, and no limit is passed at any time.
func TestProcessesOnOneState_trap7(t *testing.T) {
	s, _, path := world(t, 12, morning, limited(3))
	var mu sync.Mutex
	var leased []string
	var wg sync.WaitGroup
	for range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), racer+"="+path)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		wg.Go(func() {
			for sc := bufio.NewScanner(out); sc.Scan(); {
				if !strings.HasPrefix(sc.Text(), "leased ") {
					t.Errorf("a process says: %s", sc.Text())
				}
				mu.Lock()
				leased = append(leased, strings.Fields(sc.Text())[1])
				mu.Unlock()
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	slices.Sort(leased)
	if len(leased) == 0 || len(slices.Compact(slices.Clone(leased))) != len(leased) {
		t.Errorf("leased: %v", leased)
	}
	snap, err := s.Snapshot(ctx, "c")
	must(t, err)
	done := 0
	for _, p := range snap.Clusters {
		done += len(p.Done)
	}
	if done != len(leased) {
		t.Errorf("%d actions were ended, and %d stages are done", len(leased), done)
	}
}

// A run over many clusters costs little: the processor's time is measured, for other programs may have the machine too.
func TestARunOverManyClusters(t *testing.T) {
	const n = 2000
	s, _, _ := world(t, n, morning, limited(50))
	before := processorTime(t)
	must(t, s.launcher("a").Tick(ctx))
	took := processorTime(t) - before
	t.Logf("a run over %d clusters took %v of the processor", n, took)
	if got := live(t, s.Store); got != 50 {
		t.Errorf("%d started, the limit is 50", got)
	}
	if took > 3*time.Second {
		t.Errorf("it took %v of the processor", took)
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	must(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
