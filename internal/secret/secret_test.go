package secret

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSecretsDiffer(t *testing.T) {
	if a, b := New(), New(); a == b || len(a) != 43 {
		t.Error("two secrets are the same, or too short")
	}
	if a, b := Password(), Password(); a == b || len(a) != 24 {
		t.Error("two passwords are the same, or not as long as servers take them")
	}
	if b, err := base64.StdEncoding.DecodeString(Key()); err != nil || len(b) != 32 {
		t.Errorf("a key of %d bytes, %v", len(b), err)
	}
}

// Of many that make the file at once one wins, all read the same whole secret, and nothing is left beside it.
func TestAFileIsMadeOnceAndWhole(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "token")
	var mu sync.Mutex
	seen := map[string]bool{}
	made := 0
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			err := CreateFile(path, New())
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
			s, rerr := ReadFile(path)
			if rerr != nil || len(s) != 43 {
				t.Errorf("read %d characters, %v", len(s), rerr)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[s] = true
			if err == nil {
				made++
			}
		})
	}
	wg.Wait()
	all, err := os.ReadDir(dir)
	if err != nil || len(all) != 1 || made != 1 || len(seen) != 1 {
		t.Errorf("%d files, made %d times, %d secrets, %v", len(all), made, len(seen), err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := CreateFile(filepath.Join(dir, "nowhere", "token"), "x"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
}

func TestAFileThatOthersCanReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	for _, one := range []struct {
		text string
		mode os.FileMode
		want string
	}{{"wl_abc", 0o644, "can be read by others (mode 0644)"}, {"wl_abc", 0o640, "can be read by others"}, {" \n", 0o600, "is empty"}, {strings.Repeat("x", most+1), 0o600, "is no file with a secret"}} {
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte(one.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, one.mode); err != nil {
			t.Fatal(err)
		}
		var open *OpenError
		if _, err := ReadFile(path); !errors.As(err, &open) || !strings.Contains(err.Error(), one.want) || open.ErrorHint() == "" {
			t.Errorf("%v, want %q", err, one.want)
		}
	}
	if _, err := ReadFile(dir); err == nil {
		t.Error("a folder is no secret")
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
