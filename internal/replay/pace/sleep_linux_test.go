package pace

import (
	"errors"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// A thread is given back as it was, and has not less than before meanwhile.
func TestThreadIsGivenBack(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	look := func() (slack int, a unix.SchedAttr) {
		t.Helper()
		slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return slack, *p
	}
	_, before := look()
	before.Runtime = 3_000_000 // so that it tells whatever the thread was used for before
	if err := errors.Join(unix.SchedSetAttr(0, &before, 0), unix.Prctl(unix.PR_SET_TIMERSLACK, 40_000, 0, 0, 0)); err != nil {
		t.Fatal(err)
	}
	slack, before := look()
	release := Thread()
	if got, in := look(); got != 1 || in.Nice > before.Nice || in.Policy != before.Policy || in.Runtime > before.Runtime {
		t.Errorf("on its own thread: slack %d ns, %+v; before %+v", got, in, before)
	}
	release()
	if got, after := look(); got != slack || after != before {
		t.Errorf("given back with a slack of %d ns and %+v; before %d ns, %+v", got, after, slack, before)
	}
}

// Who has chosen a nice value keeps it.
func TestANiceThreadStaysNice(t *testing.T) {
	done := make(chan struct{})
	go func() { // whose thread ends with it
		defer close(done)
		runtime.LockOSThread()
		was, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return
		}
		nice := min(max(was.Nice, 0)+1, 19) // which anybody may choose
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), int(nice)); err != nil {
			t.Error(err)
			return
		}
		defer Thread()()
		if a, err := unix.SchedGetAttr(0, 0); err != nil || a.Nice != nice {
			t.Errorf("%+v, %v", a, err)
		}
	}()
	<-done
}
