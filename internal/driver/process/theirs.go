package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is how many the kernel counts in a second, in all that it tells programs (proc(5)).
const ticks = 100

// late is by how much a process may seem to be younger than the file in which it wrote its pid: the kernel tells its own start in whole seconds.
const late = 2 * time.Second

// theirs looks for the process of a pid file that somebody else wrote. Such a file has no start time, so the process has to be older than the file: a
// pid that another program was given since is nobody's.
func (s Spec) theirs() (State, int, error) {
	info, err := os.Stat(s.Theirs)
	if errors.Is(err, os.ErrNotExist) {
		return Stopped, 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("look at the pid file of %s: %w", s.Name, err)
	}
	b, err := os.ReadFile(s.Theirs)
	if err != nil {
		return "", 0, fmt.Errorf("read the pid file of %s: %w", s.Name, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return "", 0, fmt.Errorf("%s, the pid file of %s, has to hold a pid alone: %q", s.Theirs, s.Name, b[:min(len(b), 40)])
	}
	start, alive, err := startTime(pid)
	if err != nil {
		return "", 0, fmt.Errorf("look at process %d of %s: %w", pid, s.Name, err)
	}
	boot, err := bootTime()
	if err != nil {
		return "", 0, err
	}
	if !alive || boot.Add(time.Duration(start)*time.Second/ticks).After(info.ModTime().Add(late)) {
		return Stopped, 0, nil
	}
	return Running, pid, nil
}

// bootTime is when the kernel started, to the second.
func bootTime() (time.Time, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return time.Time{}, fmt.Errorf("when did this machine start: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "btime "); ok {
			seconds, err := strconv.ParseInt(text, 10, 64)
			return time.Unix(seconds, 0), err
		}
	}
	return time.Time{}, errors.New("when did this machine start: /proc/stat does not say")
}
