package state

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func newToken(t *testing.T, s *Store, role, env, name string) string {
	t.Helper()
	token, err := s.NewToken(ctx, Token{Role: role, Env: env, Name: name}, "mira")
	must(t, err)
	return token
}

func kindsAfter(t *testing.T, s *Store, after int64) (all []string) {
	t.Helper()
	events, err := s.Events(ctx, EventFilter{After: after})
	must(t, err)
	for _, e := range events {
		all = append(all, e.Kind+" "+e.Who+" "+e.Message)
	}
	return all
}

// A token is listed without its secret, its last use is written at most once in a minute, and each making and revoking is an event with who did it.
func TestTokensAreListedAndRevoked(t *testing.T) {
	s, c, path := world(t, 1)
	last, err := s.LastEvent(ctx)
	must(t, err)
	operator := newToken(t, s, "operator", "", "mira")
	qa := newToken(t, s, "supervisor", "qa", "qa-1")
	all, err := s.Tokens(ctx)
	must(t, err)
	if len(all) != 2 || all[0].ID == "" || !all[0].UsedAt.IsZero() || !all[0].CreatedAt.Equal(c.Now()) {
		t.Fatalf("%+v", all)
	}
	for _, secret := range []string{operator, qa} {
		if strings.Contains(fmt.Sprintf("%#v", all), secret[5:20]) {
			t.Error("a secret is in the list")
		}
	}
	id := func(name string) string {
		for _, info := range all {
			if info.Name == name {
				return info.ID
			}
		}
		t.Fatal(name)
		return ""
	}
	used := func() time.Time {
		all, err := s.Tokens(ctx)
		must(t, err)
		for _, info := range all {
			if info.Name == "qa-1" {
				return info.UsedAt
			}
		}
		return time.Time{}
	}
	first := c.Now()
	for _, step := range []struct {
		wait time.Duration
		want time.Time
	}{{0, first}, {59 * time.Second, first}, {2 * time.Second, first.Add(61 * time.Second)}} {
		c.add(step.wait)
		if got, err := s.TokenOf(ctx, qa); err != nil || got != (Token{"supervisor", "qa", "qa-1"}) {
			t.Errorf("%+v, %v", got, err)
		}
		if !used().Equal(step.want) {
			t.Errorf("used at %s, want %s", used(), step.want)
		}
	}
	_, err = s.RevokeToken(ctx, "qa-2", "mira")
	refused(t, "a token that is not there", err, `did you mean "qa-1"?`)
	_, err = s.RevokeToken(ctx, id("mira"), "mira")
	refused(t, "the last operator's token", err, "last operator", "make another first")
	other := newToken(t, s, "viewer", "", "qa-1")
	_, err = s.RevokeToken(ctx, "qa-1", "mira")
	refused(t, "two of one name", err, "2 tokens", id("qa-1"))
	_, err = s.RevokeToken(ctx, id("qa-1"), "mira")
	must(t, err)
	if _, err := s.TokenOf(ctx, qa); !errors.Is(err, ErrNoToken) {
		t.Errorf("a revoked token: %v", err)
	}
	if _, err := s.TokenOf(ctx, other); err != nil {
		t.Errorf("another of the same name: %v", err)
	}
	// A file that still has it does not make it good again, not after a restart either.
	if err := openAt(t, path, c).AddToken(ctx, qa, Token{"supervisor", "qa", "qa-1"}, "server"); !errors.Is(err, ErrConflict) {
		t.Errorf("a revoked token was added again: %v", err)
	}
	must(t, s.AddToken(ctx, operator, Token{Role: "operator", Name: "mira"}, "server")) // as every start of the server does
	newToken(t, s, "operator", "", "noor")
	_, err = s.RevokeToken(ctx, "mira", "noor")
	must(t, err)
	want := []string{
		"token-made mira token " + id("mira") + ": operator for mira",
		"token-made mira token " + id("qa-1") + ": supervisor of qa for qa-1",
	}
	got := kindsAfter(t, s, last)
	if len(got) != 6 || got[0] != want[0] || got[1] != want[1] || got[3] != "token-revoked mira token "+id("qa-1")+": supervisor of qa for qa-1" || !strings.HasPrefix(got[5], "token-revoked noor") {
		t.Errorf("%q", got)
	}
	if envs, err := s.Environments(ctx); err != nil || fmt.Sprint(envs) != "[qa]" {
		t.Errorf("%v, %v", envs, err)
	}
}
