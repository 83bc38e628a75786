package builds

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// apt runs Debian's package manager with a state of its own, in a folder. What the machine says of proxies, certificates and
// passwords stays in force; what it says of sources, pins, hooks and releases does not.
type apt struct {
	dir string
	say func(string)
}

// prepare writes the private state.
func (a apt) prepare(m mirrors, r recipe, host machine) error {
	for _, d := range []string{"sources", "preferences", "state/lists/partial", "cache/archives/partial", "log"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	stanzas := []string{m.main.stanza(r.Suite)}
	if r.Security && m.security != nil {
		stanzas = append(stanzas, m.security.stanza(r.Suite+"-security"))
	}
	for file, text := range map[string]string{"sources/debian.sources": strings.Join(stanzas, "\n"), "status": "", "apt.conf": a.config(host)} {
		if err := os.WriteFile(filepath.Join(a.dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// config is read after the machine's own configuration, so that it wins.
func (a apt) config(host machine) string {
	var b strings.Builder
	for _, list := range []string{ // hooks of the machine would clean its caches, or want root; a list can only be cleared, not set
		"APT::Update::Pre-Invoke", "APT::Update::Post-Invoke", "APT::Update::Post-Invoke-Success", "APT::Update::Post-Invoke-Stats",
		"DPkg::Pre-Invoke", "DPkg::Post-Invoke", "DPkg::Pre-Install-Pkgs", "APT::Architectures", "APT::Default-Release", "Acquire::Languages",
	} {
		fmt.Fprintf(&b, "#clear %s;\n", list)
	}
	fmt.Fprintf(&b, "APT::Architecture %q;\nAPT::Architectures { %q; };\nAcquire::Languages { \"none\"; };\n", host.arch, host.arch)
	for _, o := range [][2]string{
		{"APT::Install-Recommends", "0"}, {"APT::Install-Suggests", "0"}, {"APT::Sandbox::User", ""}, {"APT::Update::Error-Mode", "any"},
		{"Acquire::Retries", "3"}, {"Debug::NoLocking", "1"},
		{"Dir::Etc::sourcelist", "/dev/null"}, {"Dir::Etc::sourceparts", a.at("sources")},
		{"Dir::Etc::preferences", "/dev/null"}, {"Dir::Etc::preferencesparts", a.at("preferences")},
		{"Dir::State", a.at("state")}, {"Dir::State::lists", a.at("state/lists")}, {"Dir::State::status", a.at("status")}, {"Dir::State::extended_states", a.at("state/extended")},
		{"Dir::Cache", a.at("cache")}, {"Dir::Cache::archives", a.at("cache/archives")}, {"Dir::Cache::pkgcache", ""}, {"Dir::Cache::srcpkgcache", ""},
		{"Dir::Log", a.at("log")},
	} {
		fmt.Fprintf(&b, "%s %q;\n", o[0], o[1])
	}
	return b.String()
}

func (a apt) at(path string) string { return filepath.Join(a.dir, path) }

// download leaves the recipe's packages in the folder and returns their files.
func (a apt) download(ctx context.Context, r recipe) ([]string, error) {
	if err := a.run(ctx, "reading the package lists of "+r.Suite, "update"); err != nil {
		return nil, err
	}
	if err := a.run(ctx, "downloading", append([]string{"-y", "--download-only", "install"}, r.Packages...)...); err != nil {
		return nil, err
	}
	if len(r.Alone) > 0 {
		if err := a.run(ctx, "downloading the tools", append([]string{"download"}, r.Alone...)...); err != nil {
			return nil, err
		}
	}
	debs, err := filepath.Glob(a.at("cache/archives/*.deb"))
	if err != nil {
		return nil, err
	}
	if len(debs) == 0 {
		return nil, errors.New("apt-get downloaded nothing")
	}
	return debs, nil
}

// run runs apt-get and tells of its progress.
func (a apt) run(ctx context.Context, what string, args ...string) error {
	a.say(what)
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd := command(ctx, "apt-get", append([]string{"-qq", "-c", a.at("apt.conf"), "-o", "APT::Status-Fd=3"}, args...)...)
	cmd.Dir = a.at("cache/archives")
	cmd.ExtraFiles = []*os.File{write}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Start()
	write.Close()
	if err != nil {
		return fmt.Errorf("apt-get: %w", err)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		a.progress(what, bufio.NewScanner(read))
	}()
	err = cmd.Wait()
	// A program that apt-get left behind could hold the pipe open.
	if e := read.SetReadDeadline(time.Now().Add(time.Second)); e != nil {
		read.Close()
	}
	<-told
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("%s: apt-get: %w: %s\n(check the network and apt's proxy settings; if a key is missing, update the package debian-archive-keyring)", what, err, tail(out.Bytes()))
	}
	return nil
}

// statusLine is apt's machine-readable progress: dlstatus:number:percent:text (time remaining).
var statusLine = regexp.MustCompile(`^dlstatus:\d+:([0-9.]+):.*?(?:\(([^()]*) remaining\))?$`)

func (a apt) progress(what string, lines *bufio.Scanner) {
	told := 0
	for lines.Scan() {
		p := statusLine.FindStringSubmatch(lines.Text())
		if p == nil {
			continue
		}
		percent, err := strconv.ParseFloat(p[1], 64)
		if err != nil || int(percent)/10 <= told/10 {
			continue
		}
		told = int(percent)
		line := fmt.Sprintf("%s, %d %%", what, told)
		if p[2] != "" {
			line += ", about " + p[2] + " left"
		}
		a.say(line)
	}
}

// command prepares one of Debian's tools; the context ends it and what it started.
func command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

func tail(out []byte) string {
	text := strings.TrimSpace(string(out))
	return text[max(0, len(text)-1000):]
}
