package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/miekg/dns"

	"github.com/windlass-db/windlass/internal/builds"
	"github.com/windlass-db/windlass/internal/secret"
)

// BIND is one name server on this machine: the primary of one zone, which takes signed updates (RFC 2136, RFC 8945).
type BIND struct {
	Build builds.Build
	Dir   string
	Port  int               // of 127.0.0.1, UDP and TCP
	Zone  string            // such as "windlass.test."
	Hosts map[string]string // address records at the start: name → IPv4 address
}

// KeyName is the TSIG key's name.
const KeyName = "windlass-ddns"

// Address is host:port of the server.
func (b BIND) Address() string { return fmt.Sprintf("127.0.0.1:%d", b.Port) }

// KeyFile holds the TSIG key in BIND's own form, readable for its owner alone.
func (b BIND) KeyFile() string { return filepath.Join(b.Dir, "ddns.key") }

// Init writes key, configuration and zone if they are not there.
func (b BIND) Init() error {
	if _, err := os.Stat(filepath.Join(b.Dir, "named.conf")); err == nil {
		return nil
	}
	if err := os.MkdirAll(b.Dir, 0o700); err != nil {
		return err
	}
	key := fmt.Sprintf("key %q {\n\talgorithm hmac-sha256;\n\tsecret %q;\n};\n", KeyName, secret.Key())
	var zone strings.Builder
	fmt.Fprintf(&zone, "$TTL 1\n@ IN SOA ns hostmaster 1 3600 600 86400 1\n@ IN NS ns\nns IN A 127.0.0.1\n")
	for name, ip := range b.Hosts {
		fmt.Fprintf(&zone, "%s 1 IN A %s\n", dns.Fqdn(name), ip)
	}
	conf := fmt.Sprintf(`include %q;
options {
	directory %q;
	pid-file none;
	session-keyfile %q;
	lock-file none;
	listen-on port %d { 127.0.0.1; };
	listen-on-v6 { none; };
	recursion no;
	allow-transfer { none; };
	notify no;
	dnssec-validation no;
	managed-keys-directory %q;
};
controls { };
zone %q {
	type primary;
	file %q;
	update-policy { grant %s zonesub ANY; };
};
`, b.KeyFile(), b.Dir, filepath.Join(b.Dir, "session.key"), b.Port, b.Dir, strings.TrimSuffix(b.Zone, "."), filepath.Join(b.Dir, "zone.db"), KeyName)
	for name, text := range map[string]string{"ddns.key": key, "zone.db": zone.String(), "named.conf.new": conf} {
		if err := os.WriteFile(filepath.Join(b.Dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return os.Rename(filepath.Join(b.Dir, "named.conf.new"), filepath.Join(b.Dir, "named.conf"))
}

// Spec is the process that runs it.
func (b BIND) Spec() (Spec, error) {
	argv, err := b.Build.Argv("named", "-g", "-n", "1", "-c", filepath.Join(b.Dir, "named.conf"))
	if err != nil {
		return Spec{}, err
	}
	return Spec{Name: "bind9", Dir: b.Dir, Argv: argv, Ready: func(ctx context.Context) error {
		m := new(dns.Msg)
		m.SetQuestion(dns.Fqdn(b.Zone), dns.TypeSOA)
		r, err := dns.ExchangeContext(ctx, m, b.Address())
		if err == nil && r.Rcode != dns.RcodeSuccess {
			err = fmt.Errorf("it answers %s", dns.RcodeToString[r.Rcode])
		}
		return err
	}}, nil
}

// Start writes the configuration if needed, runs the server, and waits until it answers for its zone.
func (b BIND) Start(ctx context.Context) error {
	if err := b.Init(); err != nil {
		return err
	}
	s, err := b.Spec()
	if err != nil {
		return err
	}
	return s.Start(ctx)
}
