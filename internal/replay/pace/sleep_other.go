//go:build !linux

package pace

import (
	"runtime"
	"time"
)

// Thread gives the calling goroutine a thread of its own. The returned function gives it back.
func Thread() (release func()) {
	runtime.LockOSThread()
	return runtime.UnlockOSThread
}

// Sleep sleeps so long.
func Sleep(d time.Duration) { time.Sleep(d) }
