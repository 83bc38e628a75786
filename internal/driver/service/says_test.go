package service

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/fleet"
)

// A letter before the numbers of a version is none of it; a whole page is no version, and is not kept.
func TestVersionsAsTheyAreTold(t *testing.T) {
	for said, want := range map[string]string{
		"1.1.0": "1.1.0", "v1.1.0": "1.1.0", "V2": "2", "1.0.3 (build 77)": "1.0.3 (build 77)", "1.1.4-rc1+7": "1.1.4-rc1+7", "1.1.0\nbuilt today": "1.1.0",
		"": "", "version 1.1": "", `{"version":"1.1"}`: "", "<html>": "", "v": "", "vv1": "", "dev": "", strings.Repeat("1", 5000): "",
	} {
		got, err := version(said)
		if got != want || (err == nil) != (want != "") || err != nil && len(err.Error()) > 500 {
			t.Errorf("%.30q: %q, %v", said, got, err)
		}
	}
}

// A node is healthy by what it says at the place that is named, if something is to stand there; and never by what another page says.
func TestWhatHealthSays(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sent":
			http.Redirect(w, r, "/up", http.StatusFound)
		case "/up", "/down":
			fmt.Fprintf(w, `{"health": {"status": %q}}`, strings.ToUpper(r.URL.Path[1:]))
		default:
			fmt.Fprintln(w, "fine")
		}
	}))
	defer s.Close()
	u := Unit{Node: fleet.Node{Name: "n1", Address: s.Listener.Addr().String()}}
	for _, c := range []struct{ path, json, says, want string }{
		{"up", "health.status", "UP", ""},
		{"down", "health.status", "UP", `it says "DOWN", not "UP"`},
		{"up", "health.state", "UP", "has nothing at"},
		{"plain", "", "fine", ""},
		{"plain", "", "well", `it says "fine", not "well"`},
		{"sent", "", "", "302 Found"},
	} {
		_, err := Probe{HTTP: "http://{address}/" + c.path, JSON: c.json, Says: c.says}.ask(t.Context(), u)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
