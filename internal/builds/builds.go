// Package builds fetches servers in the versions that Windlass runs locally, without installing them.
//
// A build is a folder with the programs of one version and every library that they need, unpacked from Debian's
// packages of the suite that has that version. Its programs are started through the folder's own dynamic loader, so
// nothing of the machine is changed and no root is needed. apt does the fetching, with a private state: it checks
// signatures, sees security updates, and uses the mirror, the proxy and the keys that the machine itself is set up for.
//
// Invariants
//   - A build's folder appears by one rename, after every program of its recipe was seen to find all its libraries in
//     the folder. What a killed fetch leaves has another name, is never used, and is deleted by the next fetch.
//   - Processes that want the same build wait for one another on a file lock; the lock ends with its process.
//   - A build that is there is used without the network, and is never changed: the version is resolved once, when it is
//     fetched. Delete its folder to get a newer one. A changed recipe makes a folder of another name.
//
// Failure: an error says which step of which build failed and what to do about it; nothing is left behind.
package builds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Build is a version's programs on this machine.
type Build struct {
	Name    string // such as "mariadb-11.8"
	Root    string // folder that holds usr/…
	Version string // full upstream version, such as "11.8.6"
	Package string // full version of its main package, such as "1:11.8.6-0+deb13u1"
	Cache   string // the cache folder in which it lies
}

// Options are settings of Fetch.
type Options struct {
	Cache    string       // folder of the builds; empty: DefaultCache
	Progress func(string) // told a line for each phase and each tenth of a download; may be nil
}

// ErrUnknown means that no build has that name.
var ErrUnknown = errors.New("no such build")

// DefaultCache is $WINDLASS_CACHE, or a folder of the user's cache.
func DefaultCache() (string, error) {
	if dir := os.Getenv("WINDLASS_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder (set WINDLASS_CACHE to choose one): %w", err)
	}
	return filepath.Join(dir, "windlass"), nil
}

// Names lists the builds that can be fetched.
func Names() []string {
	var names []string
	for n := range recipes {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Fetch returns the build, fetching it first if it is not there. That takes between five seconds and a minute or so, and
// about 20 MB of download (MySQL: 60 MB). It is safe to call at the same time from many goroutines and processes.
func Fetch(ctx context.Context, name string, o Options) (Build, error) {
	r, ok := recipes[name]
	if !ok {
		return Build{}, fmt.Errorf("%w: %q; there are %s", ErrUnknown, name, strings.Join(Names(), ", "))
	}
	return maker{etc: "/etc/apt"}.fetch(ctx, name, r, o)
}

func (m maker) fetch(ctx context.Context, name string, r recipe, o Options) (Build, error) {
	say := o.Progress
	if say == nil {
		say = func(string) {}
	}
	cache := o.Cache
	if cache == "" {
		var err error
		if cache, err = DefaultCache(); err != nil {
			return Build{}, err
		}
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return Build{}, fmt.Errorf("find the cache folder: %w", err)
	}
	dir := filepath.Join(cache, "builds")
	folder := name + "." + r.hash()
	if b, err := open(cache, filepath.Join(dir, folder)); err == nil || !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Build{}, fmt.Errorf("make the cache folder (set WINDLASS_CACHE to choose another): %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, folder+".lock"), func() { say(name + ": waiting for another process that fetches it") })
	if err != nil {
		return Build{}, fmt.Errorf("wait for another process that fetches %s: %w", name, err)
	}
	defer unlock()
	b, err := open(cache, filepath.Join(dir, folder)) // another process may have made it meanwhile
	if !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	if err := m.make(ctx, filepath.Join(dir, folder), name, r, func(s string) { say(name + ": " + s) }); err != nil {
		return Build{}, fmt.Errorf("fetch %s: %w", name, err)
	}
	return open(cache, filepath.Join(dir, folder))
}

// about is what a build's folder says of itself. It is written last, so a folder that has it is whole.
type about struct {
	Name     string    `json:"name"`
	Version  string    `json:"version"`
	Package  string    `json:"package"`
	Suite    string    `json:"suite"`
	Packages []string  `json:"packages"` // file names
	Fetched  time.Time `json:"fetched"`
}

const aboutFile = "windlass-build.json"

func open(cache, root string) (Build, error) {
	text, err := os.ReadFile(filepath.Join(root, aboutFile))
	if err != nil {
		return Build{}, err
	}
	var a about
	if err := json.Unmarshal(text, &a); err != nil {
		return Build{}, fmt.Errorf("%s is unreadable; delete that folder to fetch it again: %w", root, err)
	}
	return Build{Name: a.Name, Root: root, Version: a.Version, Package: a.Package, Cache: cache}, nil
}
