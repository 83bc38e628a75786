package service

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Systemd runs nodes as units of systemd, such as "jobs-{version}@{node}.service", here or on a machine behind ssh. The version's command line
// stands in the unit; what runs of other versions is stopped by the unit's Conflicts.
type Systemd struct {
	Unit string   // of a node on a version
	Any  string   // the node's on whichever version, as a pattern of systemctl
	SSH  []string // what goes before systemctl, such as ["ssh", "{host}"]; empty: nothing
}

// What systemd calls a unit that has, or may have, a process, and one that has none.
var (
	unitRuns = []string{"active", "reloading", "refreshing", "activating", "deactivating", "maintenance"}
	unitOut  = []string{"inactive", "failed"}
)

// line is a command line. What ssh is given a shell reads on the other side, so those words are quoted.
func (s Systemd) line(u Unit, words ...string) ([]string, error) {
	before, err := expanded(s.SSH, u)
	if err != nil {
		return nil, err
	}
	words, err = expanded(append([]string{"systemctl"}, words...), u)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(before, func(w string) bool { return filepath.Base(w) == "ssh" }) {
		for i, w := range words {
			words[i] = quoted(w)
		}
	}
	return append(before, words...), nil
}

// quoted is a word as a shell reads it back.
func quoted(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,@%+") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// Runs asks for the state in words: by exit codes a unit that still ends can't be told from one that is gone. Without a unit of that name
// there is no word at all, and systemd has to answer something else.
func (s Systemd) Runs(ctx context.Context, u Unit) (bool, error) {
	said, out, err := s.show(ctx, u, "ActiveState", s.Any)
	if err != nil {
		return false, err
	}
	runs := false
	for _, word := range said {
		switch {
		case slices.Contains(unitRuns, word):
			runs = true
		case !slices.Contains(unitOut, word):
			return false, fmt.Errorf("systemd calls the state of %s %q, which says neither that it runs nor that it does not", u.Node.Name, word)
		}
	}
	if len(said) == 0 {
		if said, _, err = s.show(ctx, u, "Version"); err != nil {
			return false, err
		}
		if len(said) == 0 {
			return false, fmt.Errorf("systemctl says nothing of %s: %s", u.Node.Name, short(out))
		}
	}
	return runs, nil
}

// show asks for one property, of the manager if no unit is named.
func (s Systemd) show(ctx context.Context, u Unit, property string, unit ...string) (said []string, out []byte, err error) {
	argv, err := s.line(u, append([]string{"show", "--property=" + property}, unit...)...)
	if err != nil {
		return nil, nil, err
	}
	out, code, err := run(ctx, argv, nil)
	if err != nil {
		return nil, nil, err
	}
	if code != 0 {
		return nil, nil, fmt.Errorf("%s ends with %d: %s", strings.Join(argv, " "), code, short(out))
	}
	for row := range strings.Lines(string(out)) {
		if word, ok := strings.CutPrefix(strings.TrimSpace(row), property+"="); ok && word != "" {
			said = append(said, word)
		}
	}
	return said, out, nil
}

// Start starts the unit.
func (s Systemd) Start(ctx context.Context, u Unit) error { return s.do(ctx, u, "start", s.Unit) }

// Stop stops the unit, and waits until it is gone.
func (s Systemd) Stop(ctx context.Context, u Unit) error { return s.do(ctx, u, "stop", s.Any) }

func (s Systemd) do(ctx context.Context, u Unit, words ...string) error {
	argv, err := s.line(u, words...)
	if err != nil {
		return err
	}
	return do(ctx, argv, u)
}
