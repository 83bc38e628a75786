package gateway

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// Config is the gateway's file. Paths in it are relative to the file's folder.
type Config struct {
	Name            string          `yaml:"name"`                       // for people, logs and metrics
	ID              *int            `yaml:"id,omitempty"`               // 0–1023, unique among the gateways of a cluster; by default made of the name
	Listen          string          `yaml:"listen"`                     // host:port of the writer endpoint
	ReadOnlyListen  string          `yaml:"read_only_listen,omitempty"` // host:port of the read-only endpoint
	Admin           AdminConfig     `yaml:"admin"`
	AccountsFile    string          `yaml:"accounts_file,omitempty"`    // mode 0600; see Accounts
	AccountsCommand []string        `yaml:"accounts_command,omitempty"` // a program that prints the same
	Monitor         MonitorConfig   `yaml:"monitor"`
	Servers         ServersConfig   `yaml:"servers"`
	StateFile       string          `yaml:"state_file,omitempty"` // keeps the term and the server list over a restart
	ClientTLS       *ClientTLS      `yaml:"client_tls,omitempty"`
	ServerTLS       ServerTLS       `yaml:"server_tls,omitempty"`
	ProxyProtocol   bool            `yaml:"proxy_protocol,omitempty"`      // tell servers the client's address by a PROXY header
	LocalInfile     bool            `yaml:"local_infile,omitempty"`        // allow LOAD DATA LOCAL
	OnOpen          adminapi.OnOpen `yaml:"on_open_transaction,omitempty"` // call-off or fail
	ServerVersion   string          `yaml:"server_version,omitempty"`      // told to clients; by default that of the first server seen
	MaxLag          Duration        `yaml:"max_lag,omitempty"`             // of a replica that the read-only endpoint uses
	MaxConnections  int             `yaml:"max_connections,omitempty"`     // of clients, on both endpoints; 0: no limit
	MaxPacket       int             `yaml:"max_packet,omitempty"`          // largest packet that has to be held in memory, bytes
	Timeouts        Timeouts        `yaml:"timeouts,omitempty"`

	delicateFor time.Duration // how long after a command its warnings and found rows are left alone, in case they are asked for
}

// AdminConfig is the admin API's listener.
type AdminConfig struct {
	Listen    string `yaml:"listen"`
	TokenFile string `yaml:"token_file"` // mode 0600
}

// MonitorConfig is the account that asks servers for their role. It needs PROCESS, REPLICA MONITOR (REPLICATION CLIENT
// on MySQL) and CONNECTION ADMIN.
type MonitorConfig struct {
	User         string   `yaml:"user"`
	PasswordFile string   `yaml:"password_file"` // mode 0600
	Interval     Duration `yaml:"interval,omitempty"`
}

// ServersConfig lists servers by host:port.
type ServersConfig struct {
	Local []string `yaml:"local"` // of this gateway's own cell
	All   []string `yaml:"all"`   // of every cell of the cluster
}

// ClientTLS is the certificate shown to clients.
type ClientTLS struct {
	Cert     string `yaml:"cert"`
	Key      string `yaml:"key"`
	Required bool   `yaml:"required,omitempty"`
}

// ServerTLS says how servers are spoken to.
type ServerTLS struct {
	Mode wire.TLSMode `yaml:"mode,omitempty"`
	CA   string       `yaml:"ca,omitempty"`
}

// Timeouts bound every wait.
type Timeouts struct {
	Connect   Duration `yaml:"connect,omitempty"`    // of one connection and login on a server
	Login     Duration `yaml:"login,omitempty"`      // of a client's login
	Observe   Duration `yaml:"observe,omitempty"`    // of one question to a server
	NoPrimary Duration `yaml:"no_primary,omitempty"` // how long a command waits for a primary before it is refused
	Move      Duration `yaml:"move,omitempty"`       // of moving one session
	Stop      Duration `yaml:"stop,omitempty"`       // how long SIGTERM waits for transactions to end
}

// Duration is a time.Duration that is written as text, such as "500ms".
type Duration time.Duration

// UnmarshalText reads the text.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration: write a number with a unit, such as 500ms or 5s", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D is the value.
func (d Duration) D() time.Duration { return time.Duration(d) }

