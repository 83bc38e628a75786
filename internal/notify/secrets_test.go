package notify

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

// Whatever goes wrong, the URL, its password and the signing key are in no log, no status and no metric.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	w, r := newWorld(t), receive(t)
	closed := httptest.NewServer(nil)
	closed.Close()
	r.answers(func(rw http.ResponseWriter, req *http.Request, body []byte) bool {
		user, pass, _ := req.BasicAuth()
		what := fmt.Sprintf("%s %s %s %s %v", req.URL, req.URL.RequestURI(), user, pass, req.Header)
		switch req.URL.Query().Get("do") {
		case "moved":
			rw.Header().Set("Location", "http://elsewhere.example/"+password)
			rw.WriteHeader(302)
		case "nonsense":
			rw.Header().Set("Location", "http://%zz/"+password)
			rw.WriteHeader(http.StatusTemporaryRedirect)
		case "cut":
			panic(http.ErrAbortHandler)
		case "busy":
			http.Error(rw, what, http.StatusServiceUnavailable)
		case "bad":
			http.Error(rw, what, http.StatusBadRequest)
		default:
			http.Error(rw, what, http.StatusForbidden)
		}
		return false
	})
	r.Config.ErrorLog = nil
	var log book
	key := write(t, "key", 0o600, password+"-key")
	var sinks []SinkConfig
	add := func(u string) {
		sinks = append(sinks, SinkConfig{Name: fmt.Sprint("s", len(sinks)), Type: TypeWebhook, URLFile: write(t, "url", 0o600, u), SigningKeyFile: key, Events: All, Timeout: 10 * time.Second})
	}
	base := strings.Replace(r.URL, "http://", "http://mira:"+password+"@", 1) + "/a/" + password
	for _, do := range []string{"moved", "nonsense", "cut", "busy", "bad", "else"} {
		add(base + "?do=" + do + "&token=" + password)
	}
	add(strings.Replace(closed.URL, "http://", "http://"+password+"@", 1) + "/" + password)
	add("https://127.0.0.1:1/" + password)
	add(strings.Replace(r.URL, "http://", "https://", 1) + "/" + password) // no TLS there
	add("http://[::1/" + password)
	add("http://host with spaces/" + password)
	add("mailto:" + password)
	n := w.notifier(log.log(), "a", sinks...)
	run(t, n)
	w.happen(t, 1)
	var told strings.Builder
	eventually(t, "every sink has failed", func() bool {
		st, err := n.Status(ctx)
		must(t, err)
		b, err := json.Marshal(st)
		must(t, err)
		told.Write(b)
		for _, s := range st {
			if s.Trouble == nil || s.Trouble.Error == "" {
				return false
			}
		}
		return true
	})
	reg := prometheus.NewRegistry()
	reg.MustRegister(n.Collector())
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
	told.WriteString(rec.Body.String())
	fmt.Fprintf(&told, "%v %+v %#v", sinks, sinks, sinks)
	e, err := sinks[0].endpoint()
	must(t, err)
	fmt.Fprintf(&told, "%v %+v %#v", e.raw, e.raw, e.raw)
	for _, s := range []string{told.String(), log.String()} {
		for _, secret := range []string{password, url.QueryEscape(password), "hunter2", "bWlyYTpodW50ZXIy"} { // the last is mira:hunter2 as a header has it
			if i := strings.Index(s, secret); i >= 0 {
				t.Errorf("%q is told: …%s…", secret, s[max(0, i-200):min(len(s), i+100)])
			}
		}
	}
	for _, want := range []string{"403", "503", "400", "redirects", "connection refused"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("nothing says %q", want)
		}
	}
}
