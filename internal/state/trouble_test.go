package state

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/windlass-db/windlass/internal/campaign"
)

// troubled shows that the error says what is wrong, names the file, and says what to do.
func troubled(t *testing.T, err error, path, words string) {
	t.Helper()
	var tr *Trouble
	if !errors.As(err, &tr) || !errors.Is(err, ErrStorage) || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), path) || tr.ErrorHint() == "" {
		t.Errorf("error: %v; it should say %q", err, words)
	}
}

func openFails(t *testing.T, path, words string) {
	t.Helper()
	s, err := Open(ctx, path, Options{})
	if err == nil {
		must(t, s.Close())
	}
	troubled(t, err, path, words)
}

func TestADamagedStateIsRefused(t *testing.T) {
	s, _, path := world(t, 30)
	must(t, s.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for name, damage := range map[string]func(b []byte) []byte{
		"another file":        func([]byte) []byte { return []byte(strings.Repeat("not a state\n", 100)) },
		"the head is gone":    func(b []byte) []byte { clear(b[:100]); return b },
		"a hole in the pages": func(b []byte) []byte { clear(b[4096 : len(b)/2]); return b },
		"the end is cut off":  func(b []byte) []byte { return b[:len(b)/2] },
	} {
		t.Run(name, func(t *testing.T) {
			bad := filepath.Join(t.TempDir(), "state.db")
			must(t, os.WriteFile(bad, damage(append([]byte(nil), whole...)), 0o600))
			openFails(t, bad, "damaged")
		})
	}
}

func TestAStateThatCantBeWrittenIsRefused(t *testing.T) {
	dir := t.TempDir()
	openFails(t, dir, "folder")
	openFails(t, filepath.Join(dir, "not", "there.db"), "not there")

	s, _, path := world(t, 1)
	must(t, s.Close())
	must(t, os.Chmod(path, 0o400))
	powerless(t, func() { openFails(t, path, "can't be written") })
	must(t, os.Chmod(path, 0o600))
	must(t, os.Chmod(filepath.Dir(path), 0o500))
	defer func() { must(t, os.Chmod(filepath.Dir(path), 0o700)) }()
	powerless(t, func() { openFails(t, path, "can't be written") })
}

// powerless runs fn on a thread that may not write whatever it likes, if the tests are run by root.
func powerless(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if os.Geteuid() == 0 {
			// Nobody's files, and root's capabilities over files are gone with it.
			if _, _, e := syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0); e != 0 {
				t.Errorf("setfsuid: %v", e)
				return
			}
		}
		fn()
	}()
	<-done
}

// The disk fills up: what does not fit is not done, is said, and is done as soon as there is room; what was there before is whole.
func TestAFullDisk(t *testing.T) {
	s, c, path := world(t, 1)
	_, err := s.write.Exec(`PRAGMA max_page_count = 1`) // as many as there are: the next page does not fit
	must(t, err)
	last, err := s.LastEvent(ctx)
	must(t, err)
	big := campaign.Pause{Env: "qa", Who: "me", Why: strings.Repeat("x", 100_000)}
	troubled(t, s.Pause(ctx, "c", big), path, "full")
	if now, err := s.LastEvent(ctx); err != nil || now != last {
		t.Errorf("event %d after %d, %v", now, last, err)
	}
	if _, err := s.Snapshot(ctx, "c"); err != nil {
		t.Errorf("reading on a full disk: %v", err)
	}
	_, err = s.write.Exec(`PRAGMA max_page_count = 1000000`)
	must(t, err)
	must(t, s.Pause(ctx, "c", big))
	must(t, s.Close())
	again := openAt(t, path, c)
	snap, err := again.Snapshot(ctx, "c")
	must(t, err)
	if len(snap.Pauses) != 1 {
		t.Errorf("%d pauses", len(snap.Pauses))
	}
}
