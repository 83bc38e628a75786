package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/bluegreen"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
)

// Protocol is the version of the conversation that this release speaks.
const Protocol = 1

// Verb is what the program is asked to do.
type Verb string

// The verbs. Each may be asked again at any time, also after a call that was cut off in the middle.
const (
	Observe Verb = "observe"
	Create  Verb = "create"
	Delete  Verb = "delete"

	// Of a node whose cell is raised in place; a program that does not know them exits with ExitNever.
	Upgrade Verb = "upgrade" // stop, keep a copy of the data, start the new version over the data
	Restore Verb = "restore" // stop, put the copy back, start the version that it is of
	Discard Verb = "discard" // delete the copy
)

// The program's exit codes. Every other code, and death by a signal, means that it failed: what it did is unknown, and the step
// looks again and tries again until its deadline.
const (
	ExitDone    = 0  // the answer is on standard output
	ExitFenced  = 10 // the program has seen a higher term for this id: this supervisor has been replaced
	ExitForeign = 11 // what is there carries another mark: it was not touched
	ExitNever   = 12 // no waiting will mend it, such as a version that it can't make: the action turns round
)

// Request is what the program reads from standard input: one JSON object.
type Request struct {
	Protocol int                `json:"protocol"`
	Verb     Verb               `json:"verb"`
	Resource bluegreen.Resource `json:"resource"`
}

// Answer is what the program writes to standard output when it exits with 0: one JSON object.
type Answer struct {
	Protocol int    `json:"protocol"`
	Term     int64  `json:"term"` // the highest term that the program has recorded for the id; after all but observe the request's own
	State    *State `json:"state"`
}

// State is what the program sees under the resource's id.
type State struct {
	Exists  bool           `json:"exists"`
	Running bool           `json:"running"`           // it answers its clients
	Mark    string         `json:"mark,omitempty"`    // as given to create
	Version string         `json:"version,omitempty"` // full version, such as "11.8.6"
	Node    *fleet.Node    `json:"node,omitempty"`    // of a node: name and address
	Gateway *fleet.Gateway `json:"gateway,omitempty"` // of a gateway: name, address, read_only, admin
	Kept    string         `json:"kept,omitempty"`    // of a node: the version of the copy of its data, such as "10.11"
}

// decode reads the answer strictly: a word that is not known is a mistake in the program, and never passed over.
func decode(out []byte) (Answer, error) {
	var a Answer
	if len(bytes.TrimSpace(out)) == 0 {
		return a, errors.New("it wrote nothing to standard output")
	}
	d := json.NewDecoder(bytes.NewReader(out))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("%s; it wrote %s", explain(err, out), short(out))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return a, fmt.Errorf("there is something after the answer: write one JSON object to standard output, and everything for people to standard error; it wrote %s", short(out))
	}
	return a, nil
}

// explain adds to an error of the decoder where it was, and what was probably meant.
func explain(err error, out []byte) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Sprintf("%v in line %d", err, line(out, syntax.Offset))
	case errors.As(err, &kind):
		return fmt.Sprintf("%s in line %d must be of the type %s, not %s", kind.Field, line(out, kind.Offset), kind.Type, kind.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the JSON object is not closed"
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		// encoding/json has no type for this error; a text that changes costs the hint alone.
		name = strings.Trim(name, `"`)
		return fmt.Sprintf("%q is not a field of the answer: %s", name, config.Suggest(name, fields()))
	}
	return err.Error()
}

func line(out []byte, offset int64) int {
	return 1 + bytes.Count(out[:min(int(offset), len(out))], []byte("\n"))
}

// fields are the names of everything that an answer may hold.
func fields() []string {
	var names []string
	for _, v := range []any{Answer{}, State{}, fleet.Node{}, fleet.Gateway{}} {
		t := reflect.TypeOf(v)
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func short(b []byte) string {
	b = bytes.TrimSpace(b)
	const most = 300
	if len(b) > most {
		return fmt.Sprintf("%q…", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// check holds the answer against the request.
func (a Answer) check(v Verb, r bluegreen.Resource) error {
	switch {
	case a.Protocol != Protocol:
		return fmt.Errorf("it speaks protocol %d, this Windlass speaks %d: get the program for it", a.Protocol, Protocol)
	case a.State == nil:
		return errors.New("state is missing: it must say at least {\"exists\": false}")
	case v != Observe && a.Term != r.Term:
		return fmt.Errorf("it answers with the term %d, not with ours, %d: it must record the term of every call that changes something before it changes anything, and answer with what it recorded", a.Term, r.Term)
	case (v == Create || v == Upgrade || v == Restore) && (!a.State.Exists || !a.State.Running):
		return fmt.Errorf("it says that it is done, and the state is exists %t, running %t: answer when the resource takes connections, or exit with 1", a.State.Exists, a.State.Running)
	case v == Create && a.State.Mark != r.Mark:
		return fmt.Errorf("it says that it is done, and the mark is %q, not %q: store the mark before anything else", a.State.Mark, r.Mark)
	case (v == Upgrade || v == Restore) && !fleet.HasVersion(a.State.Version, r.Version):
		return fmt.Errorf("it says that it is done, and the version is %q, not one of %s", a.State.Version, r.Version)
	case v == Upgrade && a.State.Kept == "":
		return errors.New("it says that it is done, and kept is empty: without a copy of the data there is no way back from a newer version")
	case (v == Restore || v == Discard) && a.State.Kept != "":
		return fmt.Errorf("it says that it is done, and the copy of %s is still there: answer when it is gone, or exit with 1", a.State.Kept)
	case v == Delete && a.State.Exists:
		return errors.New("it says that it is done, and the state is exists true: answer when the resource is gone, or exit with 1")
	case a.State.Running && !a.State.Exists:
		return errors.New("state says running true and exists false")
	case !a.State.Running:
		return nil
	}
	return a.State.checkAddresses(r)
}

// checkAddresses looks whether a running resource says where it is.
func (s *State) checkAddresses(r bluegreen.Resource) error {
	hostport := func(field, v string) error {
		if host, port, err := net.SplitHostPort(v); err != nil || host == "" || port == "" {
			return fmt.Errorf("%s is %q: it must be host:port, such as 10.0.1.1:3306", field, v)
		}
		return nil
	}
	switch {
	case r.Kind != "gateway" && s.Node != nil && s.Gateway == nil:
		return hostport("state.node.address", s.Node.Address)
	case r.Kind != "node" && s.Gateway != nil && s.Node == nil:
		errs := []error{hostport("state.gateway.address", s.Gateway.Address)}
		if s.Gateway.ReadOnly != "" {
			errs = append(errs, hostport("state.gateway.read_only", s.Gateway.ReadOnly))
		}
		if u, err := url.Parse(s.Gateway.Admin); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, fmt.Errorf("state.gateway.admin is %q: it must be a URL, such as http://10.0.1.9:4101", s.Gateway.Admin))
		}
		return errors.Join(errs...)
	}
	return errors.New("a running node needs state.node, and a running gateway state.gateway, one of the two alone")
}
