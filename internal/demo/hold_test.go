package demo

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Two demos in one folder would write over each other's secrets and start servers on each other's data.
func TestOneDemoInAFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	release, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	var inUse *InUseError
	if _, err := Hold(dir); !errors.As(err, &inUse) || inUse.PID != strconv.Itoa(os.Getpid()) || inUse.Dir != dir {
		t.Errorf("a second demo: %v", err)
	}
	release()
	release, err = Hold(dir)
	if err != nil {
		t.Errorf("after the first: %v", err)
	}
	release()
}
