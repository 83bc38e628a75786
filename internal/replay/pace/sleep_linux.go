package pace

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Thread gives the calling goroutine a thread of its own, whose sleeps end when they should: by default the kernel may put off the end of each by 50 µs, and on a busy machine lets others go
// on for milliseconds before who wakes has its turn. The returned function gives the thread back, as it was.
func Thread() (release func()) {
	runtime.LockOSThread()
	var undo []func() error
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil && unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) == nil {
		undo = append(undo, func() error { return unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(max(slack, 1)), 0, 0, 0) })
	} // else it sleeps a little longer
	if was, ok := first(); ok {
		undo = append(undo, func() error { return unix.SchedSetAttr(0, was, 0) })
	}
	return func() {
		for _, f := range undo {
			if f() != nil {
				return // the thread ends with its goroutine
			}
		}
		runtime.UnlockOSThread()
	}
}

// slice is the shortest that the kernel takes. Of two threads it runs first whose slice ends first.
const slice = 100 * time.Microsecond

// first has the kernel run the thread before others when it wakes: by the length of its slice, which anybody may choose (Linux 6.12 and later, others pass over it), and by its nice value, if the process may and
// nobody has given it one. It gives what was before; not ok if it is still so.
func first() (was *unix.SchedAttr, ok bool) {
	was, err := unix.SchedGetAttr(0, 0)
	if err != nil || was.Policy != unix.SCHED_NORMAL { // somebody has chosen another
		return nil, false
	}
	want := unix.SchedAttr{Nice: -20, Runtime: uint64(slice)}
	if was.Nice == 0 && unix.SchedSetAttr(0, &want, 0) == nil {
		return was, true
	}
	want.Nice = was.Nice
	return was, unix.SchedSetAttr(0, &want, 0) == nil
}

// Sleep sleeps so long, or shorter if a signal comes.
func Sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // EINTR: the caller looks at the clock again
}
