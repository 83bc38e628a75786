package web

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// visitor is a browser without JavaScript.
type visitor struct {
	t    *testing.T
	c    *http.Client
	base string
}

func newVisitor(t *testing.T, base string) *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t, &http.Client{Jar: jar}, base}
}

func (v *visitor) get(path string) (int, string) {
	v.t.Helper()
	r, err := v.c.Get(v.base + path)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.read(r)
}

func (v *visitor) post(path string, form url.Values) (int, string) {
	v.t.Helper()
	r, err := v.c.PostForm(v.base+path, form)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.read(r)
}

func (v *visitor) read(r *http.Response) (int, string) {
	v.t.Helper()
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

const pausePath = "/confirm?verb=pause&campaign=mariadb-11.8&env=qa&cluster=stock"

func TestReadingNeedsAToken(t *testing.T) {
	_, base := serve(t, false)
	for _, path := range []string{"/", "/campaigns/mariadb-11.8", "/clusters/qa/stock", "/events", "/live"} {
		v := newVisitor(t, base)
		if _, body := v.get(path); !strings.Contains(body, "<h1>Log in</h1>") {
			t.Errorf("%s was shown without a token", path)
		}
	}
	v := newVisitor(t, base)
	if code, body := v.post("/login", url.Values{"token": {"wrong"}, "next": {"/"}}); code != http.StatusUnauthorized || strings.Contains(body, "wrong") {
		t.Errorf("wrong token: %d, %s", code, body)
	}
	if code, body := v.post("/login", url.Values{"token": {"view-token"}, "next": {"/clusters/qa/stock"}}); code != http.StatusOK || !strings.Contains(body, "qa/stock") {
		t.Errorf("viewer: %d", code)
	}
	if _, body := v.get(pausePath); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("a viewer's token reached an operation")
	}
}

func TestOperationAsksAndNeedsTheFormOfThisSession(t *testing.T) {
	f, base := serve(t, true)
	v := newVisitor(t, base)
	form := url.Values{"verb": {"pause"}, "campaign": {"mariadb-11.8"}, "env": {"qa"}, "cluster": {"stock"}, "why": {"because"}}
	if _, body := v.post("/confirm", form); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("an operation went through without a login")
	}
	v.post("/login", url.Values{"token": {"op-token"}, "next": {pausePath}})
	form.Set("csrf", "made-up")
	if code, _ := v.post("/confirm", form); code != http.StatusForbidden {
		t.Errorf("a made-up form was taken: %d", code)
	}
	_, body := v.get(pausePath)
	m := csrfField.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("the page has no csrf field")
	}
	form.Set("csrf", m[1])
	form.Set("why", " ")
	if code, body := v.post("/confirm", form); code != http.StatusUnprocessableEntity || !strings.Contains(body, "Say why") {
		t.Errorf("no reason was asked for: %d", code)
	}
	if len(f.operations) != 0 {
		t.Fatalf("done too early: %+v", f.operations)
	}
	form.Set("why", "because")
	f.refuse = refusal{}
	if code, body := v.post("/confirm", form); code != http.StatusConflict || !strings.Contains(body, "the way back is broken") || !strings.Contains(body, "To do: mend the replication") {
		t.Errorf("the refusal is not shown: %d", code)
	}
	f.refuse = nil
	if code, _ := v.post("/confirm", form); code != http.StatusOK || len(f.operations) != 1 {
		t.Errorf("not done: %d %+v", code, f.operations)
	}
	v.post("/logout", nil)
	if _, body := v.get(pausePath); !strings.Contains(body, "<h1>Log in</h1>") {
		t.Error("still logged in after the log-out")
	}
}

// refusal is one that knows what to do, as the state's are.
type refusal struct{}

func (refusal) Error() string     { return "the way back is broken" }
func (refusal) ErrorHint() string { return "mend the replication" }

// A cluster of a campaign that is over has nothing to pause or resume.
func TestNothingToPauseWhenItIsOver(t *testing.T) {
	for status, want := range map[string]bool{"running": true, "paused": true, "completed": false, "aborted": false} {
		f, base := serve(t, true)
		f.mu.Lock()
		f.status = status
		f.mu.Unlock()
		_, body := newVisitor(t, base).get("/clusters/qa/stock")
		if got := strings.Contains(body, "verb=pause"); got != want || strings.Contains(body, "verb=resume") != want {
			t.Errorf("%s: a pause is offered: %t", status, got)
		}
	}
}

func TestOperationsThatMakeNoSense(t *testing.T) {
	for _, q := range []string{"", "verb=explode&campaign=c", "verb=pause", "verb=rollback&campaign=c", "verb=rollback&campaign=c&env=qa", "verb=abort&campaign=c&env=qa", "verb=abort&campaign=c&cluster=x", "verb=thaw&campaign=c&env=qa", "verb=end-override&campaign=c"} {
		v, err := url.ParseQuery(q)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := operationOf(v); ok {
			t.Errorf("%q was taken", q)
		}
	}
}

