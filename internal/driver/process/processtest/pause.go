package processtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StandsStill reports whether every thread of a process is stopped, as by SIGSTOP: the signal's sender does not wait for that.
func StandsStill(pid int) (bool, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, err
	}
	if len(tasks) == 0 {
		return false, fmt.Errorf("process %d is not there", pid)
	}
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if os.IsNotExist(err) {
			continue // this thread has ended
		}
		if err != nil {
			return false, err
		}
		if i := strings.LastIndex(string(b), ") "); i < 0 || b[i+2] != 'T' {
			return false, nil
		}
	}
	return true, nil
}
