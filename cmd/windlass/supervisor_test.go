package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/api"
	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/state"
)

// TestMain is the program itself when a test starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv("WINDLASS_PROGRAM_OF_A_TEST") != "" {
		os.Exit(run())
	}
	code := m.Run()
	if programs != "" {
		_ = os.RemoveAll(programs)
	}
	os.Exit(code)
}

// program is a running windlass, with what it says.
type program struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	said bytes.Buffer
	done chan struct{}
	code int
}

func (p *program) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.Write(b)
}

func (p *program) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

func (p *program) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// windlass starts the program, and ends it with the test.
func windlass(t *testing.T, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(os.Args[0], args...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "WINDLASS_PROGRAM_OF_A_TEST=1")
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code tells
		p.code = p.cmd.ProcessState.ExitCode()
		close(p.done)
	}()
	t.Cleanup(func() {
		if !p.ended() {
			if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
			t.Errorf("it does not end: %v, %s", p.cmd.Process.Kill(), p.text())
		}
	})
	return p
}

// refused waits until the program has ended, and holds what it said against what it should say.
func (p *program) refused(t *testing.T, what string, want ...string) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		t.Errorf("%s: it goes on: %s", what, p.text())
		return
	}
	if p.code == 0 || p.code == 2 && strings.Contains(p.text(), "goroutine") {
		t.Errorf("%s: exit %d: %s", what, p.code, p.text())
	}
	for _, w := range want {
		if !strings.Contains(p.text(), w) {
			t.Errorf("%s: it does not say %q: %s", what, w, p.text())
		}
	}
}

func put(t *testing.T, mode os.FileMode, text string, path ...string) string {
	t.Helper()
	file := filepath.Join(path...)
	// In one step: a supervisor of the test may be reading it.
	if err := os.WriteFile(file+".new", []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return file
}

// authority makes a certificate authority, and with it a server's certificate for a name or address.
func authority(t *testing.T, dir, name, host string) (ca, cert, key string) {
	t.Helper()
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "windlass"}, NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, &rootKey.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, &leafKey.PublicKey, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(mode os.FileMode, file, kind string, der []byte) string {
		return put(t, mode, string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), dir, name+file)
	}
	return write(0o644, "-ca.pem", "CERTIFICATE", rootDER), write(0o644, ".pem", "CERTIFICATE", leafDER), write(0o600, ".key", "PRIVATE KEY", keyDER)
}

// site is a server, and what supervisors of it need.
type site struct {
	dir, url, ca string
	operator     *api.Client
}

// supervisorFile writes a supervisor's file of a program that never has anything to make.
func (s site) supervisorFile(t *testing.T, name, env, tokenFile, ca string) string {
	t.Helper()
	put(t, 0o755, "#!/bin/sh\nexit 1\n", s.dir, "nodes.sh")
	for _, secret := range []string{"admin", "gateway-token", "ddns.key"} {
		put(t, 0o600, "a-secret-of-"+secret+"\n", s.dir, secret)
	}
	return put(t, 0o644, fmt.Sprintf(`kind: Supervisor
version: 1
name: %s
environment: %s
watch_every: 2s
server: {url: %q, token_file: %q, ca_file: %q}
mysql: {admin: {user: windlass, password_file: admin}}
gateways: {admin_token_file: gateway-token, monitor_user: monitor}
dns: {server: "127.0.0.1:1", zone: db.example., key_file: ddns.key}
exec: {command: [./nodes.sh]}
`, name, env, s.url, tokenFile, ca), s.dir, name+".yaml")
}

