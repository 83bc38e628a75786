package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/windlass-db/windlass/internal/cli"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
)

// terminal makes a pseudo terminal: what a person types and reads, and what a program has for its three streams.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// begin starts a program that is this one, and ends it with the test whatever it is at.
func begin(t *testing.T, terminal *os.File, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "WINDLASS_PROGRAM_OF_A_TEST=1")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if terminal != nil {
		p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code tells
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() {
		if !p.ended() {
			_ = p.cmd.Process.Kill()
			<-p.done
		}
	})
	return p
}

// A person who is asked may answer with Ctrl-C, as with a signal: nothing is changed, and the exit code says what it was.
func TestInterruptAtTheQuestion(t *testing.T) {
	for name, answer := range map[string]func(p *program, keys *os.File) error{
		"Ctrl-C":  func(_ *program, keys *os.File) error { _, err := keys.WriteString("\x03"); return err },
		"SIGTERM": func(p *program, _ *os.File) error { return p.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		person, streams := terminal(t)
		p := begin(t, streams, "--server", "http://127.0.0.1:1", "pause", "--campaign", "c", "--why", "x")
		go func() {
			b := make([]byte, 4096)
			for {
				n, err := person.Read(b)
				if err != nil {
					return
				}
				_, _ = p.Write(b[:n]) // which never fails
			}
		}()
		processtest.Until(t, 30*time.Second, name+": it asks", func() bool { return strings.Contains(p.text(), "Go ahead? [y/N]") })
		if err := answer(p, person); err != nil {
			t.Fatal(err)
		}
		processtest.Until(t, 10*time.Second, name+": it ends", p.ended)
		processtest.Until(t, 10*time.Second, name+": it says so", func() bool { return strings.Contains(p.text(), "windlass: interrupted") })
		if p.code != 130 || !strings.Contains(p.text(), "Nothing was changed.") {
			t.Errorf("%s: exit code %d: %s", name, p.code, p.text())
		}
	}
}

// A pipe that nobody writes to is no file to wait for when the person does not want to.
func TestInterruptWhileAFileIsRead(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "campaign.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	p := begin(t, nil, "plan", "-f", pipe)
	var writer *os.File
	processtest.Until(t, 30*time.Second, "it reads", func() bool {
		var err error
		writer, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) // which fails as long as there is no reader
		return err == nil
	})
	defer writer.Close()
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "it ends", p.ended)
	if p.code != 130 || p.text() != "windlass: interrupted\n" {
		t.Errorf("exit code %d: %s", p.code, p.text())
	}
}

// The first signal lets the server end what is open; who can't wait for that sends another.
func TestSecondSignalEndsASlowStop(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	token := filepath.Join(dir, "operator")
	p := begin(t, nil, "server", "--listen", address, "--state", filepath.Join(dir, "state.db"), "--operator-token-file", token)
	processtest.Until(t, 30*time.Second, "the server answers", func() bool {
		r, err := http.Get("http://" + address + "/healthz")
		return err == nil && r.Body.Close() == nil && r.StatusCode == http.StatusOK
	})
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	operator, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(slow, "POST /v1/apply HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", bytes.TrimSpace(operator))
	if line, err := bufio.NewReader(slow).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // the server reads, and nothing will come
		t.Fatalf("%q, %v", line, err)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "it no longer listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	processtest.Until(t, 10*time.Second, "it ends", p.ended)
	if how := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !how.Signaled() || how.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %v: the second signal waited like the first: %s", p.cmd.ProcessState, p.text())
	}
}

// A demo that could only fail, after many minutes, is refused before anything is started.
func TestDemoThatCouldOnlyFail(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file") // no folder: nothing is started by any of them
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"bluegreen", "--writers", "0"}, {"bluegreen", "--readers", "-1"}, {"bluegreen", "--limit", "0s"}, {"rolling", "--limit", "-1m"}} {
		var out, errs bytes.Buffer
		root := cli.New()
		cli.Add(root, demoCommand())
		root.SetArgs(append(append([]string{"demo"}, args...), "--dir", file))
		code := cli.Run(t.Context(), root, cli.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
		if code != cli.ExitUsage || !strings.Contains(errs.String(), args[1]) || !strings.Contains(errs.String(), "hint: give") {
			t.Errorf("%v: exit code %d: %s", args, code, errs.String())
		}
	}
}

// Who closes the terminal ends a demo as Ctrl-C does.
func TestHangupEndsADemo(t *testing.T) {
	hangup := func(ctx context.Context) {
		safe := make(chan os.Signal, 1) // so that the test outlives it, too
		signal.Notify(safe, syscall.SIGHUP)
		defer signal.Stop(safe)
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Error(err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Second):
			t.Error("it goes on")
		}
	}
	var said bytes.Buffer
	cmd := &cobra.Command{}
	cmd.SetErr(&said)
	cmd.SetContext(t.Context())
	err := conduct(cmd, "", func(ctx context.Context) error { hangup(ctx); return ctx.Err() })
	var ended *cli.Error
	if !errors.As(err, &ended) || ended.Code != cli.ExitInterrupted {
		t.Errorf("a demo whose terminal was closed: %v", err)
	}
}
