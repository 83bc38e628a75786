package builds

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maker makes build folders.
type maker struct {
	etc string // apt's own configuration
}

// make makes the build's folder, under the lock of the build. It appears by a rename, when it is whole.
func (m maker) make(ctx context.Context, folder, name string, r recipe, say func(string)) error {
	host, err := thisMachine()
	if err != nil {
		return err
	}
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is needed to fetch Debian's packages; on a machine without it, install the servers yourself and use the exec driver: %w", program, err)
		}
	}
	found, err := findMirrors(m.etc)
	if err != nil {
		return err
	}
	if err := sweep(folder); err != nil {
		return fmt.Errorf("delete what a killed fetch left: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(folder), filepath.Base(folder)+makingInfix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) // what it can't delete, the next fetch does

	a := apt{dir: filepath.Join(work, "apt"), say: say}
	if err := a.prepare(found, r, host); err != nil {
		return err
	}
	debs, err := a.download(ctx, r)
	if err != nil {
		return fmt.Errorf("%w\n(the mirror is %s, of %s)", err, found.main.uri, found.main.file)
	}
	b := Build{Name: name, Root: filepath.Join(work, "root")}
	version, err := unpack(ctx, debs, b.Root, r.Packages[0], say)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(upstream(version), r.Wants) {
		return fmt.Errorf("%s now has version %s, not %s…: a newer release of Windlass may know where that version is, or install the server yourself and use the exec driver", r.Suite, version, r.Wants)
	}
	say("checking")
	for _, p := range r.Programs {
		if err := b.check(ctx, p); err != nil {
			return err
		}
	}
	if err := b.writeBin(); err != nil {
		return err
	}
	return publish(b.Root, folder, about{Name: name, Version: upstream(version), Package: version, Suite: r.Suite, Packages: names(debs), Fetched: time.Now().UTC()})
}

const makingInfix = ".making-"

// sweep deletes what killed fetches of this build left. The caller holds the build's lock, so nobody uses it.
func sweep(folder string) error {
	left, err := filepath.Glob(folder + makingInfix + "*")
	if err != nil {
		return err
	}
	for _, dir := range append(left, folder) { // a folder of that name without the file that says it is whole is no build
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	return nil
}

// unpack puts every package into root and returns the version of the main one.
func unpack(ctx context.Context, debs []string, root, main string, say func(string)) (string, error) {
	say(fmt.Sprintf("unpacking %d packages", len(debs)))
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	version := ""
	for _, deb := range debs {
		if out, err := command(ctx, "dpkg-deb", "-x", deb, root).CombinedOutput(); err != nil {
			return "", fmt.Errorf("unpack %s: %w: %s", filepath.Base(deb), err, tail(out))
		}
		if strings.HasPrefix(filepath.Base(deb), main+"_") {
			out, err := command(ctx, "dpkg-deb", "-f", deb, "Version").Output()
			if err != nil {
				return "", fmt.Errorf("read the version of %s: %w", filepath.Base(deb), err)
			}
			version = strings.TrimSpace(string(out))
		}
	}
	if version == "" {
		return "", fmt.Errorf("the package %s did not come: %s", main, strings.Join(names(debs), " "))
	}
	return version, tame(root)
}

// tame takes away what packages may hold that does not belong into a cache: programs that run as their owner, and folders
// that can't be deleted.
func tame(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := info.Mode() &^ (fs.ModeSetuid | fs.ModeSetgid)
		if d.IsDir() {
			want |= 0o755
		}
		if want == info.Mode() {
			return nil
		}
		return os.Chmod(path, want)
	})
}

// upstream takes "11.8.6" out of "1:11.8.6-0+deb13u1".
func upstream(version string) string {
	if _, after, ok := strings.Cut(version, ":"); ok {
		version = after
	}
	if i := strings.LastIndexByte(version, '-'); i >= 0 {
		version = version[:i]
	}
	version, _, _ = strings.Cut(version, "+")
	return version
}

// publish makes a whole folder visible. Everything is on the disk before the name is, so that a power cut leaves no half.
func publish(root, folder string, a about) error {
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, aboutFile), append(text, '\n'), 0o644); err != nil {
		return err
	}
	d, err := os.Open(root)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("write %s to the disk: %w", folder, err)
	}
	return os.Rename(root, folder)
}

func names(files []string) []string {
	var out []string
	for _, f := range files {
		out = append(out, filepath.Base(f))
	}
	return out
}