// token makes one, and writes it into a file.
func (s site) token(t *testing.T, role, env, name string) string {
	t.Helper()
	secret, err := s.operator.NewToken(context.Background(), state.Token{Role: role, Env: env, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	return put(t, 0o600, secret+"\n", s.dir, name+".token")
}

// tlsSite is a server with a certificate.
func tlsSite(t *testing.T) site {
	t.Helper()
	dir, listen := t.TempDir(), freeAddress(t)
	ca, cert, key := authority(t, dir, "ours", "127.0.0.1")
	server := windlass(t, "server", "--listen", listen, "--state", filepath.Join(dir, "state.db"), "--operator-token-file", filepath.Join(dir, "operator"), "--tls-cert", cert, "--tls-key", key)
	s := site{dir: dir, url: "https://" + listen, ca: ca}
	processtest.Until(t, 30*time.Second, "the server answers over TLS", func() bool {
		if server.ended() {
			t.Fatalf("the server ended: %s", server.text())
		}
		b, err := os.ReadFile(filepath.Join(dir, "operator"))
		if err != nil {
			return false
		}
		if s.operator, err = api.NewClient(s.url, strings.TrimSpace(string(b)), ca); err != nil {
			return false
		}
		_, err = s.operator.Campaigns(context.Background())
		return err == nil
	})
	return s
}

// TestSupervisorOverTLS: a supervisor that knows the server's authority works; with another authority, for another name, with a wrong
// token or that of another environment it ends and says why. Secrets are in none of what it says.
func TestSupervisorOverTLS(t *testing.T) {
	t.Parallel()
	s := tlsSite(t)
	var clusters []fleet.Environment
	for _, env := range []string{"qa", "prod"} {
		clusters = append(clusters, fleet.Environment{Name: env, Clusters: []fleet.Cluster{{Name: "orders", Env: env, Product: "mariadb", Record: "orders." + env + ".db.example.",
			Cells: []fleet.Cell{{Name: "blue", Version: "10.11", Nodes: []fleet.Node{{Name: "orders-1", Address: map[string]string{"qa": "127.0.0.1:1", "prod": "127.0.0.1:2"}[env]}}}}}}})
	}
	if _, err := s.operator.Apply(context.Background(), api.ApplyRequest{Fleet: &fleet.Fleet{Name: "shop", Environments: clusters}}); err != nil {
		t.Fatal(err)
	}
	qa := s.token(t, "supervisor", "qa", "qa-1")

	works := windlass(t, "supervisor", "--config", s.supervisorFile(t, "qa-1", "qa", qa, s.ca))
	observed := func(env string) bool {
		c, err := s.operator.Cluster(context.Background(), fleet.ClusterRef{Env: env, Name: "orders"})
		if err != nil {
			t.Fatal(err)
		}
		return c.Observation != nil
	}
	processtest.Until(t, 60*time.Second, "it pulls its clusters and reports them over TLS", func() bool {
		if works.ended() {
			t.Fatalf("it ended: %s", works.text())
		}
		return observed("qa")
	})

	otherCA, _, _ := authority(t, s.dir, "theirs", "127.0.0.1")
	prod := windlass(t, "supervisor", "--config", s.supervisorFile(t, "prod-1", "prod", qa, s.ca))
	wrongCA := windlass(t, "supervisor", "--config", s.supervisorFile(t, "qa-2", "qa", qa, otherCA))
	wrongToken := windlass(t, "supervisor", "--config", s.supervisorFile(t, "qa-3", "qa", put(t, 0o600, "wl_nobody-made-this-token", s.dir, "wrong.token"), s.ca))
	open := windlass(t, "supervisor", "--config", s.supervisorFile(t, "qa-4", "qa", put(t, 0o644, "wl_everybody-reads-this", s.dir, "open.token"), s.ca))
	plain := s
	plain.url = "http" + strings.TrimPrefix(s.url, "https")
	noTLS := windlass(t, "supervisor", "--config", plain.supervisorFile(t, "qa-5", "qa", qa, s.ca))

	prod.refused(t, "a token of qa in prod", "for environment prod", "windlass token create --role supervisor --env prod --name prod-1")
	wrongCA.refused(t, "another authority", "certificate signed by unknown authority", "hint: ", "ca_file")
	wrongToken.refused(t, "a token that nobody made", "refuses the token in "+filepath.Join(s.dir, "wrong.token"))
	open.refused(t, "a token that others can read", "can be read by others (mode 0644)", "chmod 600 "+filepath.Join(s.dir, "open.token"), "qa-4.yaml:6:")
	noTLS.refused(t, "an authority without TLS", "no certificate would be looked at")
	if observed("prod") {
		t.Error("the token of qa reported a cluster of prod")
	}
	if works.ended() {
		t.Errorf("it ended: %s", works.text())
	}
	for _, file := range []string{"qa-1.token", "wrong.token", "open.token", "admin", "gateway-token"} {
		b, err := os.ReadFile(filepath.Join(s.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []*program{works, prod, wrongCA, wrongToken, open, noTLS} {
			if strings.Contains(p.text(), strings.TrimSpace(string(b))) {
				t.Errorf("%s is told: %s", file, p.text())
			}
		}
	}
}

// TestCertificateForAnotherName: the right authority vouches for another server.
func TestCertificateForAnotherName(t *testing.T) {
	dir, listen := t.TempDir(), freeAddress(t)
	ca, cert, key := authority(t, dir, "ours", "windlass.example")
	server := windlass(t, "server", "--listen", listen, "--state", filepath.Join(dir, "state.db"), "--operator-token-file", filepath.Join(dir, "operator"), "--tls-cert", cert, "--tls-key", key)
	processtest.Until(t, 30*time.Second, "the server listens", func() bool {
		if server.ended() {
			t.Fatalf("the server ended: %s", server.text())
		}
		return strings.Contains(server.text(), "server runs")
	})
	s := site{dir: dir, url: "https://" + listen, ca: ca}
	p := windlass(t, "supervisor", "--config", s.supervisorFile(t, "qa-1", "qa", filepath.Join(dir, "operator"), ca))
	p.refused(t, "another name", "127.0.0.1", "its certificate is for another name")
}
