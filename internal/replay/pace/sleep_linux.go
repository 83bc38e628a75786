package pace

import (
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Thread gives the calling goroutine a thread of its own, whose sleeps end when they should: by default the kernel may put off the end of each by 50 µs. The returned function gives
// the thread back.
func Thread() (release func()) {
	runtime.LockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) != nil {
		return runtime.UnlockOSThread // it sleeps a little longer
	}
	return func() {
		if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(max(slack, 1)), 0, 0, 0) == nil {
			runtime.UnlockOSThread()
		} // else the thread ends with its goroutine
	}
}

// Sleep sleeps so long, or shorter if a signal comes.
func Sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	ts := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&ts, nil) // EINTR: the caller looks at the clock again
}
