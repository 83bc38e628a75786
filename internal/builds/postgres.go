package builds

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// PostgresTree makes a folder in dir from which a PostgreSQL build's programs find each other and their files, as they were installed: each
// is a script that runs the program through the build's own loader, under the script's name. It returns the folder of the programs.
func (b Build) PostgresTree(dir string) (bin string, err error) {
	found, err := filepath.Glob(filepath.Join(b.Root, "usr", "lib", "postgresql", "*", "bin"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(fmt.Errorf("%w: build %s has no PostgreSQL", ErrNoProgram, b.Name), err)
	}
	version := filepath.Base(filepath.Dir(found[0]))
	usr := filepath.Join(dir, "usr")
	home := filepath.Join(usr, "lib", "postgresql", version)
	bin = filepath.Join(home, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	for from, to := range map[string]string{filepath.Join(b.Root, "usr", "share"): filepath.Join(usr, "share"), filepath.Join(b.Root, "usr", "lib", "postgresql", version, "lib"): filepath.Join(home, "lib")} {
		if err := os.Symlink(from, to); err != nil {
			return "", err
		}
	}
	for _, name := range []string{"initdb", "postgres"} {
		argv, err := b.Argv(name)
		if err != nil {
			return "", err
		}
		quoted := []string{"'" + argv[0] + "'", "--argv0", `"$0"`}
		for _, a := range argv[1:] {
			quoted = append(quoted, "'"+a+"'")
		}
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\nexec "+strings.Join(quoted, " ")+" \"$@\"\n"), 0o755); err != nil {
			return "", err
		}
	}
	return bin, nil
}

// Unrooted lets a program that refuses to run as root run all the same: if we are root, it has another number in a namespace of its own.
func Unrooted(cmd *exec.Cmd) {
	if os.Geteuid() != 0 {
		return
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	a := cmd.SysProcAttr
	a.Cloneflags |= syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 1000, HostID: 0, Size: 1}}
	a.Credential = &syscall.Credential{Uid: 1000, Gid: 1000, NoSetGroups: true}
}
