package notify

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
)

// secret is a text that prints itself as nothing.
type secret string

func (secret) String() string       { return "…" }
func (secret) GoString() string     { return "…" }
func (secret) LogValue() slog.Value { return slog.StringValue("…") }

// endpoint is where a request goes, and what it is signed with.
type endpoint struct {
	url *url.URL
	raw secret
	key []byte // nil: not signed
}

// endpoint reads the secrets of a sink. It is called for each try, so that a change needs no restart.
func (c SinkConfig) endpoint() (endpoint, error) {
	raw, from := os.Getenv(c.URLEnv), "the environment variable "+c.URLEnv
	if c.URLFile != "" {
		var err error
		from = c.URLFile
		if raw, err = readSecret(c.URLFile); err != nil {
			return endpoint{}, err
		}
	}
	if raw = strings.TrimSpace(raw); raw == "" {
		return endpoint{}, fmt.Errorf("%s is empty", from)
	}
	u, err := url.Parse(raw) // its error repeats the URL, and is not shown
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return endpoint{}, fmt.Errorf("%s holds no http:// or https:// URL", from)
	case u.Scheme == "http" && c.Type == TypeSlack && !loopback(u.Hostname()):
		return endpoint{}, fmt.Errorf("%s holds an http:// URL: the secret in it would travel in clear text; write https://", from)
	}
	e := endpoint{url: u, raw: secret(raw)}
	if c.SigningKeyFile != "" {
		key, err := readSecret(c.SigningKeyFile)
		if err != nil {
			return endpoint{}, err
		}
		if e.key, err = signingKey(key); err != nil {
			return endpoint{}, fmt.Errorf("%s: %w", c.SigningKeyFile, err)
		}
	}
	return e, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// signingKey reads a key in the form of the Standard Webhooks ("whsec_" and base64), or takes the text as it is.
func signingKey(text string) ([]byte, error) {
	key := []byte(text)
	if coded, ok := strings.CutPrefix(text, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, errors.New("what follows whsec_ is no base64")
		}
	}
	if len(key) < 16 {
		return nil, errors.New("the key has less than 16 bytes")
	}
	return key, nil
}

// readSecret reads a file that only its owner may read, without the line's end.
func readSecret(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", fmt.Errorf("%s has mode %04o, so others could read its secret: run chmod 0600 %s", path, mode, path)
	}
	if !info.Mode().IsRegular() || info.Size() > 64<<10 {
		return "", fmt.Errorf("%s is no file with a secret", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return s, nil
}

// hide leaves the URL and its secret parts out of a text that a receiver or a library wrote.
func (e endpoint) hide(text string) string {
	if e.url == nil {
		return text
	}
	parts := []string{string(e.raw), e.url.String(), e.url.RequestURI(), e.url.EscapedPath(), e.url.Path, e.url.RawQuery}
	parts = append(parts, strings.Split(e.url.Path, "/")...)
	if e.url.User != nil {
		password, _ := e.url.User.Password()
		parts = append(parts, e.url.User.String(), password, e.url.User.Username())
	}
	for _, values := range e.url.Query() {
		parts = append(parts, values...)
	}
	parts = append(parts, string(e.key))
	for _, p := range parts {
		if len(p) >= 6 { // shorter parts are words, such as "hooks"
			text = strings.ReplaceAll(text, p, "…")
		}
	}
	return text
}
