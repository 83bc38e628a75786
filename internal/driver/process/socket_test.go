package process

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSocketLiesInAPrivateFolder looks who may reach the socket of a server that asks nobody for a password.
func TestSocketLiesInAPrivateFolder(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp")
	root, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	for name, dir := range map[string]string{"short": filepath.Join(root, "n"), "long": filepath.Join(root, strings.Repeat("n", 100))} {
		if err := Mark(dir, "m"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it repeats
			if err := makeSocketDir(dir); err != nil {
				t.Fatal(name, err)
			}
		}
		path := socketOf(dir)
		if inside := strings.HasPrefix(path, dir); inside != (name == "short") {
			t.Errorf("%s: the socket is %s", name, path)
		}
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(name, err)
		}
		info, err := os.Stat(filepath.Dir(path))
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: the socket's folder: %v, %v", name, info.Mode(), err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
		if err := Destroy(Spec{Name: name, Dir: dir}, "m"); err != nil {
			t.Error(name, err)
		}
		if _, err := os.Lstat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its socket is left behind: %v", name, err)
		}
	}
}

// TestAnothersSocketFolderIsRefused lets somebody be there first.
func TestAnothersSocketFolderIsRefused(t *testing.T) {
	root, err := os.MkdirTemp("/tmp", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	t.Setenv("TMPDIR", root)
	dir := filepath.Join(root, strings.Repeat("n", 100))
	d := socketDir(dir)
	aside := filepath.Join(root, "aside")
	for name, squat := range map[string]func() error{
		"a folder that all may enter": func() error { return errors.Join(os.Mkdir(d, 0o700), os.Chmod(d, 0o755)) },
		"a link":                      func() error { return errors.Join(os.MkdirAll(aside, 0o700), os.Symlink(aside, d)) },
		"a file":                      func() error { return os.WriteFile(d, nil, 0o600) },
	} {
		if err := squat(); err != nil {
			t.Fatal(err)
		}
		if err := makeSocketDir(dir); !errors.Is(err, ErrNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
		if err := removeSocketDir(dir); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(d); err != nil {
			t.Errorf("%s: what is not ours was removed: %v", name, err)
		}
		if err := os.Remove(d); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Mkdir(d, 0o700), os.Chown(d, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		if err := makeSocketDir(dir); !errors.Is(err, ErrNotOurs) {
			t.Errorf("another user's folder: %v", err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(root, strings.Repeat("t", 100)))
	if err := makeSocketDir(dir); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("no place is short enough: %v", err)
	}
}
