package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// longestSocket is how long the kernel lets a socket's path be, in bytes.
const longestSocket = 107

// socketOf is the socket of the server in a folder. It lies where our user alone may enter: a server whose system tables are being
// upgraded asks nobody on it for a password, and a socket in a folder that all write to could be somebody else's.
func socketOf(dir string) string { return filepath.Join(socketDir(dir), "sql.sock") }

// socketDir is a folder of the server's own, or, where that is too long a path, one of our user's among the temporary files.
func socketDir(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	if run := filepath.Join(dir, "run"); len(filepath.Join(run, "sql.sock")) <= longestSocket {
		return run
	}
	return sharedSocketDir(dir)
}

func sharedSocketDir(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return filepath.Join(os.TempDir(), "windlass-"+strconv.Itoa(os.Geteuid())+"-"+hex.EncodeToString(sum[:8]))
}

// makeSocketDir makes the folder of the server's socket, or sees that the one that is there is ours alone. Another's is refused.
func makeSocketDir(dir string) error {
	d := socketDir(dir)
	if n := len(socketOf(dir)); n > longestSocket {
		return fmt.Errorf("%s is %d bytes long, more than the %d of a socket's path: choose a shorter folder, or a shorter TMPDIR", socketOf(dir), n, longestSocket)
	}
	if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return private(d)
}

// private sees that a folder is a folder and no link, belongs to our user, and is open to nobody else.
func private(d string) error {
	info, err := os.Lstat(d)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%w: %s is not a folder: look who made it, and remove it", ErrNotOurs, d)
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%w: %s belongs to another user: look who made it, and remove it", ErrNotOurs, d)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%w: %s is open to others (mode %o): look who opened it, and remove it", ErrNotOurs, d, info.Mode().Perm())
	}
	return nil
}

// removeSocketDir removes what lies outside of a stopped server's own folder. What is not ours is left alone.
func removeSocketDir(dir string) error {
	d := socketDir(dir)
	if filepath.Base(d) == "run" {
		return nil // it goes with the server's folder
	}
	if err := private(d); errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrNotOurs) {
		return nil
	} else if err != nil {
		return err
	}
	return os.RemoveAll(d)
}