// TestWhatWasSetIsEndedFromThePage: a freeze and an approval are shown with a link that ends exactly them, and one cluster's action is aborted alone.
func TestWhatWasSetIsEndedFromThePage(t *testing.T) {
	f, base := serve(t, true)
	v := newVisitor(t, base)
	v.post("/login", url.Values{"token": {"op-token"}, "next": {"/"}})
	for page, links := range map[string][]string{"/campaigns/mariadb-11.8": {"verb=thaw", "verb=end-override", "verb=resume"}, "/clusters/qa/stock": {"verb=abort"}} {
		_, body := v.get(page)
		for _, link := range links {
			m := regexp.MustCompile(`href="(/confirm\?` + link + `[^"]*)"`).FindStringSubmatch(body)
			if m == nil {
				t.Fatalf("%s has no link with %s", page, link)
			}
			path := html.UnescapeString(m[1])
			_, body := v.get(path)
			if link == "verb=resume" && !strings.Contains(body, "<h1>Resume stage tear-down in environment prod?</h1>") {
				t.Errorf("%s asks for another scope:\n%s", path, body)
			}
			form := url.Values{"why": {"because"}}
			for _, in := range regexp.MustCompile(`<input type="hidden" name="([a-z]+)" value="([^"]*)">`).FindAllStringSubmatch(body, -1) {
				form.Add(in[1], html.UnescapeString(in[2]))
			}
			if code, _ := v.post("/confirm", form); code != http.StatusOK {
				t.Errorf("%s: %d", path, code)
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	got := map[string]Operation{}
	for _, op := range f.operations {
		got[op.Verb] = op
	}
	if op := got["thaw"]; strings.Join(op.Envs, ",") != "qa,prod" || op.Who != "mira" {
		t.Errorf("%+v", op)
	}
	if op := got["end-override"]; op.Rule != "approval" || op.Ref.Env != "prod" || op.Stage != "tear-down" || op.Why != "because" {
		t.Errorf("%+v", op)
	}
	if op := got["resume"]; op.Ref.Env != "prod" || op.Ref.Name != "" || op.Stage != "tear-down" {
		t.Errorf("%+v", op)
	}
	if op := got["abort"]; op.Ref.String() != "qa/stock" {
		t.Errorf("%+v", op)
	}
}

func TestRedirectStaysHere(t *testing.T) {
	for in, want := range map[string]string{"/a?b": "/a?b", "": "/", "//evil.test": "/", "https://evil.test": "/", `/\evil.test`: "/", "/\t/evil.test": "/"} {
		if got := localPath(in); got != want {
			t.Errorf("localPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestUnknownPages(t *testing.T) {
	_, base := serve(t, true)
	v := newVisitor(t, base)
	for _, path := range []string{"/clusters/qa/nobody", "/campaigns/nothing"} {
		if code, body := v.get(path); code != http.StatusNotFound || !strings.Contains(body, "nothing here") {
			t.Errorf("%s: %d", path, code)
		}
	}
}

// The page of an engine's cluster tells of each node whether it serves, and has nothing that only databases have.
func TestAnEnginesNodesAreShown(t *testing.T) {
	_, base := serve(t, true)
	_, body := newVisitor(t, base).get("/clusters/qa/jobs")
	for _, want := range []string{"nodes behind a load balancer", `<span class="role serving">serving</span>`, `<span class="role out">out</span>`, "jobs-2 is on 1.0.3, is drained with 2 sessions", "1.1.0", "connection refused"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	for _, not := range []string{"Replicates from", "Lag", "record <code>"} {
		if strings.Contains(body, not) {
			t.Errorf("the page has %q", not)
		}
	}
}

// Without JavaScript the forecast is a page of its own; the campaign's page has the last one that there is, with its time.
func TestForecastWithoutJavaScript(t *testing.T) {
	f, base := serve(t, true)
	f.foretell = make(chan struct{})
	v := newVisitor(t, base)
	if code, body := v.get("/campaigns/mariadb-11.8"); code != http.StatusOK || !strings.Contains(body, `<a href="/campaigns/mariadb-11.8/forecast">When does it end?</a>`) || strings.Contains(body, "If nothing fails") {
		t.Errorf("before the first: %d %s", code, body)
	}
	close(f.foretell)
	if code, body := v.get("/campaigns/mariadb-11.8/forecast"); code != http.StatusOK || !strings.Contains(body, "in 49h 0m, at 2026-11-23 13:00:00Z") && !strings.Contains(body, "in 2d 1h") || !strings.Contains(body, `<th scope="row">qa</th><td data-label="Stage">create</td>`) {
		t.Errorf("the forecast: %d %s", code, body)
	}
	if _, body := v.get("/campaigns/mariadb-11.8"); !strings.Contains(body, "the last cluster arrives") || !strings.Contains(body, "Worked out 1m 0s ago") || !strings.Contains(body, "Work it out anew") {
		t.Errorf("after the first: %s", body)
	}
	if code, _ := v.get("/campaigns/nothing/forecast"); code != http.StatusNotFound {
		t.Errorf("of a campaign that is not there: %d", code)
	}
}
