package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Probe is one question to a node: by HTTP, by TCP, by gRPC's health protocol, or by a command. Exactly one of them is set. Texts have
// placeholders.
type Probe struct {
	HTTP    string        // URL that has to answer with 200
	TCP     string        // host:port that has to take a connection
	GRPC    string        // grpc://host:port/SERVICE, or grpcs:// with TLS, that has to answer SERVING; without a service it is the whole server
	Command []string      // has to end with 0
	JSON    string        // of the answer, the text or number at this path, such as "build.version"; empty: the whole answer
	Says    string        // what that has to be; empty: anything
	Timeout time.Duration // 0: 5 s
}

// mostAnswer bounds what is read of an answer.
const mostAnswer = 1 << 20

func (p Probe) check(what string) error {
	n := 0
	for _, set := range []bool{p.HTTP != "", p.TCP != "", p.GRPC != "", len(p.Command) > 0} {
		if set {
			n++
		}
	}
	if n != 1 {
		return fmt.Errorf("%s is asked by exactly one of http, tcp, grpc and command", what)
	}
	if (p.TCP != "" || p.GRPC != "") && p.JSON != "" {
		return fmt.Errorf("%s: neither a TCP connection nor gRPC's health protocol answers JSON", what)
	}
	if p.GRPC != "" {
		if _, _, _, err := p.grpc(Unit{}.somewhere()); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, text := range append([]string{p.HTTP, p.TCP}, p.Command...) {
		if _, err := expand(text, Unit{}.somewhere()); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// somewhere is a unit whose address can be taken apart.
func (u Unit) somewhere() Unit {
	u.Node.Address = "127.0.0.1:1"
	return u
}

// ask asks, and gives the answer without the blanks around it. An error says what was wrong with it.
func (p Probe) ask(ctx context.Context, u Unit) (string, error) {
	if p.Timeout == 0 {
		p.Timeout = 5 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	var answer []byte
	var err error
	switch {
	case p.HTTP != "":
		answer, err = p.get(ctx, u)
	case p.TCP != "":
		return p.connect(ctx, u)
	case p.GRPC != "":
		return p.serving(ctx, u)
	default:
		answer, err = p.run(ctx, u)
	}
	if err != nil {
		return "", err
	}
	said := strings.TrimSpace(string(answer))
	if p.JSON != "" {
		if said, err = at(answer, p.JSON); err != nil {
			return "", err
		}
	}
	if p.Says != "" && said != p.Says {
		return "", fmt.Errorf("it says %q, not %q", short([]byte(said)), p.Says)
	}
	return said, nil
}

func (p Probe) get(ctx context.Context, u Unit) ([]byte, error) {
	url, err := expand(p.HTTP, u)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	// A connection of its own: one that was kept would be of the node as it was, and is one that a drained node never gets rid of.
	t := &http.Transport{DisableKeepAlives: true}
	defer t.CloseIdleConnections()
	// Where it is sent to is another page, or another node.
	resp, err := (&http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s: %s", url, resp.Status, short(b))
	}
	return b, err
}

func (p Probe) connect(ctx context.Context, u Unit) (string, error) {
	address, err := expand(p.TCP, u)
	if err != nil {
		return "", err
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return "", err
	}
	return address + " takes connections", c.Close()
}

func (p Probe) run(ctx context.Context, u Unit) ([]byte, error) {
	out, code, err := command(ctx, p.Command, nil, u)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s ends with %d: %s", p.Command[0], code, short(out))
	}
	return out, err
}

// command fills placeholders in, and runs the command line.
func command(ctx context.Context, argv, env []string, u Unit) (out []byte, code int, err error) {
	if argv, err = expanded(argv, u); err != nil {
		return nil, 0, err
	}
	return run(ctx, argv, env)
}

func expanded(texts []string, u Unit) (all []string, err error) {
	for _, text := range texts {
		word, err := expand(text, u)
		if err != nil {
			return nil, err
		}
		all = append(all, word)
	}
	return all, nil
}

// run runs a command line and gives what it said and its exit code.
func run(ctx context.Context, args, env []string) (said []byte, code int, err error) {
	all := &limited{most: mostAnswer}
	code, err = runTo(ctx, args, env, all, all)
	return all.b.Bytes(), code, err
}

// runTo runs a command line and gives its exit code. It ends with the context, and so does all that it started.
func runTo(ctx context.Context, args, env []string, stdout, stderr *limited) (code int, err error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = append(cmd.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%s: %w", args[0], context.Cause(ctx))
	case errors.As(err, &exit) && exit.Exited():
		return exit.ExitCode(), nil
	case err != nil:
		return 0, fmt.Errorf("%s: %w", args[0], err)
	}
	return 0, nil
}

// limited takes so much, and forgets the rest.
type limited struct {
	b    bytes.Buffer
	most int
}

func (l *limited) Write(p []byte) (int, error) {
	if room := l.most - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// at finds the text, number or truth at a path of names and numbers, with dots between them.
func at(answer []byte, path string) (string, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("the answer is no JSON: %s", short(answer))
	}
	for name := range strings.SplitSeq(path, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(x) {
				return "", fmt.Errorf("the answer has nothing at %q: %s", path, short(answer))
			}
			v = x[i]
		default:
			v = nil
		}
		if v == nil {
			return "", fmt.Errorf("the answer has nothing at %q: %s", path, short(answer))
		}
	}
	switch x := v.(type) {
	case string:
		return x, nil
	case json.Number:
		return x.String(), nil
	case bool:
		return strconv.FormatBool(x), nil
	}
	return "", fmt.Errorf("what the answer has at %q is neither a text nor a number", path)
}

// short is the beginning of an answer, for a message.
func short(b []byte) string {
	s := strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return s
}
