// Command exec is an example of a program for Windlass's exec driver (docs/exec-driver.md): it keeps every node and gateway in a
// folder of its own, and starts it with your own command. It uses the standard library alone, so that it can be copied
// and changed: replace start, stop and look by calls of your cloud's API, and keep the rest.
//
//	exec --root /srv/windlass --start '/usr/local/bin/start-mariadb'
//
// The command runs in the resource's folder and stays in the foreground. It finds what to do in WINDLASS_ID, _KIND (node or
// gateway), _ENV, _CLUSTER, _CELL, _PRODUCT, _VERSION, _HOST, _PORT, and for a gateway _READ_ONLY_PORT, _ADMIN_PORT, _LOCAL and
// _SERVERS (addresses, separated by blanks). It may write the full version that it started into the file "version".
// A new node must boot read-only.
//
// With --upgrade it raises nodes in place as well (the strategy inplace): that command runs to its end in the folder of a stopped node, with
// _VERSION the new version, and brings the data in the folder "data" up to it, with no client and nothing written to the binary log.
//
// Every resource has a loopback address of its own, made of its id, so that it is the same at every try.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const protocol = 1

// Exit codes that Windlass knows. Every other one is a failure that may pass: it asks again.
const (
	exitFailed  = 1
	exitFenced  = 10
	exitForeign = 11
	exitNever   = 12
)

// resource is what Windlass asks for. Fields that a later Windlass adds are passed over.
type resource struct {
	ID      string   `json:"id"`
	Kind    string   `json:"kind"`
	Env     string   `json:"env"`
	Cluster string   `json:"cluster"`
	Cell    string   `json:"cell"`
	Product string   `json:"product"`
	Version string   `json:"version"`
	Mark    string   `json:"mark"`
	Term    int64    `json:"term"`
	Local   []string `json:"local,omitempty"`
	Servers []string `json:"servers,omitempty"`
}

type request struct {
	Protocol int      `json:"protocol"`
	Verb     string   `json:"verb"`
	Resource resource `json:"resource"`
}

type answer struct {
	Protocol int   `json:"protocol"`
	Term     int64 `json:"term"`
	State    state `json:"state"`
}

type state struct {
	Exists  bool     `json:"exists"`
	Running bool     `json:"running"`
	Mark    string   `json:"mark,omitempty"`
	Version string   `json:"version,omitempty"`
	Kept    string   `json:"kept,omitempty"` // version of the copy of a node's data
	Node    *node    `json:"node,omitempty"`
	Gateway *gateway `json:"gateway,omitempty"`
}

type node struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

type gateway struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	ReadOnly string `json:"read_only"`
	Admin    string `json:"admin"`
}

// failure is an error with its exit code.
type failure struct {
	code int
	error
}

func fail(code int, format string, args ...any) error {
	return failure{code, fmt.Errorf(format, args...)}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, err) // standard error is for people: Windlass logs it
	var f failure
	if errors.As(err, &f) {
		os.Exit(f.code)
	}
	os.Exit(exitFailed)
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("exec", flag.ContinueOnError)
	root := flags.String("root", "", "`folder` of all resources")
	start := flags.String("start", "", "`command` that runs a resource in the foreground")
	upgrade := flags.String("upgrade", "", "`command` that brings a stopped node's data up to a new version")
	port := flags.Int("port", 23306, "SQL port of every resource; a gateway uses the next two as well")
	wait := flags.Duration("wait", time.Minute, "how long a start or stop may take")
	if err := flags.Parse(args); err != nil {
		return fail(exitNever, "%w", err)
	}
	if *root == "" || *start == "" {
		return fail(exitNever, "--root and --start are needed")
	}
	var q request
	if err := json.NewDecoder(in).Decode(&q); err != nil {
		return fail(exitNever, "the request is unreadable: %w", err)
	}
	if q.Protocol != protocol {
		return fail(exitNever, "this program speaks protocol %d, Windlass %d", protocol, q.Protocol)
	}
	f := folders{root: *root, start: *start, upgradeWith: *upgrade, port: *port, wait: *wait} // Windlass bounds the whole call
	a := answer{Protocol: protocol}
	var err error
	switch q.Verb {
	case "observe":
		a.Term, a.State, err = f.observe(ctx, q.Resource)
	case "create":
		a.Term, a.State, err = f.create(ctx, q.Resource)
	case "delete":
		a.Term, a.State, err = f.delete(ctx, q.Resource)
	case "upgrade":
		a.Term, a.State, err = f.upgrade(ctx, q.Resource)
	case "restore":
		a.Term, a.State, err = f.restore(ctx, q.Resource)
	case "discard":
		a.Term, a.State, err = f.discard(ctx, q.Resource)
	default:
		return fail(exitNever, "the verb %q is not known", q.Verb)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}
