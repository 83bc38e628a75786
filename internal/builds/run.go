package builds

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoProgram means that the build does not hold such a program.
var ErrNoProgram = errors.New("no such program")

// binDirs are where programs lie, relative to the root.
var binDirs = []string{"usr/sbin", "usr/bin", "sbin", "bin", "usr/lib/postgresql/15/bin", "usr/lib/postgresql/17/bin", "usr/lib/systemd", "lib/systemd"}

// libDirs are where libraries lie; %s is the machine's triplet.
var libDirs = []string{"usr/lib/%s", "lib/%s", "usr/lib/mysql/private", "usr/lib/%s/bind", "usr/lib/%s/systemd", "lib/%s/systemd"}

// Path finds a program of the build.
func (b Build) Path(program string) (string, error) {
	for _, dir := range binDirs {
		p := filepath.Join(b.Root, dir, program)
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", fmt.Errorf("%w: build %s has no %s", ErrNoProgram, b.Name, program)
}

// Argv is the command line that runs a program of the build through the build's own loader and libraries. A script can't
// be run so.
func (b Build) Argv(program string, args ...string) ([]string, error) {
	p, err := b.Path(program)
	if err != nil {
		return nil, err
	}
	if elf, err := isELF(p); err != nil {
		return nil, err
	} else if !elf {
		return nil, fmt.Errorf("%w: %s of build %s is a script", ErrNoProgram, program, b.Name)
	}
	head, err := b.loader()
	if err != nil {
		return nil, err
	}
	return append(append(head, p), args...), nil
}

// loader is the beginning of every command line: the build's loader, told of the build's libraries.
func (b Build) loader() ([]string, error) {
	m, err := thisMachine()
	if err != nil {
		return nil, err
	}
	var loader string
	for _, dir := range []string{"usr/lib/", "lib/"} { // older suites have not merged lib into usr/lib
		p := filepath.Join(b.Root, dir, m.triplet, m.loader)
		if _, err := os.Stat(p); err == nil {
			loader = p
			break
		}
	}
	if loader == "" {
		return nil, fmt.Errorf("build %s has no dynamic loader %s under %s", b.Name, m.loader, b.Root)
	}
	var dirs []string
	for _, d := range libDirs {
		if strings.Contains(d, "%s") {
			d = fmt.Sprintf(d, m.triplet)
		}
		p := filepath.Join(b.Root, d)
		if info, err := os.Stat(p); err == nil && info.IsDir() {
			dirs = append(dirs, p)
		}
	}
	return []string{loader, "--library-path", strings.Join(dirs, ":")}, nil
}

// Env is what the build's programs need in their environment to find their own parts, such as sysbench its tests.
func (b Build) Env() []string {
	m, err := thisMachine()
	if err != nil {
		return nil
	}
	var env []string
	if dir := filepath.Join(b.Root, "usr", "lib", m.triplet, "libmariadb3", "plugin"); isDir(dir) {
		env = append(env, "MARIADB_PLUGIN_DIR="+dir)
	}
	if dir := filepath.Join(b.Root, "usr", "share", "sysbench"); isDir(dir) {
		env = append(env, "LUA_PATH="+dir+"/?.lua;;")
	}
	return env
}

// Command prepares a program of the build to be run. The context ends it.
func (b Build) Command(ctx context.Context, program string, args ...string) (*exec.Cmd, error) {
	argv, err := b.Argv(program, args...)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), b.Env()...)
	return cmd, nil
}

// Bin is a folder with a small script for every program of the build, under the program's own name: for people's PATH, and
// for programs that run others of their build by name, such as mariadb-upgrade.
func (b Build) Bin() string { return filepath.Join(b.Root, "windlass-bin") }

// writeBin makes the scripts. They find the build by their own place, so that the folder can be moved.
func (b Build) writeBin() error {
	head, err := b.loader()
	if err != nil {
		return err
	}
	inside := func(s string) string { return strings.ReplaceAll(s, b.Root, "$r") }
	var env strings.Builder
	for _, e := range b.Env() {
		k, v, _ := strings.Cut(e, "=")
		fmt.Fprintf(&env, "export %s=\"%s\"\n", k, inside(v))
	}
	if err := os.MkdirAll(b.Bin(), 0o755); err != nil {
		return err
	}
	for _, dir := range binDirs {
		entries, err := os.ReadDir(filepath.Join(b.Root, dir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			p := filepath.Join(b.Root, dir, e.Name())
			if elf, err := isELF(p); err != nil || !elf {
				continue // a script, or a link into a package that is not there
			}
			script := fmt.Sprintf("#!/bin/sh\nr=$(cd \"$(dirname \"$0\")/..\" && pwd) || exit 127\n%sexec \"%s\" --argv0 \"$0\" --library-path \"%s\" \"%s\" \"$@\"\n",
				env.String(), inside(head[0]), inside(head[2]), inside(p))
			if err := os.WriteFile(filepath.Join(b.Bin(), e.Name()), []byte(script), 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

// check sees that a program finds every library within the folder: one that came from the machine would make a build
// that works here and not elsewhere.
func (b Build) check(ctx context.Context, program string) error {
	argv, err := b.Argv(program)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, argv[0], "--list", argv[1], argv[2], argv[3]).CombinedOutput()
	if err != nil {
		return fmt.Errorf("look for the libraries of %s: %w: %s", program, err, tail(out))
	}
	for line := range strings.Lines(string(out)) {
		name, where, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if ok && !strings.HasPrefix(where, b.Root+"/") && !strings.HasPrefix(name, "/") {
			return fmt.Errorf("%s does not find its library %s in the build (%s): the recipe lacks a package", program, name, where)
		}
	}
	return nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func isELF(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var magic [4]byte
	if n, err := f.Read(magic[:]); n < 4 {
		if info, e := f.Stat(); e == nil && info.Mode().IsRegular() {
			return false, nil // shorter than any program
		}
		return false, err
	}
	return bytes.Equal(magic[:], []byte("\x7fELF")), nil
}
