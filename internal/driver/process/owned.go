package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const markFile = "windlass.mark"

// ErrNotOurs means that a folder does not carry the mark that the caller expects: it is left alone.
var ErrNotOurs = errors.New("not ours")

// Mark writes who made a folder into it. A folder with another mark is refused.
func Mark(dir, mark string) error {
	found, err := ReadMark(dir)
	if err != nil {
		return err
	}
	if found != "" && found != mark {
		return fmt.Errorf("%w: %s carries the mark %q, not %q", ErrNotOurs, dir, found, mark)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, markFile), []byte(mark+"\n"), 0o600)
}

// ReadMark tells who made a folder; "" if there is no folder or no mark.
func ReadMark(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, markFile))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(b)), err
}

// Destroy moves the folder of a stopped server aside and then deletes it. It refuses a running server and a folder that
// does not carry the mark (trap 36). A folder that is gone is fine.
func Destroy(s Spec, mark string) error {
	if _, err := os.Stat(s.Dir); errors.Is(err, os.ErrNotExist) {
		if err := removeSocketDir(s.Dir); err != nil {
			return err
		}
		return os.RemoveAll(s.Dir + ".quarantine") // what a killed delete left
	}
	found, err := ReadMark(s.Dir)
	if err != nil {
		return err
	}
	if found != mark || mark == "" {
		return fmt.Errorf("%w: %s carries the mark %q, not %q", ErrNotOurs, s.Dir, found, mark)
	}
	state, pid, err := s.Status()
	if err != nil {
		return err
	}
	if state == Running {
		return fmt.Errorf("%s still runs as process %d: stop it first", s.Name, pid)
	}
	if err := removeSocketDir(s.Dir); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Dir + ".quarantine"); err != nil {
		return err
	}
	if err := os.Rename(s.Dir, s.Dir+".quarantine"); err != nil {
		return err
	}
	return os.RemoveAll(s.Dir + ".quarantine")
}

// Clone copies the data folder of a stopped server, sharing blocks where the file system can.
func Clone(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := exec.Command("cp", "-a", "--reflink=auto", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("copy %s: %w: %s", from, err, out)
	}
	return nil
}
