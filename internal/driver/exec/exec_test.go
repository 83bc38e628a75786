package exec_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/driver/exec"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/engine"
)

var res = bluegreen.Resource{ID: "qa-orders-green-1", Kind: "node", Env: "qa", Cluster: "orders", Cell: "green", Product: "mariadb", Version: "11.8", Mark: "raise:qa/orders", Term: 7}

const running = `{"protocol":1,"term":7,"state":{"exists":true,"running":true,"mark":"raise:qa/orders","version":"11.8.6","node":{"name":"n","address":"10.0.0.1:3306"}}}`

// script is a provisioner whose program is a shell script.
func script(t *testing.T, text string, change func(*exec.Config)) (*exec.Provisioner, *bytes.Buffer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cfg := exec.Config{Command: []string{path}, Grace: 200 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if change != nil {
		change(&cfg)
	}
	p, err := exec.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p, &log
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func say(answer string) string { return "cat >/dev/null; cat <<'END'\n" + answer + "\nEND" }

// TestRequestAsDocumented compares what the program reads with the example in docs/exec-driver.md.
func TestRequestAsDocumented(t *testing.T) {
	file := filepath.Join(t.TempDir(), "request")
	p, log := script(t, "cat >"+file+"; echo starting >&2; echo '"+running+"'", nil)
	st, err := p.Create(within(t), res)
	if err != nil || !st.Running || st.Node.Address != "10.0.0.1:3306" || st.Node.Name != res.ID || st.Version != "11.8.6" {
		t.Fatalf("%+v, %v", st, err)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../../docs/exec-driver.md")
	if err != nil {
		t.Fatal(err)
	}
	if !squashed(doc, got) {
		t.Errorf("the document does not show this request:\n%s", got)
	}
	if !squashed(doc, []byte(running)) {
		t.Error("the document does not show the answer")
	}
	for _, want := range []string{"msg=starting", "cluster=orders", "verb=create", "term=7"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
}

// squashed tells whether a document holds a text, whatever the blanks.
func squashed(doc, text []byte) bool {
	squash := func(b []byte) string { return strings.Join(strings.Fields(string(b)), "") }
	return strings.Contains(squash(doc), squash(text))
}

// TestExitCodes have their meaning.
func TestExitCodes(t *testing.T) {
	for code, c := range map[int]struct{ fenced, foreign, refusal bool }{
		1: {}, 2: {}, 127: {}, exec.ExitFenced: {fenced: true}, exec.ExitForeign: {foreign: true, refusal: true}, exec.ExitNever: {refusal: true},
	} {
		p, _ := script(t, "echo no such image >&2; exit "+strconv.Itoa(code), nil)
		_, err := p.Create(within(t), res)
		var refusal *engine.Refusal
		if err == nil || errors.Is(err, engine.ErrFenced) != c.fenced || errors.Is(err, exec.ErrForeign) != c.foreign || errors.As(err, &refusal) != c.refusal || !strings.Contains(err.Error(), "no such image") {
			t.Errorf("exit %d: %v", code, err)
		}
	}
	p, _ := script(t, "kill -9 $$", nil)
	if err := p.Delete(within(t), res); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("killed: %v", err)
	}
}

// TestBadAnswersSayWhatIsWrong: nothing is guessed from an answer that is not one.
func TestBadAnswersSayWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, verb, answer, want string }{
		{"nothing", "observe", "", "wrote nothing"},
		{"no JSON", "observe", "ok", "invalid character"},
		{"line", "observe", "{\n\"protocol\": 1,\n\"state\" {}}", "line 3"},
		{"not closed", "observe", `{"protocol":1,`, "not closed"},
		{"unknown word", "observe", strings.Replace(running, "address", "adress", 1), `did you mean "address"?`},
		{"wrong type", "observe", strings.Replace(running, `"running":true`, `"running":"yes"`, 1), "state.running in line 1 must be of the type bool"},
		{"two answers", "observe", running + "\n" + running, "after the answer"},
		{"log on standard output", "observe", running + "\ndone", "after the answer"},
		{"another protocol", "observe", `{"protocol":2,"term":7,"state":{}}`, "speaks protocol 2"},
		{"no protocol", "observe", `{"state":{"exists":false}}`, "speaks protocol 0"},
		{"no state", "observe", `{"protocol":1,"term":7}`, "state is missing"},
		{"runs and is not there", "observe", `{"protocol":1,"term":7,"state":{"running":true,"exists":false}}`, "exists false"},
		{"no term", "create", strings.Replace(running, `"term":7`, `"term":0`, 1), "term 0, not with ours, 7"},
		{"older term", "create", strings.Replace(running, `"term":7`, `"term":6`, 1), "term 6"},
		{"newer term", "create", strings.Replace(running, `"term":7`, `"term":8`, 1), "term 8"},
		{"not running", "create", strings.Replace(running, `"running":true`, `"running":false`, 1), "running false"},
		{"another mark", "create", strings.Replace(running, "raise:qa", "raise:prod", 1), "mark"},
		{"no address", "create", strings.Replace(running, `,"node":{"name":"n","address":"10.0.0.1:3306"}`, "", 1), "a running node needs state.node"},
		{"address without port", "create", strings.Replace(running, ":3306", "", 1), "must be host:port"},
		{"still there", "delete", running, "exists true"},
		{"older term on delete", "delete", `{"protocol":1,"term":3,"state":{"exists":false}}`, "term 3"},
	} {
		p, _ := script(t, say(c.answer), nil)
		var err error
		switch c.verb {
		case "observe":
			_, err = p.Observe(within(t), res)
		case "create":
			_, err = p.Create(within(t), res)
		case "delete":
			err = p.Delete(within(t), res)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, engine.ErrFenced) {
			t.Errorf("%s: %v", c.name, err)
		} else if c.name == "unknown word" {
			t.Log(err)
		}
	}
}

func TestGatewayAnswers(t *testing.T) {
	r := res
	r.Kind = "gateway"
	const good = `{"protocol":1,"term":7,"state":{"exists":true,"running":true,"mark":"raise:qa/orders","gateway":{"name":"g","address":"10.0.0.9:3306","read_only":"10.0.0.9:3307","admin":"http://10.0.0.9:4101"}}}`
	for answer, want := range map[string]string{
		good: "", strings.Replace(good, "http://", "", 1): "must be a URL", strings.Replace(good, ":3307", "", 1): "read_only", running: "state.gateway",
	} {
		p, _ := script(t, say(answer), nil)
		st, err := p.Observe(within(t), r)
		if answer == good {
			only := bluegreen.Resource{ID: r.ID} // whoever wants to know the mark alone asks with the id alone
			if st, err := p.Observe(within(t), only); err != nil || st.Gateway == nil || st.Mark != r.Mark {
				t.Errorf("by the id alone: %+v, %v", st, err)
			}
		}
		if want == "" && (err != nil || st.Gateway.Name != r.ID || st.Gateway.Admin != "http://10.0.0.9:4101") {
			t.Errorf("%+v, %v", st, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", answer, err)
		}
	}
}

// alive tells whether a process that wrote its pid into a file lives.
func alive(t *testing.T, file string) bool {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(stat), ") Z ")
}

// TestTimeoutKillsTheWholeGroup: neither the program nor what it started ignores it by trapping the signal.
func TestTimeoutKillsTheWholeGroup(t *testing.T) {
	for _, program := range []string{
		"trap '' TERM\nsh -c 'trap \"\" TERM; echo $$ >child; while :; do sleep 1; done' &\necho waiting for the image >&2; echo $$ >leader\nwhile :; do sleep 1; done",
		"sh -c 'trap \"\" TERM; echo $$ >child; while :; do sleep 1; done' &\necho waiting for the image >&2; echo $$ >leader\nwait", // the leader obeys, its child does not
	} {
		var dir string
		started := func() bool {
			_, child := os.Stat(filepath.Join(dir, "child"))
			_, leader := os.Stat(filepath.Join(dir, "leader"))
			return child == nil && leader == nil
		}
		for limit := 500 * time.Millisecond; ; limit *= 2 { // long enough for the child to be there at all
			dir = t.TempDir()
			p, _ := script(t, program, func(c *exec.Config) { c.Dir, c.Observe = dir, limit })
			_, err := p.Observe(within(t), res)
			if !started() && limit < 30*time.Second {
				continue
			}
			if err == nil || !strings.Contains(err.Error(), "did not end within "+limit.String()) || !strings.Contains(err.Error(), "waiting for the image") || !strings.Contains(err.Error(), "unknown") {
				t.Errorf("error: %v", err)
			}
			break
		}
		processtest.Until(t, 5*time.Second, "the whole group is gone", func() bool {
			return !alive(t, filepath.Join(dir, "leader")) && !alive(t, filepath.Join(dir, "child"))
		})
	}
}

func TestContextEndsTheProgram(t *testing.T) {
	dir := t.TempDir()
	p, _ := script(t, "echo $$ >leader; while :; do sleep 1; done", func(c *exec.Config) { c.Dir = dir })
	ctx, cancel := context.WithCancel(within(t))
	go func() {
		defer cancel()
		for ctx.Err() == nil {
			if b, err := os.ReadFile(filepath.Join(dir, "leader")); err == nil && len(b) > 0 {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if err := p.Delete(ctx, res); !errors.Is(err, context.Canceled) {
		t.Errorf("error: %v", err)
	}
	processtest.Until(t, 5*time.Second, "it is gone", func() bool { return !alive(t, filepath.Join(dir, "leader")) })
}

func TestOutputIsBounded(t *testing.T) {
	dir := t.TempDir()
	p, _ := script(t, "echo $$ >leader; yes", func(c *exec.Config) { c.Dir = dir })
	if _, err := p.Observe(within(t), res); err == nil || !strings.Contains(err.Error(), "more than 1048576 bytes") {
		t.Errorf("error: %v", err)
	}
	processtest.Until(t, 5*time.Second, "it is gone", func() bool { return !alive(t, filepath.Join(dir, "leader")) })

	p, log := script(t, `i=0; while [ $i -lt 2000 ]; do echo "line $i" >&2; i=$((i+1)); done; head -c 100000 /dev/zero | tr '\0' x >&2; printf '\033[31mred\n' >&2; `+say(running), nil)
	if _, err := p.Observe(within(t), res); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "\n"); n > 502 || log.Len() > 200_000 || !strings.Contains(log.String(), "left_out=1501") || strings.Contains(log.String(), "\x1b") {
		t.Errorf("%d lines, %d bytes were logged: %s", n, log.Len(), log.String()[max(0, log.Len()-300):])
	}
}

// TestProcessLeftBehind: a server that was not started in a session of its own keeps the output open. It is left alone: it may be the
// resource itself.
func TestProcessLeftBehind(t *testing.T) {
	dir := t.TempDir()
	p, _ := script(t, "sh -c 'echo $$ >server; exec sleep 60' &\nwhile [ ! -s server ]; do :; done\n"+say(running), func(c *exec.Config) { c.Dir = dir })
	if _, err := p.Create(within(t), res); err == nil || !strings.Contains(err.Error(), "setsid") {
		t.Errorf("error: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "server"))
	if err != nil {
		t.Fatal(err)
	}
	if !alive(t, filepath.Join(dir, "server")) {
		t.Error("it was killed")
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

// TestEnvironmentIsItsOwn: the supervisor's secrets are not handed on.
func TestEnvironmentIsItsOwn(t *testing.T) {
	t.Setenv("WINDLASS_TOKEN", "secret")
	p, log := script(t, "env >&2; "+say(running), func(c *exec.Config) { c.Env = []string{"REGION=eu"} })
	if _, err := p.Observe(within(t), res); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "WINDLASS_TOKEN") || !strings.Contains(log.String(), "REGION=eu") || !strings.Contains(log.String(), "PATH=") {
		t.Errorf("environment: %s", log)
	}
}

// TestSecretsAreHidden: the program has them, and nothing that it says shows them: not its lines, not where a line is cut, not an
// error, not an answer.
func TestSecretsAreHidden(t *testing.T) {
	const secret = "hunter2-hunter2-hunter2"
	with := func(c *exec.Config) {
		c.Secrets = func() (map[string]string, error) { return map[string]string{"OUR_TOKEN": secret}, nil }
	}
	for name, text := range map[string]string{
		"a line":             `echo "login as $OUR_TOKEN" >&2; ` + say(running),
		"a line that is cut": `printf '%01980d' 0 >&2; printf '%s and more\n' "$OUR_TOKEN" >&2; ` + say(running),
		"a failure":          `echo "$OUR_TOKEN is wrong" >&2; exit 1`,
		"a refusal":          `echo "$OUR_TOKEN is wrong" >&2; exit 12`,
		"an answer":          `cat >/dev/null; echo '` + running + `' | sed "s/11.8.6/$OUR_TOKEN/"`,
		"a bad answer":       `cat >/dev/null; echo "{\"$OUR_TOKEN\""`,
		"a time limit":       `echo "$OUR_TOKEN" >&2; sleep 60`,
		"too much":           `echo "$OUR_TOKEN" >&2; yes "$OUR_TOKEN"`,
	} {
		p, log := script(t, text, func(c *exec.Config) {
			with(c)
			if name == "a time limit" {
				c.Observe = 3 * time.Second
			}
		})
		st, err := p.Observe(within(t), res)
		if name == "an answer" && (err == nil || !strings.Contains(err.Error(), "OUR_TOKEN")) {
			t.Errorf("an answer with a secret in it was taken: %+v, %v", st, err)
		}
		if said := fmt.Sprintf("%+v %v %s", st, err, log); strings.Contains(said, secret[:12]) {
			t.Errorf("%s shows it: %s", name, said[max(0, len(said)-300):])
		} else if !strings.Contains(name, "answer") && !strings.Contains(said, "***") && !strings.Contains(said, "…") {
			t.Errorf("%s shows nothing: %s", name, said)
		}
	}
	p, _ := script(t, say(running), func(c *exec.Config) {
		c.Secrets = func() (map[string]string, error) { return nil, os.ErrPermission }
	})
	if _, err := p.Observe(within(t), res); !errors.Is(err, os.ErrPermission) {
		t.Errorf("a secret that can't be read: %v", err)
	}
}

func TestProgramThatCanNotBeRun(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{nil, {""}, {"/nowhere/program"}, {plain}} {
		if _, err := exec.New(exec.Config{Command: command}); err == nil {
			t.Errorf("%q was taken", command)
		}
	}
	p, _ := script(t, "exit 0", nil)
	if _, err := p.Create(within(t), bluegreen.Resource{ID: "x"}); err == nil || !strings.Contains(err.Error(), "mark") {
		t.Errorf("create without a mark: %v", err)
	}
	if err := p.Delete(within(t), bluegreen.Resource{ID: "x"}); err == nil || !strings.Contains(err.Error(), "mark") {
		t.Errorf("delete without a mark: %v", err)
	}
}
