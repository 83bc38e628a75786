package engine

import (
	"encoding/json"
	"fmt"

	"github.com/windlass-db/windlass/internal/check"
)

// Refuse is an error that no waiting will mend: the action turns round. The format is that of fmt.Errorf.
func Refuse(format string, args ...any) error {
	return &Refusal{Err: fmt.Errorf(format, args...)}
}

// There is the answer of a look that saw the outcome; the message says what is there.
func There(format string, args ...any) Observation {
	return Observation{There: true, Message: fmt.Sprintf(format, args...)}
}

// Missing is the answer of a look that did not see the outcome; the message says what is missing.
func Missing(format string, args ...any) Observation {
	return Observation{Message: fmt.Sprintf(format, args...)}
}

// Judged is the answer of a look whose outcome is that every check passes. The message is for then; else the first check that holds
// speaks for itself.
func Judged(cs check.Results, format string, args ...any) Observation {
	if !cs.OK() {
		return Observation{Checks: cs}
	}
	o := There(format, args...)
	o.Checks = cs
	return o
}

// StatusOf decodes the status that the handler has kept. What was never kept is the zero value; what can't be read is an error, never
// "nothing kept".
func StatusOf[T any](c *Call) (T, error) {
	var v T
	if len(c.Status) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(c.Status, &v); err != nil {
		return v, fmt.Errorf("the status of %s is unreadable: %w", c.Step.Kind, err)
	}
	return v, nil
}

// Status encodes a handler's status, for Observation and Result. It panics on what has no JSON, such as a channel.
func Status(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("a status without JSON: %v", err))
	}
	return b
}
