package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/state"
)

// newToken makes a token, whose secret is in this answer and nowhere else. A supervisor's is for an environment that there is: one for a
// name with a slip in it would be good for nothing, and nobody would see why.
func (s *Server) newToken(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	t, err := body[state.Token](r)
	if err != nil {
		return nil, err
	}
	if t.Name == "" {
		return nil, &state.Refused{What: "a token needs a name: whom it is for", Hint: "it stands beside everything that is done with it; give --name"}
	}
	if t.Env != "" {
		known, err := s.cfg.Store.Environments(r.Context())
		if err != nil {
			return nil, err
		}
		if len(known) > 0 && !slices.Contains(known, t.Env) { // before the fleet is applied nobody can tell
			return nil, &state.Refused{What: fmt.Sprintf("the fleet has no environment %q", t.Env), Hint: config.Suggest(t.Env, known)}
		}
	}
	token, err := s.cfg.Store.NewToken(r.Context(), t, who.Name)
	if err != nil {
		return nil, err
	}
	return map[string]string{"token": token}, nil
}

func (s *Server) listTokens(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	return s.cfg.Store.Tokens(r.Context())
}

func (s *Server) revokeToken(_ http.ResponseWriter, r *http.Request, who caller) (any, error) {
	req, err := body[api.RevokeRequest](r)
	if err != nil {
		return nil, err
	}
	if req.Token == "" {
		return nil, badRequest{errors.New("no token is named")}
	}
	t, err := s.cfg.Store.RevokeToken(r.Context(), req.Token, who.Name)
	if err != nil {
		return nil, err
	}
	return t, nil
}
