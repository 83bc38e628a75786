package builds

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// archiveOf is a small Debian archive on the disk with one package, which holds a copy of a program of this machine and of
// what that needs. It shows how builds are made without a network.
type archiveOf struct{ dir, etc string }

var tiny = recipe{Suite: "bookworm", Packages: []string{"tiny"}, Wants: "1.2.", Programs: []string{"tinyd"}}

// newArchive makes the archive; alter may change the package's content before it is packed.
func newArchive(t *testing.T, alter func(content string)) archiveOf {
	t.Helper()
	host, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	content := filepath.Join(dir, "content")
	write(t, filepath.Join(content, "DEBIAN/control"), "Package: tiny\nVersion: 1:1.2.3-4+test1\nArchitecture: "+host.arch+"\nMaintainer: Nobody <nobody@windlass.test>\nDescription: a program for a test\n")
	libs := filepath.Join(content, "usr/lib", host.triplet)
	copyFile(t, "/bin/true", filepath.Join(content, "usr/sbin/tinyd"))
	if err := os.Chmod(filepath.Join(content, "usr/sbin/tinyd"), 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for _, lib := range []string{host.loader, "libc.so.6"} {
		copyFile(t, filepath.Join("/lib", host.triplet, lib), filepath.Join(libs, lib))
	}
	if alter != nil {
		alter(content)
	}
	a := archiveOf{dir: filepath.Join(dir, "archive"), etc: filepath.Join(dir, "etc")}
	deb := filepath.Join(a.dir, "pool/tiny.deb")
	if err := os.MkdirAll(filepath.Dir(deb), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Znone", "-b", content, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	control, err := exec.Command("dpkg-deb", "-f", deb).Output()
	if err != nil {
		t.Fatal(err)
	}
	sum, size := digest(t, deb)
	packages := fmt.Sprintf("%sFilename: pool/tiny.deb\nSize: %d\nSHA256: %s\n", control, size, sum)
	index := "main/binary-" + host.arch + "/Packages"
	write(t, filepath.Join(a.dir, "dists/bookworm", index), packages)
	sum, size = digest(t, filepath.Join(a.dir, "dists/bookworm", index))
	write(t, filepath.Join(a.dir, "dists/bookworm/Release"), fmt.Sprintf("Origin: Test\nSuite: bookworm\nCodename: bookworm\nArchitectures: %s\nComponents: main\nDate: %s\nSHA256:\n %s %d %s\n", host.arch, time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 UTC"), sum, size, index))
	write(t, filepath.Join(a.etc, "sources.list.d/test.sources"), "Types: deb\nURIs: file:"+a.dir+"\nSuites: bookworm\nComponents: main\nTrusted: yes\n")
	return a
}

func digest(t *testing.T, path string) (string, int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b)), len(b)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
	if err := os.Chmod(to, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestBuildIsMadeOnce makes a build, uses it without its archive, and sees what is in it.
func TestBuildIsMadeOnce(t *testing.T) {
	a, cache := newArchive(t, nil), t.TempDir()
	var said []string
	b, err := maker{a.etc}.fetch(t.Context(), "tiny", tiny, Options{Cache: cache, Progress: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if b.Version != "1.2.3" || b.Package != "1:1.2.3-4+test1" || b.Name != "tiny" || b.Cache != cache {
		t.Errorf("build: %+v", b)
	}
	if len(said) < 4 || !strings.HasPrefix(said[0], "tiny: reading the package lists of bookworm") {
		t.Errorf("progress: %q", said)
	}
	if err := os.RemoveAll(a.dir); err != nil { // offline from now on
		t.Fatal(err)
	}
	again, err := maker{a.etc}.fetch(t.Context(), "tiny", tiny, Options{Cache: cache, Progress: func(s string) { t.Errorf("fetched again: %s", s) }})
	if err != nil || again != b {
		t.Errorf("again: %+v, %v", again, err)
	}
	cmd, err := b.Command(t.Context(), "tinyd")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("run: %v: %s", err, out)
	}
	if out, err := exec.Command(filepath.Join(b.Bin(), "tinyd")).CombinedOutput(); err != nil {
		t.Errorf("run by its script: %v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(b.Root, "usr/sbin/tinyd"))
	if err != nil || info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	onlyBuild(t, cache)
}

// onlyBuild sees that nothing lies in the cache but the build and its lock.
func onlyBuild(t *testing.T, cache string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(cache, "builds"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); name != "tiny."+tiny.hash() && name != "tiny."+tiny.hash()+".lock" {
			t.Errorf("left: %s", name)
		}
	}
}

const (
	helperCache = "WINDLASS_TEST_FETCH_CACHE"
	helperEtc   = "WINDLASS_TEST_FETCH_ETC"
	helperDie   = "WINDLASS_TEST_FETCH_DIE"
)

// TestFetchHelper is the other process of the tests below.
func TestFetchHelper(t *testing.T) {
	cache := os.Getenv(helperCache)
	if cache == "" {
		return
	}
	_, err := maker{os.Getenv(helperEtc)}.fetch(t.Context(), "tiny", tiny, Options{Cache: cache, Progress: func(s string) {
		fmt.Println("said", s)
		if die := os.Getenv(helperDie); die != "" && strings.Contains(s, die) {
			self, _ := os.FindProcess(os.Getpid())
			_ = self.Kill()
			select {}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func helper(t *testing.T, a archiveOf, cache, die string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFetchHelper$", "-test.v")
	cmd.Env = append(os.Environ(), helperCache+"="+cache, helperEtc+"="+a.etc, helperDie+"="+die)
	return cmd
}

// TestProcessesFetchOnce lets three processes want the same build at once.
func TestProcessesFetchOnce(t *testing.T) {
	a, cache := newArchive(t, nil), t.TempDir()
	var all sync.WaitGroup
	var outs [3][]byte
	for i := range outs {
		all.Go(func() {
			out, err := helper(t, a, cache, "").CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			outs[i] = out
		})
	}
	all.Wait()
	if n := strings.Count(string(bytes.Join(outs[:], nil)), "unpacking"); n != 1 {
		t.Errorf("unpacked %d times: %s", n, outs)
	}
	onlyBuild(t, cache)
}

// TestKilledFetch kills a fetch in each of its phases: what it leaves is not used, and the next one succeeds.
func TestKilledFetch(t *testing.T) {
	a := newArchive(t, nil)
	for _, phase := range []string{"reading", "downloading", "unpacking", "checking"} {
		cache := t.TempDir()
		out, err := helper(t, a, cache, phase).CombinedOutput()
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != -1 {
			t.Fatalf("%s: it was not killed: %v: %s", phase, err, out)
		}
		if _, err := open(cache, filepath.Join(cache, "builds", "tiny."+tiny.hash())); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a half-made build is there: %v", phase, err)
		}
		if _, err := (maker{a.etc}).fetch(t.Context(), "tiny", tiny, Options{Cache: cache}); err != nil {
			t.Errorf("%s: fetch after the kill: %v", phase, err)
		}
		onlyBuild(t, cache)
	}
}

// TestHalfMadeFolderIsNotUsed finds a folder of the right name that was never finished.
func TestHalfMadeFolderIsNotUsed(t *testing.T) {
	a, cache := newArchive(t, nil), t.TempDir()
	write(t, filepath.Join(cache, "builds", "tiny."+tiny.hash(), "usr/sbin/tinyd"), "half")
	b, err := maker{a.etc}.fetch(t.Context(), "tiny", tiny, Options{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if elf, err := isELF(filepath.Join(b.Root, "usr/sbin/tinyd")); err != nil || !elf {
		t.Errorf("the half-made one was used: %v", err)
	}
}

// TestFetchRefuses shows each thing that must not become a build.
func TestFetchRefuses(t *testing.T) {
	host, err := thisMachine()
	if err != nil {
		t.Fatal(err)
	}
	newer := tiny
	newer.Wants = "1.1."
	missing := tiny
	missing.Packages = []string{"huge"}
	for name, c := range map[string]struct {
		alter func(string)
		r     recipe
		want  string
	}{
		"another version": {nil, newer, "bookworm now has version 1:1.2.3-4+test1, not 1.1.…"},
		"no such package": {nil, missing, "huge"},
		"a library of the machine": {func(content string) {
			if err := os.Remove(filepath.Join(content, "usr/lib", host.triplet, "libc.so.6")); err != nil {
				t.Fatal(err)
			}
		}, tiny, "library"},
	} {
		a, cache := newArchive(t, c.alter), t.TempDir()
		b, err := maker{a.etc}.fetch(t.Context(), "tiny", c.r, Options{Cache: cache})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v", name, b, err)
		}
		t.Logf("%s: %v", name, err)
		if left, err := filepath.Glob(filepath.Join(cache, "builds", "*", "*")); err != nil || len(left) > 0 {
			t.Errorf("%s: left %s, %v", name, left, err)
		}
	}
}

// TestFetchEndsWithItsContext gives up in the middle.
func TestFetchEndsWithItsContext(t *testing.T) {
	a, cache := newArchive(t, nil), t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := maker{a.etc}.fetch(ctx, "tiny", tiny, Options{Cache: cache, Progress: func(s string) {
		if strings.Contains(s, "downloading") {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
}

// TestOrdinaryUserFetches drops to another user, if this is root; otherwise all other tests have shown it.
func TestOrdinaryUserFetches(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	a, cache := newArchive(t, nil), t.TempDir()
	program := filepath.Join(cache, "test")
	copyFile(t, os.Args[0], program)
	cmd := helper(t, a, cache, "")
	cmd.Path = program
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	cmd.Env = append(cmd.Env, "HOME="+cache, "TMPDIR=/tmp")
	if err := os.Chown(cache, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(cache), 0o755); err != nil { // the test's own folder is closed to others
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(filepath.Join(cache, "builds", "tiny."+tiny.hash(), aboutFile))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 65534 {
		t.Errorf("it was made by user %d", uid)
	}
}
