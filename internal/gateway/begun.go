package gateway

import (
	"context"
	"fmt"

	"github.com/windlass-db/windlass/internal/wire"
)

// begun is a transaction in which nothing has been done yet, not even read: the texts that made it. It is worth nothing to its server, so it
// neither keeps a switch waiting nor lingers: its session may move, and begins it anew. (A client that is slow between BEGIN and its first
// statement would else be taken for one that only reads, and its first write be refused.)
type begun struct{ next, text string }

// beginsEmpty reports whether the text begins a transaction that sees nothing yet: not one with a snapshot.
func beginsEmpty(text []byte) bool {
	if !begins(text, "BEGIN") && !begins(text, "START") || !single(text) {
		return false
	}
	word, rest := firstWord(text)
	if word == "START" {
		if next, _ := firstWord(rest); next != "TRANSACTION" {
			return false
		}
	}
	return (word == "BEGIN" || word == "START") && !contains(text, "SNAPSHOT")
}

// noteBegun remembers the transaction that the text of a query has begun. next is what was set for it. mu is held.
func (s *session) noteBegun(text []byte, next string) {
	if !s.unsure && s.status&wire.StatusInTrans != 0 && s.cursors == 0 && s.stmts.longData == 0 && beginsEmpty(text) {
		s.begun = &begun{next, string(text)}
	}
}

// bound reports whether the session has to stay where it is: it is pinned by more than a transaction in which nothing was done. mu is held.
func (s *session) bound() bool { return s.pinned() && s.begun == nil }

// rebegin begins the session's transaction anew on the shadow, right before the session steps over to it. mu is held.
func (s *session) rebegin(ctx context.Context) (wire.Status, error) {
	b := s.shadow.back
	texts := []string{s.begun.text}
	if s.begun.next != "" {
		texts = []string{s.begun.next, s.begun.text}
	}
	release := b.Bound(ctx)
	defer release()
	res, refused, err := b.QueryMany(texts...)
	for _, r := range refused {
		if err == nil && r != nil {
			err = r
		}
	}
	if err != nil {
		return 0, fmt.Errorf("%w: begin the transaction on %s: %w", errRetry, b.srv.address, err)
	}
	return res[len(res)-1].OK.Status, nil
}
