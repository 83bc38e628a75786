// Package web serves the dashboard: for each environment clusters × stages, a page for each cluster and campaign, and
// the four operations (pause, resume, abort, roll back), which ask first and need the operator's token.
//
// Pages are rendered on the server and work without JavaScript. With it they are live: a server-sent event tells
// that something changed, and the page fetches its own main part again. There is no other state in the browser than
// one session cookie, and no text of an event reaches a page but through html/template's escaping.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/campaign"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/replay/report"
)

// ErrNotFound is what a Source answers for a cluster or campaign that it does not know.
var ErrNotFound = errors.New("not found")

// Source reads what the pages show.
type Source interface {
	Overview(ctx context.Context, campaign string) (Overview, error)
	Cluster(ctx context.Context, ref fleet.ClusterRef) (Cluster, error)
	// Campaign has the last forecast that there is, and waits for none.
	Campaign(ctx context.Context, name string) (Campaign, error)
	// Forecast is a new one, or the last one if it is too soon for another. It may take minutes.
	Forecast(ctx context.Context, campaign string) (campaign.Prediction, error)
	Events(ctx context.Context, before int64, limit int) ([]Event, error)
	// Changed returns when something after the event number seq has happened, with the newest number.
	Changed(ctx context.Context, seq int64) (int64, error)
}

// Operator does what an operator asks for. Who and why are recorded.
type Operator interface {
	Operate(ctx context.Context, op Operation) error
}

// Authorizer tells what a token is good for.
type Authorizer interface {
	// Role answers "operator", "viewer" or "" for a token, and the name of whom it was made for.
	Role(ctx context.Context, token string) (role, name string, err error)
}

// Config is what the pages need.
type Config struct {
	Source    Source
	Operator  Operator
	Auth      Authorizer
	Log       *slog.Logger
	Now       func() time.Time
	OpenReads bool          // pages can be read without a token; operations never can
	Every     time.Duration // how often an open page is fetched anew though nothing has happened; 0: 10 s
	Secure    bool          // served over TLS: the cookie is marked so
}

//go:embed assets templates
var files embed.FS

// Handler serves the pages.
type Handler struct {
	cfg      Config
	sessions *sessions
	pages    map[string]*template.Template
	mux      *http.ServeMux
}

// New builds the handler; a template that does not parse is an error here, not at the first request.
func New(cfg Config) (*Handler, error) {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Second
	}
	h := &Handler{cfg: cfg, sessions: newSessions(cfg.Now), pages: map[string]*template.Template{}, mux: http.NewServeMux()}
	for _, page := range []string{"overview", "cluster", "campaign", "forecast", "events", "plan", "confirm", "login", "problem", "replay"} {
		t, err := template.New("layout.html").Funcs(h.funcs()).ParseFS(files, "templates/layout.html", "templates/parts.html", "templates/"+page+".html")
		if err != nil {
			return nil, fmt.Errorf("parse page %s: %w", page, err)
		}
		h.pages[page] = t
	}
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		return nil, fmt.Errorf("open assets: %w", err)
	}
	h.mux.Handle("GET /assets/", http.StripPrefix("/assets/", cacheFor(time.Hour, http.FileServerFS(assets))))
	h.mux.HandleFunc("GET /{$}", h.read(h.overview))
	h.mux.HandleFunc("GET /campaigns/{name}", h.read(h.campaign))
	h.mux.HandleFunc("GET /campaigns/{name}/forecast", h.read(h.forecast))
	h.mux.HandleFunc("GET /clusters/{env}/{name}", h.read(h.cluster))
	h.mux.HandleFunc("GET /clusters/{env}/{name}/replay", h.read(h.replay))
	h.mux.HandleFunc("GET /assets/replay.css", asset("text/css; charset=utf-8", report.Style()))
	h.mux.HandleFunc("GET /assets/replay.js", asset("text/javascript; charset=utf-8", report.Script()))
	h.mux.HandleFunc("GET /events", h.read(h.events))
	h.mux.HandleFunc("GET /plan", h.read(h.plan))
	h.mux.HandleFunc("GET /live", h.read(h.live))
	h.mux.HandleFunc("GET /confirm", h.operate(h.confirm))
	h.mux.HandleFunc("POST /confirm", h.operate(h.perform))
	h.mux.HandleFunc("GET /login", h.loginPage)
	h.mux.HandleFunc("POST /login", h.login)
	h.mux.HandleFunc("POST /logout", h.logout)
	return h, nil
}

// ServeHTTP serves a page with the headers that keep it from being framed, sniffed or scripted from elsewhere.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "same-origin")
	h.mux.ServeHTTP(w, r)
}

func cacheFor(d time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", int(d.Seconds())))
		next.ServeHTTP(w, r)
	})
}

// page is what every template gets.
type page struct {
	Title   string
	Nav     string
	Who     string // the operator that is logged in, or ""
	CSRF    string
	Live    bool
	Every   int64 // milliseconds from one look of a live page to the next, beside the events
	Replay  bool  // it shows a replay's report, which has a style and a script of its own
	Data    any
	Here    string // path of this page, to come back to
	Version string
}

