package builds

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindMirrors reads the sources of several kinds of machine.
func TestFindMirrors(t *testing.T) {
	for name, c := range map[string]struct {
		files          map[string]string
		main, security string
		stanza         []string // what the entry for another suite has to hold
	}{
		"image": {
			files: map[string]string{
				"sources.list.d/debian.sources": "Types: deb\n# a comment\nURIs: http://mirror.test/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n" +
					"Types: deb\nURIs: http://mirror.test/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
				"sources.list.d/vendor.sources":   "Types: deb\nURIs: http://vendor.test/node\nSuites: nodistro\nComponents: main\n",
				"sources.list.d/another.list":     "deb http://vendor.test/debian stable main\ndeb http://vendor.test/php bookworm main\n",
				"sources.list.d/ignored.list.old": "deb http://old.test/debian bookworm main\n",
			},
			main: "http://mirror.test/debian", security: "http://mirror.test/debian-security", stanza: []string{"Suites: trixie\n", "Components: main\n", "Signed-By: /usr/share/keyrings/"},
		},
		"one line": {
			files: map[string]string{"sources.list": "# deb http://no.test/debian bookworm main\ndeb-src http://src.test/debian bookworm main\ndeb [arch=amd64 signed-by=/etc/corp.gpg trusted=yes] http://mirror.test/deb bookworm main contrib # ours\ndeb http://mirror.test/sec bookworm/updates main\n"},
			main:  "http://mirror.test/deb", security: "http://mirror.test/sec", stanza: []string{"signed-by: /etc/corp.gpg\n", "trusted: yes\n"},
		},
		"cloud": {
			files: map[string]string{"sources.list.d/debian.sources": "Types: deb deb-src\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: trixie trixie-updates trixie-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.pgp\n\n\n" +
				"Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian-security.list\nSuites: trixie-security\nComponents: main\n"},
			main: "mirror+file:///etc/apt/mirrors/debian.list", security: "mirror+file:///etc/apt/mirrors/debian-security.list",
		},
		"disabled first": {
			files: map[string]string{"sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://off.test/debian\nSuites: bookworm\nComponents: main\n\nTypes: deb\nURIs:\n http://on.test/debian\n http://second.test/debian\nSuites: bookworm\nComponents: main\n"},
			main:  "http://on.test/debian",
		},
		"own key": {
			files:  map[string]string{"sources.list.d/a.sources": "Types: deb\nURIs: file:/srv/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"},
			main:   "file:/srv/debian",
			stanza: []string{"URIs: copy:/srv/debian\n", "Signed-By: \n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"},
		},
	} {
		etc := t.TempDir()
		for file, text := range c.files {
			write(t, filepath.Join(etc, file), text)
		}
		m, err := findMirrors(etc)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.main.uri != c.main {
			t.Errorf("%s: main %q, want %q", name, m.main.uri, c.main)
		}
		security := ""
		if m.security != nil {
			security = m.security.uri
		}
		if security != c.security {
			t.Errorf("%s: security %q, want %q", name, security, c.security)
		}
		for _, want := range c.stanza {
			if got := m.main.stanza("trixie"); !strings.Contains(got, want) {
				t.Errorf("%s: no %q in:\n%s", name, want, got)
			}
		}
	}
}

func TestNoMirrorSaysWhatToDo(t *testing.T) {
	etc := t.TempDir()
	write(t, filepath.Join(etc, "sources.list"), "deb http://mirror.test/ubuntu noble main universe\n")
	_, err := findMirrors(etc)
	if !errors.Is(err, ErrNoMirror) || !strings.Contains(err.Error(), "sources.list") || !strings.Contains(err.Error(), MirrorVariable) {
		t.Errorf("no mirror: %v", err)
	}
	t.Setenv(MirrorVariable, "http://mirror.test/debian")
	if m, err := findMirrors(etc); err != nil || m.main.uri != "http://mirror.test/debian" || m.security != nil {
		t.Errorf("by variable: %+v, %v", m, err)
	}
}
