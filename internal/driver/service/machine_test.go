package service

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
)

// machineEnv asks for a real systemd and a real sshd. They need a mount namespace of their own, which not every machine that runs tests gives, so
// this is a part of `make matrix`; the stand-in of TestUnits, which every run has, answers as these do.
const machineEnv = "WINDLASS_MACHINE"

// machine is a systemd that runs units for a user, and an sshd on a loopback port before it.
type machine struct {
	*testing.T
	dir  string
	port int
	ssh  []string // command line up to the host
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir, err := os.MkdirTemp("", "wl") // systemd's sockets lie below it
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	m := &machine{T: t, dir: dir, port: processtest.FreePort(t)}
	systemd, openssh := processtest.Fetch(t, "systemd"), processtest.Fetch(t, "openssh")
	run := m.put("run", 0o700, "")
	for _, v := range []string{"1.0", "1.1"} {
		other := map[string]string{"1.0": "1.1", "1.1": "1.0"}[v]
		m.put("config/systemd/user/jobs-"+v+"@.service", 0o644, "[Unit]\nConflicts=jobs-"+other+"@%i.service\n[Service]\nExecStart=/bin/sleep 600\n")
	}
	m.put("config/systemd/user/jobs-ill@.service", 0o644, "[Service]\nExecStart=/bin/false\nType=oneshot\n")
	// systemctl of the machine: the real one, told to speak with the user's systemd.
	systemctl := "#!/bin/sh\nexport XDG_RUNTIME_DIR='" + run + "'\nexec '" + filepath.Join(systemd.Bin(), "systemctl") + "' --user \"$@\"\n"
	bin := filepath.Dir(m.put("bin/systemctl", 0o755, systemctl))
	m.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	m.Setenv("XDG_RUNTIME_DIR", run)

	// systemd wants to see that the machine was booted with one, which in a namespace of mounts of its own it was.
	argv, err := systemd.Argv("systemd", "--user", "--log-target=console", "--unit=basic.target")
	must(t, err)
	m.start("systemd", []string{"XDG_CONFIG_HOME=" + filepath.Join(dir, "config"), "DBUS_SESSION_BUS_ADDRESS="}, `mount -t tmpfs none /run && mkdir -p /run/systemd/system && exec "$@"`, argv)
	processtest.Until(t, time.Minute, "systemd answers", func() bool { return exec.Command("systemctl", "show", "--property=Version").Run() == nil })

	me, err := user.Current()
	must(t, err)
	for _, key := range []string{"host", "client"} {
		out, err := exec.Command(filepath.Join(openssh.Bin(), "ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, key)).CombinedOutput()
		if err != nil {
			t.Fatalf("make a key: %v: %s", err, out)
		}
	}
	config := m.put("sshd_config", 0o600, fmt.Sprintf(`ListenAddress 127.0.0.1:%d
HostKey %[2]s/host
AuthorizedKeysFile %[2]s/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv PATH=%[3]s:/usr/bin:/bin
`, m.port, dir, bin))
	passwd, err := os.ReadFile("/etc/passwd")
	must(t, err)
	if !bytes.Contains(passwd, []byte("\nsshd:")) { // whom sshd becomes until somebody has proved who they are
		passwd = append(passwd, "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"...)
	}
	script := `exec "$@"`
	if os.Geteuid() == 0 {
		script = `mount -t tmpfs none /run && mkdir -m 755 /run/sshd && mount --bind '` + m.put("passwd", 0o644, string(passwd)) + `' /etc/passwd && exec "$@"`
	}
	m.start("sshd", nil, script, []string{filepath.Join(openssh.Bin(), "sshd"), "-D", "-e", "-f", config})
	key, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	must(t, err)
	known := m.put("known_hosts", 0o600, fmt.Sprintf("[127.0.0.1]:%d %s", m.port, key))
	m.ssh = []string{filepath.Join(openssh.Bin(), "ssh"), "-F", "none", "-oBatchMode=yes", "-oUserKnownHostsFile=" + known, "-oIdentitiesOnly=yes", "-i", filepath.Join(dir, "client"), "-l", me.Username, "-p", fmt.Sprint(m.port)}
	processtest.Until(t, time.Minute, "sshd answers", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return m
}

// put writes a file below the machine's folder, or makes a folder if the mode is one's.
func (m *machine) put(name string, mode os.FileMode, text string) string {
	m.Helper()
	path := filepath.Join(m.dir, name)
	must(m.T, os.MkdirAll(filepath.Dir(path), 0o755))
	if mode == 0o700 {
		must(m.T, os.Mkdir(path, mode))
	} else {
		must(m.T, os.WriteFile(path, []byte(text), mode))
	}
	return path
}

// start runs a program in a namespace of mounts of its own, behind a script that makes it.
func (m *machine) start(name string, env []string, script string, argv []string) {
	m.Helper()
	log, err := os.Create(filepath.Join(m.dir, name+".log"))
	must(m.T, err)
	cmd := exec.Command("sh", append([]string{"-c", script, name}, argv...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	must(m.T, cmd.Start())
	m.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); m.Failed() && err == nil {
			m.Logf("%s said: %s", name, text)
		}
		log.Close()
	})
}

// TestUnitsOnARealMachine has systemd run units, here and behind a real sshd, whose shell reads the words. What a node's unit does is told as it is: one
// that starts on another version ends the one before; one that never was is out; a machine that can't be reached, or whose key is another, is unknown.
func TestUnitsOnARealMachine(t *testing.T) {
	if os.Getenv(machineEnv) == "" {
		return // see machineEnv
	}
	m := newMachine(t)
	u := Unit{Node: fleet.Node{Name: "n1", Address: "127.0.0.1:80"}, Version: "1.0"}
	for where, before := range map[string][]string{"here": nil, "over ssh": append(append([]string{}, m.ssh...), "{host}")} {
		s := Systemd{Unit: "jobs-{version}@{node}.service", Any: "jobs-*@{node}.service", SSH: before}
		runs := func(what string, want bool) {
			t.Helper()
			if got, err := s.Runs(ctx, u); err != nil || got != want {
				t.Errorf("%s, %s: %v, %v", where, what, got, err)
			}
		}
		active := func() string {
			out, err := exec.Command("systemctl", "list-units", "--state=active", "--plain", "--no-legend", "jobs-*").CombinedOutput()
			must(t, err)
			name, _, _ := strings.Cut(string(out), " ")
			return name
		}
		runs("never started", false)
		must(t, s.Start(ctx, u))
		must(t, s.Start(ctx, u)) // again
		runs("started", true)
		next := u
		next.Version = "1.1"
		must(t, s.Start(ctx, next))
		runs("on the next version", true)
		if unit := active(); unit != "jobs-1.1@n1.service" {
			t.Errorf("%s: what runs is %q", where, unit)
		}
		must(t, s.Stop(ctx, u))
		runs("stopped", false)
		must(t, s.Stop(ctx, u)) // again
		ill := u
		ill.Version = "ill"
		if err := s.Start(ctx, ill); err == nil || !strings.Contains(err.Error(), "jobs-ill@n1.service") {
			t.Errorf("%s: a unit that fails: %v", where, err)
		}
		runs("failed", false)
		none := u
		none.Version = "2.0"
		if err := s.Start(ctx, none); err == nil || !strings.Contains(err.Error(), "not found") {
			t.Errorf("%s: a unit that there is not: %v", where, err)
		}
		must(t, exec.Command("systemctl", "reset-failed").Run())
	}
	for what, before := range map[string][]string{
		"a machine that is away":   {m.ssh[0], "-F", "none", "-oBatchMode=yes", "-p", fmt.Sprint(processtest.FreePort(t)), "127.0.0.1"},
		"a key that nobody knows":  {m.ssh[0], "-F", "none", "-oBatchMode=yes", "-oUserKnownHostsFile=/dev/null", "-p", fmt.Sprint(m.port), "127.0.0.1"},
		"a login that is not ours": append(append([]string{}, m.ssh...), "-oPubkeyAuthentication=no", "127.0.0.1"),
	} {
		s := Systemd{Unit: "jobs-{version}@{node}.service", Any: "jobs-*@{node}.service", SSH: before}
		if runs, err := s.Runs(ctx, u); err == nil {
			t.Errorf("%s: it is known that it runs: %v", what, runs)
		}
	}
}