// LoadConfig reads, completes and checks the file. Its error names every problem, each with line and caret.
func LoadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("gateway configuration: %w", err)
	}
	c, err := parseConfig(raw)
	if err != nil {
		return Config{}, fmt.Errorf("gateway configuration %s:\n%w", path, err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

func parseConfig(raw []byte) (Config, error) {
	var c Config
	if err := yaml.UnmarshalWithOptions(raw, &c, yaml.Strict()); err != nil {
		return Config{}, errors.New(yaml.FormatError(err, false, true))
	}
	c.complete()
	file, err := parser.ParseBytes(raw, 0)
	if err != nil {
		return Config{}, err
	}
	return c, c.check(file)
}

func (c *Config) complete() {
	set := func(d *Duration, v time.Duration) {
		if *d == 0 {
			*d = Duration(v)
		}
	}
	set(&c.Monitor.Interval, 500*time.Millisecond)
	set(&c.MaxLag, 10*time.Second)
	set(&c.Timeouts.Connect, 5*time.Second)
	set(&c.Timeouts.Login, 10*time.Second)
	set(&c.Timeouts.Observe, time.Second)
	set(&c.Timeouts.NoPrimary, 10*time.Second)
	set(&c.Timeouts.Move, 5*time.Second)
	set(&c.Timeouts.Stop, 10*time.Second)
	if c.delicateFor == 0 {
		c.delicateFor = time.Second
	}
	if c.OnOpen == "" {
		c.OnOpen = adminapi.CallOff
	}
	if c.ServerTLS.Mode == "" {
		c.ServerTLS.Mode = wire.TLSPreferred
	}
	if c.MaxPacket == 0 {
		c.MaxPacket = 64 << 20
	}
	if c.ID == nil {
		h := fnv.New32a()
		h.Write([]byte(c.Name))
		id := int(h.Sum32() % gatewayIDs)
		c.ID = &id
	}
}

// problem is one thing that is wrong, at a place in the file.
type problem struct{ path, text string }

func (c *Config) problems() []problem {
	var ps []problem
	add := func(path, format string, args ...any) { ps = append(ps, problem{path, fmt.Sprintf(format, args...)}) }
	address := func(path, a string) {
		if host, port, err := net.SplitHostPort(a); err != nil || host == "" || port == "" {
			add(path, "%q is not host:port: write for example 127.0.0.1:3306", a)
		}
	}
	if c.Name == "" {
		add("$.name", "name is missing: give the gateway a name that is unique in its cluster")
	}
	if *c.ID < 0 || *c.ID >= gatewayIDs {
		add("$.id", "id %d is out of range: choose 0 to %d", *c.ID, gatewayIDs-1)
	}
	address("$.listen", c.Listen)
	if c.ReadOnlyListen != "" {
		address("$.read_only_listen", c.ReadOnlyListen)
	}
	address("$.admin.listen", c.Admin.Listen)
	if c.Admin.TokenFile == "" {
		add("$.admin.token_file", "admin.token_file is missing: write a token into a file of mode 0600 and name it here")
	}
	if (c.AccountsFile == "") == (len(c.AccountsCommand) == 0) {
		add("$.accounts_file", "exactly one of accounts_file and accounts_command is needed")
	}
	if c.Monitor.User == "" {
		add("$.monitor.user", "monitor.user is missing: name the account that asks servers for their role")
	}
	if c.Monitor.PasswordFile == "" {
		add("$.monitor.password_file", "monitor.password_file is missing: write the password into a file of mode 0600 and name it here")
	}
	if len(c.Servers.All) == 0 {
		add("$.servers.all", "servers.all is empty: list every server of the cluster as host:port")
	}
	for i, a := range c.Servers.All {
		address(fmt.Sprintf("$.servers.all[%d]", i), a)
		if slices.Contains(c.Servers.All[:i], a) {
			add(fmt.Sprintf("$.servers.all[%d]", i), "%s is listed twice", a)
		}
	}
	for i, a := range c.Servers.Local {
		if !slices.Contains(c.Servers.All, a) {
			add(fmt.Sprintf("$.servers.local[%d]", i), "%s is not in servers.all: add it there", a)
		}
	}
	if c.OnOpen != adminapi.CallOff && c.OnOpen != adminapi.Fail {
		add("$.on_open_transaction", "%q is unknown: write call-off or fail", c.OnOpen)
	}
	modes := []wire.TLSMode{wire.TLSOff, wire.TLSPreferred, wire.TLSRequired, wire.TLSVerifyCA, wire.TLSVerifyFull}
	if !slices.Contains(modes, c.ServerTLS.Mode) {
		add("$.server_tls.mode", "%q is unknown: write off, preferred, required, verify-ca or verify-full", c.ServerTLS.Mode)
	}
	if c.ClientTLS != nil && (c.ClientTLS.Cert == "" || c.ClientTLS.Key == "") {
		add("$.client_tls", "client_tls needs cert and key")
	}
	if c.MaxConnections < 0 {
		add("$.max_connections", "max_connections is negative: write 0 for no limit")
	}
	if c.MaxPacket < 1<<20 || c.MaxPacket > 1<<30 {
		add("$.max_packet", "max_packet %d is out of range: choose 1 MB to 1 GB, in bytes", c.MaxPacket)
	}
	for _, d := range []struct {
		path string
		v    Duration
	}{
		{"$.monitor.interval", c.Monitor.Interval}, {"$.max_lag", c.MaxLag}, {"$.timeouts.connect", c.Timeouts.Connect},
		{"$.timeouts.login", c.Timeouts.Login}, {"$.timeouts.observe", c.Timeouts.Observe}, {"$.timeouts.no_primary", c.Timeouts.NoPrimary},
		{"$.timeouts.move", c.Timeouts.Move}, {"$.timeouts.stop", c.Timeouts.Stop},
	} {
		if d.v < Duration(time.Millisecond) {
			add(d.path, "%s is too short: write at least 1ms", d.v.D())
		}
	}
	return ps
}

func (c *Config) check(file *ast.File) error {
	var texts []string
	for _, p := range c.problems() {
		text := p.text
		if path, err := yaml.PathString(p.path); err == nil {
			if node, err := path.FilterFile(file); err == nil && node != nil {
				if source, err := path.AnnotateSource([]byte(file.String()), false); err == nil {
					text = fmt.Sprintf("[%d:%d] %s\n%s", node.GetToken().Position.Line, node.GetToken().Position.Column, p.text, source)
				}
			}
		}
		texts = append(texts, text)
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "\n"))
}

func (c *Config) resolve(dir string) {
	paths := []*string{&c.Admin.TokenFile, &c.AccountsFile, &c.Monitor.PasswordFile, &c.StateFile, &c.ServerTLS.CA}
	if c.ClientTLS != nil {
		paths = append(paths, &c.ClientTLS.Cert, &c.ClientTLS.Key)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// readSecret reads a file that only its owner may read, without the line's end.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o, so others could read its secrets: run chmod 0600 %s", path, mode, path)
	}
	raw := make([]byte, 0, info.Size())
	raw, err = readAll(f, raw)
	return []byte(strings.TrimRight(string(raw), "\r\n")), err
}
