package web

import (
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/windlass-db/windlass/internal/secret"
)

const (
	cookieName  = "windlass_session"
	sessionTime = 12 * time.Hour
	maxSessions = 1000
)

// session is one browser that has shown a token. It lives in memory: after a restart one logs in again.
type session struct {
	token   string
	name    string
	role    string
	csrf    string
	expires time.Time
}

type sessions struct {
	now func() time.Time
	mu  sync.Mutex
	by  map[string]session
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, by: map[string]session{}}
}

func (s *sessions) add(one session) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, old := range s.by {
		if s.now().After(old.expires) || len(s.by) >= maxSessions {
			delete(s.by, id)
		}
	}
	id := secret.New()
	s.by[id] = one
	return id
}

func (s *sessions) get(id string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.by[id]
	return one, ok && s.now().Before(one.expires)
}

func (s *sessions) drop(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.by, id)
}

func (h *Handler) session(r *http.Request) (session, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	return h.sessions.get(c.Value)
}

// role asks again at every request what the session's token is good for, so that a revoked token ends at once.
func (h *Handler) role(ctx context.Context, r *http.Request) string {
	s, ok := h.session(r)
	if !ok {
		return ""
	}
	role, _, err := h.cfg.Auth.Role(ctx, s.token)
	if err != nil {
		h.cfg.Log.Error("token not checked", "err", err)
		return ""
	}
	return role
}

func (h *Handler) read(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !h.cfg.OpenReads && h.role(r.Context(), r) == "" {
			http.Redirect(w, r, "/login?next="+escapePath(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		next(w, r)
	}
}

func (h *Handler) operate(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if h.role(r.Context(), r) != "operator" {
			http.Redirect(w, r, "/login?next="+escapePath(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		if r.Method == http.MethodPost {
			s, _ := h.session(r)
			if err := r.ParseForm(); err != nil || subtle.ConstantTimeCompare([]byte(r.PostFormValue("csrf")), []byte(s.csrf)) != 1 {
				h.render(w, r, http.StatusForbidden, "problem", page{Title: "Refused", Data: problem{"This form did not come from a page of this session.", "Open the page again and repeat what you wanted to do."}})
				return
			}
		}
		next(w, r)
	}
}

type loginView struct {
	Next  string
	Error string
}

func (h *Handler) loginPage(w http.ResponseWriter, r *http.Request) {
	h.render(w, r, http.StatusOK, "login", page{Title: "Log in", Data: loginView{Next: localPath(r.URL.Query().Get("next"))}})
}

func (h *Handler) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	next := localPath(r.PostFormValue("next"))
	token := strings.TrimSpace(r.PostFormValue("token"))
	role, name, err := h.cfg.Auth.Role(r.Context(), token)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if role == "" {
		h.render(w, r, http.StatusUnauthorized, "login", page{Title: "Log in", Data: loginView{Next: next, Error: "This token is not known. The server writes the operator's token into the file that its configuration names."}})
		return
	}
	id := h.sessions.add(session{token: token, name: name, role: role, csrf: secret.New(), expires: h.cfg.Now().Add(sessionTime)})
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: id, Path: "/", HttpOnly: true, Secure: h.cfg.Secure, SameSite: http.SameSiteStrictMode, MaxAge: int(sessionTime.Seconds())})
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		h.sessions.drop(c.Value)
	}
	http.SetCookie(w, &http.Cookie{Name: cookieName, Path: "/", HttpOnly: true, MaxAge: -1})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// localPath keeps a redirect on this server.
func localPath(p string) string {
	if !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.Contains(p, "\\") || strings.ContainsFunc(p, unicode.IsControl) {
		return "/"
	}
	return p
}
