package builds

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// fetch makes the build's folder in dir.
func fetch(ctx context.Context, dir, name string, r recipe, progress func(string)) (err error) {
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is needed to fetch Debian's packages; on a machine without it, install the servers yourself and use the exec driver: %w", program, err)
		}
	}
	m, err := findMirror("/etc/apt")
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, name+".making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	apt, err := prepareApt(work, m, r)
	if err != nil {
		return err
	}
	progress(fmt.Sprintf("%s: reading the package lists of %s", name, r.suite))
	if err := run(ctx, "apt-get", append(apt, "update")...); err != nil {
		return err
	}
	progress(fmt.Sprintf("%s: downloading", name))
	if err := run(ctx, "apt-get", append(append(apt, "-y", "-d", "install"), r.packages...)...); err != nil {
		return err
	}
	debs, err := filepath.Glob(filepath.Join(work, "cache", "archives", "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(work, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	progress(fmt.Sprintf("%s: unpacking %d packages", name, len(debs)))
	version := ""
	for _, deb := range debs {
		if err := run(ctx, "dpkg-deb", "-x", deb, root); err != nil {
			return err
		}
		if strings.HasPrefix(filepath.Base(deb), r.version+"_") {
			version = upstream(filepath.Base(deb))
		}
	}
	if version == "" {
		return fmt.Errorf("%s brought no package %s: %s", r.suite, r.version, strings.Join(debs, " "))
	}
	if err := os.WriteFile(filepath.Join(root, versionFile), []byte(version+"\n"), 0o644); err != nil {
		return err
	}
	if err := os.Chmod(root, 0o755); err != nil {
		return err
	}
	whole := filepath.Join(dir, name)
	if err := os.RemoveAll(whole); err != nil { // what is there has no version file: it is no build
		return err
	}
	return os.Rename(root, whole)
}

// upstream takes "11.8.6" out of "mariadb-server-core_1%3a11.8.6-0+deb13u1_amd64.deb".
func upstream(deb string) string {
	parts := strings.Split(deb, "_")
	if len(parts) < 2 {
		return ""
	}
	v := parts[1]
	if _, after, ok := strings.Cut(v, "%3a"); ok {
		v = after
	}
	v, _, _ = strings.Cut(v, "-")
	v, _, _ = strings.Cut(v, "+")
	return v
}

// mirror is where this machine gets Debian's packages from.
type mirror struct{ main, security string }

var oneLine = regexp.MustCompile(`^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)`)

// findMirror reads the machine's own apt sources, in either format.
func findMirror(etc string) (mirror, error) {
	var m mirror
	take := func(uri, suite string) {
		switch {
		case strings.HasSuffix(suite, "-security") || strings.Contains(suite, "/updates"):
			if m.security == "" {
				m.security = uri
			}
		case strings.Contains(uri, "debian") && !strings.Contains(suite, "/") && m.main == "":
			m.main = uri
		}
	}
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return m, err
	}
	for _, f := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		b, err := os.ReadFile(f)
		if err != nil {
			continue // a missing sources.list is usual; having found none at all is the error below
		}
		switch filepath.Ext(f) {
		case ".list":
			for _, line := range strings.Split(string(b), "\n") {
				if p := oneLine.FindStringSubmatch(strings.TrimSpace(line)); p != nil {
					take(p[1], p[2])
				}
			}
		case ".sources":
			for _, stanza := range strings.Split(string(b), "\n\n") {
				var uri, suite string
				for _, line := range strings.Split(stanza, "\n") {
					key, value, _ := strings.Cut(line, ":")
					fields := strings.Fields(value)
					switch {
					case len(fields) == 0:
					case strings.EqualFold(key, "URIs"):
						uri = fields[0]
					case strings.EqualFold(key, "Suites"):
						suite = fields[0]
					}
				}
				if uri != "" {
					take(uri, suite)
				}
			}
		}
	}
	if m.main == "" {
		return m, fmt.Errorf("%s names no Debian mirror: add one to sources.list, or install the servers yourself and use the exec driver", etc)
	}
	return m, nil
}

// prepareApt writes a private apt state into work and returns the options that use it. The machine's proxy settings and
// keys stay in force.
func prepareApt(work string, m mirror, r recipe) ([]string, error) {
	for _, d := range []string{"etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "state/lists/partial", "cache/archives/partial", "dpkg"} {
		if err := os.MkdirAll(filepath.Join(work, d), 0o755); err != nil {
			return nil, err
		}
	}
	const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	signed := ""
	if _, err := os.Stat(keyring); err == nil {
		signed = "[signed-by=" + keyring + "] "
	}
	list := fmt.Sprintf("deb %s%s %s main\n", signed, m.main, r.suite)
	if r.security && m.security != "" {
		list += fmt.Sprintf("deb %s%s %s-security main\n", signed, m.security, r.suite)
	}
	for file, text := range map[string]string{"etc/sources.list": list, "dpkg/status": ""} {
		if err := os.WriteFile(filepath.Join(work, file), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	for _, own := range []string{"apt.conf", "apt.conf.d", "trusted.gpg", "trusted.gpg.d", "auth.conf", "auth.conf.d"} {
		from, to := filepath.Join("/etc/apt", own), filepath.Join(work, "etc", own)
		if _, err := os.Stat(from); err != nil {
			continue
		}
		if err := os.RemoveAll(to); err != nil {
			return nil, err
		}
		if err := os.Symlink(from, to); err != nil {
			return nil, err
		}
	}
	return []string{
		"-qq", "-o", "Dir::Etc=" + filepath.Join(work, "etc"), "-o", "Dir::State=" + filepath.Join(work, "state"), "-o", "Dir::Cache=" + filepath.Join(work, "cache"),
		"-o", "Dir::State::status=" + filepath.Join(work, "dpkg", "status"), "-o", "APT::Install-Recommends=0", "-o", "Acquire::Languages=none",
		"-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=3", "-o", "APT::Update::Post-Invoke::=", "-o", "DPkg::Post-Invoke::=",
	}, nil
}

func run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(out.String())
		if len(text) > 1000 {
			text = text[len(text)-1000:]
		}
		return fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return nil
}
