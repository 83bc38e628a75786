package adminapi

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProblemKeepsTheErrorsThatDecisionsHangOn(t *testing.T) {
	for _, c := range codes {
		wrapped := fmt.Errorf("%w: orders-1", c.err)
		p, status := NewProblem(wrapped)
		if status != c.status || p.Code != c.code {
			t.Errorf("%v: got %s and %d", c.err, p.Code, status)
		}
		back := p.Err()
		if !errors.Is(back, c.err) || back.Error() != wrapped.Error() {
			t.Errorf("%v came back as %v", wrapped, back)
		}
	}

	p, _ := NewProblem(fmt.Errorf("hold: %w", &TermError{Given: 3, Seen: 4}))
	var term *TermError
	if !errors.As(p.Err(), &term) || term.Given != 3 || term.Seen != 4 { // trap 1
		t.Errorf("lower term came back as %v", p.Err())
	}

	blockers := []Blocker{{Session: 7, User: "app", Client: "10.0.0.9:555", Kind: BlockTransaction, Detail: "3 rows modified", AgeMS: 1500}}
	p, _ = NewProblem(&BlockedError{Blockers: blockers})
	var blocked *BlockedError
	if !errors.As(p.Err(), &blocked) {
		t.Fatalf("blocked came back as %v", p.Err())
	}
	if diff := cmp.Diff(blockers, blocked.Blockers); diff != "" {
		t.Error(diff)
	}
}

func TestPrepareReplyIsNotOKWithAnythingAgainstIt(t *testing.T) {
	if !(PrepareReply{Accounts: []AccountCheck{{User: "app"}}, Warnings: []string{"w"}}).OK() {
		t.Error("a clean reply is not OK")
	}
	for name, r := range map[string]PrepareReply{
		"unmovable": {Unmovable: []Blocker{{Kind: BlockTempTable}}},
		"account":   {Accounts: []AccountCheck{{User: "app", Error: "1045"}}},
		"problem":   {Problems: []string{"max_connections"}},
	} {
		if r.OK() {
			t.Errorf("%s: is OK", name)
		}
	}
}
