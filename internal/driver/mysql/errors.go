package mysql

import (
	"errors"
	"fmt"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/windlass-db/windlass/internal/engine"
)

// Errors that a decision hangs on.
var (
	// ErrContested says that two or more nodes are writable, or none and nothing tells which should be. Nothing is touched.
	ErrContested = errors.New("the cluster's primary is contested")
	// ErrUnknown says that a node could not be read: hold.
	ErrUnknown = errors.New("not every node could be observed")
	// ErrBusy says that another act was under way on a server for longer than we were ready to wait.
	ErrBusy = errors.New("another act is under way on the server")
	// ErrNotReady says that the switch can't begin or was called off; the old primary is writable.
	ErrNotReady = errors.New("the switch was called off")
	// ErrUnsettled says that the outcome of an act could not be found out.
	ErrUnsettled = errors.New("the outcome of an act is not known")
	// ErrNotKnown is what a hook of the configuration answers about a node that it knows nothing of.
	ErrNotKnown = errors.New("nothing is known of this node")
)

// QuarantineError says that a node has transactions that the primary does not have. It is left read-only and
// detached: it may not rejoin (trap 17).
type QuarantineError struct {
	Node, Primary string
	Extra         []string // GTIDs that only the node has
}

func (e *QuarantineError) Error() string {
	return fmt.Sprintf("%s is quarantined: it has %s, which the primary %s does not have. It stays read-only and without a source. Save what those transactions hold, then rebuild the node from %s",
		e.Node, strings.Join(e.Extra, ", "), e.Primary, e.Primary)
}

// Numbers and states of our own signals, see guard.go, and of the server errors that we tell apart.
const (
	errnoFenced       = 31001
	errnoBusy         = 31002
	errnoNoSuchThread = 1094
	errnoConversion   = 3854
	errnoNoEvent      = 1539
)

// number is the server's error number, or 0 if the error is not the server's answer.
func number(err error) uint16 {
	var e *driver.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// answered reports whether the error is the server's own answer: the statement did end.
func answered(err error) bool { return number(err) != 0 }

// translate turns our own signals into the errors that callers look for.
func translate(err error) error {
	switch number(err) {
	case errnoFenced:
		return fmt.Errorf("%w: %w", engine.ErrFenced, err)
	case errnoBusy:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}
