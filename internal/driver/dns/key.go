package dns

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// key is a TSIG key. It shows its name, never its secret.
type key struct{ name, algorithm, secret string }

func (k key) String() string       { return "TSIG key " + k.name }
func (k key) GoString() string     { return k.String() }
func (k key) LogValue() slog.Value { return slog.StringValue(k.String()) }

var (
	keyComment   = regexp.MustCompile(`"[^"]*"|/\*(?s:.*?)\*/|(?://|#)[^\n]*`) // or text in quotes, which is none: a secret may hold //
	keyName      = regexp.MustCompile(`key\s+"?([^"\s{]+)"?\s*\{`)
	keyAlgorithm = regexp.MustCompile(`algorithm\s+"?([^";\s]+)"?\s*;`)
	keySecret    = regexp.MustCompile(`secret\s+"?([^";\s]+)"?\s*;`)
)

// algorithms are the ones that name servers still take; MD5 is not among them.
var algorithms = []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}

// readKey reads a TSIG key file: BIND's form, as tsig-keygen writes it, or one line algorithm:name:base64 as nsupdate -y
// takes it. The file is read at each call, so that a key can be replaced. Its text never reaches an error.
func readKey(path string) (key, error) {
	f, err := os.Open(path)
	if err != nil {
		return key{}, fmt.Errorf("TSIG key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key{}, fmt.Errorf("TSIG key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return key{}, fmt.Errorf("TSIG key %s can be read by others (mode %04o): chmod 600 it, and make a new key", path, info.Mode().Perm())
	}
	b, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err != nil {
		return key{}, fmt.Errorf("TSIG key: %w", err)
	}
	k, err := parseKey(b)
	if err != nil {
		return key{}, fmt.Errorf("TSIG key %s %w", path, err)
	}
	return k, nil
}

func parseKey(b []byte) (key, error) {
	var k key
	if parts := strings.Split(string(bytes.TrimSpace(b)), ":"); len(parts) == 3 && !strings.ContainsAny(string(bytes.TrimSpace(b)), "{}\n") {
		k = key{parts[1], parts[0], parts[2]}
	} else {
		b = keyComment.ReplaceAllFunc(b, func(m []byte) []byte {
			if m[0] == '"' {
				return m
			}
			return nil
		})
		name, algorithm, secret := keyName.FindSubmatch(b), keyAlgorithm.FindSubmatch(b), keySecret.FindSubmatch(b)
		if name == nil || algorithm == nil || secret == nil {
			return key{}, errors.New("has neither BIND's form  key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };  nor the form  hmac-sha256:NAME:BASE64")
		}
		k = key{string(name[1]), string(algorithm[1]), string(secret[1])}
	}
	k.name, k.algorithm = dns.CanonicalName(k.name), dns.CanonicalName(k.algorithm)
	if !slices.Contains(algorithms, k.algorithm) {
		return key{}, fmt.Errorf("has the algorithm %q: make one with tsig-keygen -a hmac-sha256", strings.TrimSuffix(k.algorithm, "."))
	}
	if s, err := base64.StdEncoding.DecodeString(k.secret); err != nil || len(s) == 0 {
		return key{}, errors.New("has a secret that is not base64")
	}
	return k, nil
}
