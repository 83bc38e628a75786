package adminapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Errors that a decision hangs on. The client gives them wrapped: use errors.Is.
var (
	ErrNotHeld       = errors.New("the gateway holds nothing for this switch")
	ErrBusy          = errors.New("the gateway is in another switch")
	ErrNotWritable   = errors.New("that server is not the one writable server")
	ErrUnknownServer = errors.New("the gateway does not know that server")
	ErrUnauthorized  = errors.New("the gateway refused the token")
	ErrBadRequest    = errors.New("the gateway refused the request")
	ErrInternal      = errors.New("the gateway failed")
	ErrNoCapture     = errors.New("the gateway's file has no capture")
	ErrOtherCapture  = errors.New("the gateway captures for somebody else")
	ErrCapturing     = errors.New("the gateway captures already, with other settings")
)

// TermError says that the gateway has seen a higher term: the caller has been replaced, and must stop.
type TermError struct {
	Given, Seen int64
}

func (e *TermError) Error() string {
	return fmt.Sprintf("term %d is fenced: the gateway has seen term %d", e.Given, e.Seen)
}

// BlockedError says that the hold was called off, because transactions did not end within the drain. The gate is
// open again.
type BlockedError struct {
	Blockers []Blocker
}

func (e *BlockedError) Error() string {
	parts := make([]string, 0, len(e.Blockers))
	for _, b := range e.Blockers {
		parts = append(parts, fmt.Sprintf("session %d of %s from %s (%s: %s)", b.Session, b.User, b.Client, b.Kind, b.Detail))
	}
	return "hold called off, blocked by " + strings.Join(parts, "; ")
}

// Problem is the body of every answer that is not 2xx.
type Problem struct {
	Code     string    `json:"code"`
	Message  string    `json:"message"`
	Given    int64     `json:"given,omitempty"`
	Seen     int64     `json:"seen,omitempty"`
	Blockers []Blocker `json:"blockers,omitempty"`
}

// codes pairs the sentinels with their stable code and HTTP status.
var codes = []struct {
	err    error
	code   string
	status int
}{
	{ErrNotHeld, "not-held", http.StatusConflict},
	{ErrBusy, "busy", http.StatusConflict},
	{ErrNotWritable, "not-writable", http.StatusConflict},
	{ErrUnknownServer, "unknown-server", http.StatusUnprocessableEntity},
	{ErrUnauthorized, "unauthorized", http.StatusUnauthorized},
	{ErrBadRequest, "bad-request", http.StatusBadRequest},
	{ErrNoCapture, "no-capture", http.StatusConflict},
	{ErrCapturing, "capturing", http.StatusConflict},
	{ErrOtherCapture, "other-capture", http.StatusConflict},
	{ErrInternal, "internal", http.StatusInternalServerError},
}

// NewProblem turns an error into an answer.
func NewProblem(err error) (Problem, int) {
	var term *TermError
	var blocked *BlockedError
	switch {
	case errors.As(err, &term):
		return Problem{Code: "lower-term", Message: err.Error(), Given: term.Given, Seen: term.Seen}, http.StatusConflict
	case errors.As(err, &blocked):
		return Problem{Code: "blocked", Message: err.Error(), Blockers: blocked.Blockers}, http.StatusConflict
	}
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return Problem{Code: c.code, Message: err.Error()}, c.status
		}
	}
	return Problem{Code: "internal", Message: err.Error()}, http.StatusInternalServerError
}

// Err turns an answer back into the error that it was made of.
func (p Problem) Err() error {
	switch p.Code {
	case "lower-term":
		return &TermError{Given: p.Given, Seen: p.Seen}
	case "blocked":
		return &BlockedError{Blockers: p.Blockers}
	}
	for _, c := range codes {
		if p.Code == c.code {
			if rest, ok := strings.CutPrefix(p.Message, c.err.Error()); ok {
				return fmt.Errorf("%w%s", c.err, rest)
			}
			return fmt.Errorf("%w: %s", c.err, p.Message)
		}
	}
	return fmt.Errorf("%w: %s: %s", ErrInternal, p.Code, p.Message)
}
