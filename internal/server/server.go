// Package server is the control plane's front: the API for supervisors and operators, the pages, the metrics.
//
// One port serves all. Every route has an access rule in one table: a supervisor's token is good for its environment
// alone, and reaches no other route; operators' tokens do everything that people may; viewers' tokens only read. What
// changes something records who did it. The server holds no state of its own: killed anywhere, it starts again from the state's file.
package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/notify"
	"github.com/windlass-db/windlass/internal/state"
)

// Config is what the server needs.
type Config struct {
	Store     *state.Store
	Decide    state.DecideFunc
	Log       *slog.Logger
	Now       func() time.Time
	TLS       *tls.Config // nil: plain HTTP
	OpenReads bool        // pages are shown without a token; for a server on loopback

	Notifications Notifications // nil: events are sent nowhere
}

// Notifications tells how the sinks of events stand.
type Notifications interface {
	Status(ctx context.Context) ([]notify.Status, error)
	Collector() prometheus.Collector
}

// Server answers the API, the pages and the metrics.
type Server struct {
	cfg       Config
	mux       *http.ServeMux
	tally     tally
	forecasts *forecasts
}

// access says whose token a route takes.
type access string

const (
	anyone     access = "anyone"
	viewer     access = "viewer"     // a viewer's or an operator's
	operator   access = "operator"   // an operator's
	supervisor access = "supervisor" // a supervisor's, of the environment in the path
)

// caller is who asks, as the token says.
type caller struct{ state.Token }

type route struct {
	pattern string // method and path
	access  access
	handle  func(s *Server, w http.ResponseWriter, r *http.Request, who caller) (any, error)
}

// routes is every route of the API. The pages and the metrics are beside it.
var routes = []route{
	{"GET /healthz", anyone, (*Server).health},
	{"GET /metrics", viewer, (*Server).metrics},

	{"POST /v1/env/{env}/lease", supervisor, (*Server).lease},
	{"GET /v1/env/{env}/clusters", supervisor, (*Server).watched},
	{"POST /v1/env/{env}/observations", supervisor, (*Server).observe},
	{"POST /v1/env/{env}/mends", supervisor, (*Server).beginMend},
	{"POST /v1/env/{env}/mends/end", supervisor, (*Server).endMend},
	{"POST /v1/env/{env}/actions/{id}/heartbeat", supervisor, (*Server).heartbeat},
	{"POST /v1/env/{env}/actions/{id}/record", supervisor, (*Server).record},
	{"POST /v1/env/{env}/actions/{id}/turn", supervisor, (*Server).turn},
	{"POST /v1/env/{env}/actions/{id}/release", supervisor, (*Server).release},
	{"POST /v1/env/{env}/actions/{id}/finish", supervisor, (*Server).finish},

	{"POST /v1/apply", operator, (*Server).apply},
	{"GET /v1/tokens", operator, (*Server).listTokens},
	{"POST /v1/tokens", operator, (*Server).newToken},
	{"POST /v1/tokens/revoke", operator, (*Server).revokeToken},
	{"POST /v1/campaigns/{name}/launch", operator, (*Server).launch},
	{"POST /v1/campaigns/{name}/pause", operator, (*Server).pause},
	{"POST /v1/campaigns/{name}/resume", operator, (*Server).resume},
	{"POST /v1/campaigns/{name}/abort", operator, (*Server).abort},
	{"POST /v1/campaigns/{name}/rollback", operator, (*Server).rollback},
	{"POST /v1/campaigns/{name}/freeze", operator, (*Server).freeze},
	{"POST /v1/campaigns/{name}/thaw", operator, (*Server).thaw},
	{"POST /v1/campaigns/{name}/override", operator, (*Server).override},
	{"POST /v1/campaigns/{name}/override/end", operator, (*Server).endOverride},

	{"GET /v1/campaigns", viewer, (*Server).campaigns},
	{"GET /v1/campaigns/{name}", viewer, (*Server).campaign},
	{"GET /v1/campaigns/{name}/forecast", viewer, (*Server).forecast},
	{"GET /v1/campaigns/{name}/switchovers", viewer, (*Server).switchovers},
	{"GET /v1/fleets", viewer, (*Server).fleets},
	{"GET /v1/clusters/{env}/{name}", viewer, (*Server).cluster},
	{"GET /v1/clusters/{env}/{name}/replay", viewer, (*Server).replay},
	{"POST /v1/clusters/{env}/{name}/forget", operator, (*Server).forget},
	{"GET /v1/events", viewer, (*Server).events},
	{"GET /v1/notifications", viewer, (*Server).notifications},
}