func (h *Handler) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	if s, ok := h.session(r); ok {
		p.Who, p.CSRF = s.name, s.csrf
	}
	p.Here, p.Every = r.URL.RequestURI(), h.cfg.Every.Milliseconds()
	var buf bytes.Buffer
	if err := h.pages[name].ExecuteTemplate(&buf, "layout.html", p); err != nil {
		h.cfg.Log.Error("page not rendered", "page", name, "err", err)
		http.Error(w, "This page could not be rendered; the server's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(buf.Bytes()) // the browser may be gone; there is nobody to tell
}

// problem is shown instead of a page.
type problem struct{ What, Hint string }

func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrNotFound) {
		h.render(w, r, http.StatusNotFound, "problem", page{Title: "Not found", Data: problem{"There is nothing here by that name.", "The overview lists every cluster and campaign."}})
		return
	}
	h.cfg.Log.Error("page not read", "path", r.URL.Path, "err", err)
	h.render(w, r, http.StatusInternalServerError, "problem", page{Title: "Not read", Data: problem{"The state could not be read: " + err.Error(), "Traffic is not affected. Look at the server's log, then load the page again."}})
}

func (h *Handler) cluster(w http.ResponseWriter, r *http.Request) {
	ref := fleet.ClusterRef{Env: r.PathValue("env"), Name: r.PathValue("name")}
	c, err := h.cfg.Source.Cluster(r.Context(), ref)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.render(w, r, http.StatusOK, "cluster", page{Title: ref.String(), Nav: "fleet", Live: true, Data: c})
}

func (h *Handler) campaign(w http.ResponseWriter, r *http.Request) {
	c, err := h.cfg.Source.Campaign(r.Context(), r.PathValue("name"))
	if err != nil {
		h.fail(w, r, err)
		return
	}
	h.render(w, r, http.StatusOK, "campaign", page{Title: c.Head.Name, Nav: "campaign", Live: true, Data: c})
}

// forecast is a page of its own, which is there when the forecast is: the campaign's page fetches it, and can be left for it without JavaScript.
func (h *Handler) forecast(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	p, err := h.cfg.Source.Forecast(r.Context(), name)
	switch {
	case errors.Is(err, context.Canceled): // the browser is gone
		return
	case err != nil:
		h.fail(w, r, err)
		return
	}
	h.render(w, r, http.StatusOK, "forecast", page{Title: "Forecast of " + name, Nav: "campaign", Data: struct {
		Name     string
		Forecast campaign.Prediction
	}{name, p}})
}

func (h *Handler) events(w http.ResponseWriter, r *http.Request) {
	var before int64
	if s := r.URL.Query().Get("before"); s != "" {
		if _, err := fmt.Sscanf(s, "%d", &before); err != nil {
			h.fail(w, r, ErrNotFound)
			return
		}
	}
	const perPage = 200
	events, err := h.cfg.Source.Events(r.Context(), before, perPage)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	var older int64
	if len(events) == perPage {
		older = events[len(events)-1].Seq
	}
	h.render(w, r, http.StatusOK, "events", page{Title: "Events", Nav: "events", Live: before == 0, Data: struct {
		Events []Event
		Older  int64
	}{events, older}})
}

// live tells the page by server-sent events that something changed. The page then fetches itself.
func (h *Handler) live(w http.ResponseWriter, r *http.Request) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "this connection can't be streamed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, "retry: 2000\n\n")
	flusher.Flush()
	var seq int64
	const least = 250 * time.Millisecond // so that a burst of events is one change for the page
	for r.Context().Err() == nil {
		ctx, cancel := context.WithTimeout(r.Context(), 15*time.Second)
		next, err := h.cfg.Source.Changed(ctx, seq)
		cancel()
		switch {
		case err == nil && next != seq:
			seq = next
			fmt.Fprintf(w, "event: change\ndata: %d\n\n", seq)
		case errors.Is(err, context.DeadlineExceeded) || err == nil:
			fmt.Fprint(w, ": still here\n\n")
		default:
			return // the browser asks again after its retry time
		}
		flusher.Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(least):
		}
	}
}

func (h *Handler) funcs() template.FuncMap {
	return template.FuncMap{
		"ago":     func(t time.Time) string { return ago(h.cfg.Now(), t) },
		"at":      func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") },
		"in":      func(t time.Time) string { return until(h.cfg.Now(), t) },
		"dur":     short,
		"version": fleet.ShortVersion,
		"pct":     func(f float64) int { return int(f * 100) },
		"add":     func(a, b int) int { return a + b },
		"word":    func(s string) string { return strings.ReplaceAll(s, "-", " ") },
		"lag": func(d time.Duration) string {
			if d < 0 {
				return "unknown"
			}
			return short(d)
		},
	}
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if now.Sub(t) < time.Second {
		return "now"
	}
	return short(now.Sub(t)) + " ago"
}

func until(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if t.Sub(now) < time.Second {
		return "now"
	}
	return "in " + short(t.Sub(now))
}

// short writes a duration with its two largest units.
func short(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm %ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
}
