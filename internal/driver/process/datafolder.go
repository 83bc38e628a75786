package process

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
)

// fromTemplate makes a data folder by copying one that make has initialised, once on this machine for each key. What it makes
// is whole or not there.
func fromTemplate(ctx context.Context, b builds.Build, key, data string, make func(ctx context.Context, data string) error) error {
	dir := filepath.Join(filepath.Dir(filepath.Dir(b.Root)), "templates")
	path := filepath.Join(dir, b.Name+"-"+key)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	unlock, err := builds.Lock(ctx, path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		made := path + ".making"
		if err := os.RemoveAll(made); err != nil {
			return err
		}
		if err := make(ctx, made); err != nil {
			return err
		}
		if err := os.Rename(made, path); err != nil {
			return err
		}
		if err := sweepTemplates(dir, b.Name); err != nil {
			return err
		}
	}
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil { // it was used
		return err
	}
	if err := os.RemoveAll(data + ".new"); err != nil {
		return err
	}
	if err := Clone(path, data+".new"); err != nil {
		return err
	}
	return os.Rename(data+".new", data)
}

// keptTemplates is how many templates of a build stay on a machine. Accounts with other passwords, or other options, make another template,
// such as every demo does; without a limit they would fill the disk, and keep the hashes of passwords that nobody uses any more.
const keptTemplates = 8

// sweepTemplates deletes the templates of the build that were not used for longest, but for those that somebody copies at this moment.
func sweepTemplates(dir, build string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	type template struct {
		name string
		used time.Time
	}
	var all []template
	for _, e := range entries {
		key, ok := strings.CutPrefix(e.Name(), build+"-")
		if !ok || !e.IsDir() || strings.ContainsAny(key, ".-") { // one that is being made, or another build's
			continue
		}
		info, err := e.Info()
		if errors.Is(err, os.ErrNotExist) {
			continue // another process has swept it
		}
		if err != nil {
			return err
		}
		all = append(all, template{e.Name(), info.ModTime()})
	}
	slices.SortFunc(all, func(a, b template) int { return b.used.Compare(a.used) })
	for _, t := range all[min(len(all), keptTemplates):] {
		path := filepath.Join(dir, t.name)
		unlock, err := builds.TryLock(path + ".lock")
		if errors.Is(err, builds.ErrLocked) {
			continue
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(path)
		unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// shareOf is where a build keeps messages, character sets and system tables.
func shareOf(b builds.Build) string {
	for _, name := range []string{"mariadb", "mysql"} {
		dir := filepath.Join(b.Root, "usr", "share", name)
		if _, err := os.Stat(filepath.Join(dir, "charsets")); err == nil {
			return dir
		}
	}
	return filepath.Join(b.Root, "usr", "share", "mysql")
}

// greets sees the server's first packet: it accepts clients.
func greets(ctx context.Context, address string) error {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	if stop, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(stop); err != nil {
			return err
		}
	}
	var b [5]byte
	if _, err := c.Read(b[:]); err != nil {
		return err
	}
	if b[4] == 0xFF {
		return errors.New("it answers with an error")
	}
	return nil
}

func tailOf(s string) string { s = strings.TrimSpace(s); return s[max(0, len(s)-800):] }