// New builds the server.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), forecasts: newForecasts()}
	for _, r := range routes {
		s.mux.HandleFunc(r.pattern, s.guard(r))
	}
	pages, err := s.pages()
	if err != nil {
		return nil, err
	}
	s.mux.Handle("/", pages)
	return s, nil
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Run serves on the listener until the context ends, then lets open requests finish.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	h := &http.Server{Handler: s, TLSConfig: s.cfg.TLS, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn)}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		err := h.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = h.Close()
		}
		done <- err
	}()
	var err error
	if s.cfg.TLS != nil {
		err = h.ServeTLS(l, "", "")
	} else {
		err = h.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return <-done
}

var (
	errUnauthorized = errors.New("this needs a token that is known")
	errForbidden    = errors.New("this token is not good for that")
)

// badRequest is a body or a path that makes no sense.
type badRequest struct{ err error }

func (b badRequest) Error() string { return b.err.Error() }

// guard checks the token against the route's rule, and answers with JSON.
func (s *Server) guard(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<20)
		who, err := s.authorize(r, rt.access)
		if err != nil {
			s.problem(w, r, err)
			return
		}
		answer, err := rt.handle(s, w, r, who)
		switch {
		case err != nil:
			s.problem(w, r, err)
		case answer == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			if _, raw := answer.(written); raw {
				return
			}
			writeJSON(w, http.StatusOK, answer)
		}
	}
}

// written says that the handler has written its answer itself.
type written struct{}

func (s *Server) authorize(r *http.Request, rule access) (caller, error) {
	if rule == anyone {
		return caller{}, nil
	}
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if rule == viewer && s.cfg.OpenReads {
			return caller{}, nil
		}
		return caller{}, errUnauthorized
	}
	t, err := s.cfg.Store.TokenOf(r.Context(), secret)
	if errors.Is(err, state.ErrNoToken) {
		return caller{}, errUnauthorized
	}
	if err != nil {
		return caller{}, err
	}
	allowed := false
	switch rule {
	case viewer:
		allowed = t.Role == "viewer" || t.Role == "operator"
	case operator:
		allowed = t.Role == "operator"
	case supervisor:
		allowed = t.Role == "supervisor" && t.Env != "" && t.Env == r.PathValue("env")
	}
	if !allowed {
		return caller{}, errForbidden
	}
	return caller{t}, nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may be gone; there is nobody to tell
}

// problem answers an error with its code, message and hint.
func (s *Server) problem(w http.ResponseWriter, r *http.Request, err error) {
	status, p := http.StatusInternalServerError, api.Problem{Code: api.CodeInternal, Message: "the server could not do this: " + err.Error(), Hint: "the server's log says more; traffic is not affected"}
	var bad badRequest
	var hint interface{ ErrorHint() string }
	switch {
	case errors.Is(err, errUnauthorized):
		status, p = http.StatusUnauthorized, api.Problem{Code: api.CodeUnauthorized, Message: err.Error(), Hint: "give --token-file, or set WINDLASS_TOKEN_FILE"}
	case errors.Is(err, errForbidden):
		status, p = http.StatusForbidden, api.Problem{Code: api.CodeForbidden, Message: err.Error(), Hint: "operators operate, viewers look, and a supervisor works in its own environment alone"}
	case errors.Is(err, engine.ErrFenced):
		status, p = http.StatusConflict, api.Problem{Code: api.CodeFenced, Message: err.Error()}
	case errors.Is(err, state.ErrNotFound):
		status, p = http.StatusNotFound, api.Problem{Code: api.CodeNotFound, Message: err.Error(), Hint: "`windlass status` lists what there is"}
	case errors.Is(err, state.ErrConflict):
		status, p = http.StatusConflict, api.Problem{Code: api.CodeRefused, Message: err.Error()}
		if errors.As(err, &hint) {
			p.Hint = hint.ErrorHint()
		}
		var unfit *state.Unfit
		if errors.As(err, &unfit) {
			p.Fleet, p.Campaign = unfit.Fleet, unfit.Campaign
		}
	case errors.As(err, &bad):
		status, p = http.StatusBadRequest, api.Problem{Code: api.CodeBadRequest, Message: err.Error()}
	case errors.Is(err, context.Canceled):
		return
	default:
		s.cfg.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	writeJSON(w, status, p)
}

// body decodes a request strictly.
func body[T any](r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return v, badRequest{fmt.Errorf("the request's body: %w", err)}
	}
	return v, nil
}

func actionID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, badRequest{fmt.Errorf("%q is no action's number", r.PathValue("id"))}
	}
	return id, nil
}

func (s *Server) health(http.ResponseWriter, *http.Request, caller) (any, error) {
	return map[string]string{"status": "ok"}, nil
}

func (s *Server) notifications(_ http.ResponseWriter, r *http.Request, _ caller) (any, error) {
	if s.cfg.Notifications == nil {
		return []notify.Status{}, nil
	}
	return s.cfg.Notifications.Status(r.Context())
}
