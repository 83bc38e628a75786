package session

import (
	"bytes"
	"slices"

	"github.com/windlass-db/windlass/internal/query"
)

// NewEnv makes the environment of a captured session. Of its settings only those are taken that change the session alone; assigns tells that one of the others gives a value to
// a user variable.
func NewEnv(user, schema string, charset uint16, settings []string) (env *Env, mode query.Mode, assigns bool) {
	env = &Env{User: user, Schema: schema, Charset: charset}
	for _, s := range settings {
		text := []byte(s)
		_, normal := query.Fingerprint(nil, text, mode)
		c := Classify(text, normal, query.Look(text, mode))
		if c.Kind != Set {
			assigns = assigns || c.Assigns
			continue
		}
		env.Settings = append(env.Settings, s)
		mode = c.apply(env, text, mode)
	}
	return env, mode, assigns
}

// With is the environment after a SET that was taken.
func (e *Env) With(c *Class, text []byte, mode query.Mode) (*Env, query.Mode) {
	after := *e
	key := target(text)
	after.Settings = slices.DeleteFunc(slices.Clone(e.Settings), func(s string) bool { return key != "" && target([]byte(s)) == key })
	if len(after.Settings) >= mostSettings {
		after.Settings = after.Settings[1:]
	}
	after.Settings = append(after.Settings, string(text))
	return &after, c.apply(&after, text, mode)
}

// mostSettings is how many a session is remembered to have.
const mostSettings = 64

// In is the environment after the schema was changed.
func (e *Env) In(schema string) *Env {
	after := *e
	after.Schema = schema
	return &after
}

func (c *Class) apply(e *Env, text []byte, mode query.Mode) query.Mode {
	if c.Clock {
		_, value, _ := bytes.Cut(text, []byte("="))
		v := bytes.ToLower(bytes.TrimSpace(value))
		e.OwnClock = !bytes.Equal(v, []byte("default")) && !bytes.Equal(v, []byte("0"))
	}
	if c.Modes {
		return Modes(text, mode)
	}
	return mode
}

// target is what a SET of one thing sets; "" if it is not that simple.
func target(text []byte) string {
	name, value, ok := bytes.Cut(text, []byte("="))
	if !ok {
		if w := bytes.Fields(bytes.ToLower(text)); len(w) > 1 && string(w[1]) == "names" {
			return "names"
		}
		return ""
	}
	if bytes.ContainsAny(value, ",(") {
		return ""
	}
	return string(bytes.ToLower(bytes.Join(bytes.Fields(bytes.TrimRight(name, " :")), []byte(" "))))
}

// Schema is the name in a USE.
func Schema(text []byte) string {
	s := bytes.TrimSpace(bytes.TrimRight(bytes.TrimSpace(text), ";"))
	if len(s) > 4 {
		s = bytes.TrimSpace(s[3:])
	}
	if len(s) > 1 && s[0] == '`' && s[len(s)-1] == '`' {
		return string(bytes.ReplaceAll(s[1:len(s)-1], []byte("``"), []byte("`")))
	}
	return string(s)
}
