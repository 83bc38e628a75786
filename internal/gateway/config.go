package gateway

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/capture/tap"
	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/gateway/adminapi"
	"github.com/windlass-db/windlass/internal/wire"
)

// Config is the gateway's file. Paths in it are relative to the file's folder.
type Config struct {
	Name            string          `yaml:"name" rule:"required nonempty" doc:"for people, logs and metrics" example:"orders-blue"`
	ID              *int            `yaml:"id" rule:"min=0 max=1023" doc:"number that is unique among the gateways of a cluster: it is a part of the connection ids; absent: made of the name" example:"7"`
	Listen          string          `yaml:"listen" rule:"required hostport" doc:"the writer endpoint" example:"10.0.1.9:3306"`
	ReadOnlyListen  string          `yaml:"read_only_listen" rule:"hostport" doc:"the read-only endpoint; absent: there is none" example:"10.0.1.9:3307"`
	Admin           AdminConfig     `yaml:"admin" rule:"required" doc:"the admin API"`
	AccountsFile    string          `yaml:"accounts_file" rule:"nonempty" doc:"who may log in; mode 0600; this or accounts_command is needed" example:"accounts.yaml"`
	AccountsCommand []string        `yaml:"accounts_command" rule:"nonempty" doc:"a program with its arguments that prints the same" example:"[/usr/bin/vault-read, db/accounts]"`
	Monitor         MonitorConfig   `yaml:"monitor" rule:"required" doc:"the account that asks servers for their role"`
	Servers         ServersConfig   `yaml:"servers" rule:"required" doc:"the cluster's servers, at the first start: the state file knows later ones"`
	StateFile       string          `yaml:"state_file" rule:"nonempty" doc:"keeps the term and the list of servers over a restart; absent: they are forgotten" example:"/var/lib/windlass/gateway.state"`
	ClientTLS       *ClientTLS      `yaml:"client_tls" doc:"the certificate shown to clients; absent: no TLS"`
	ServerTLS       ServerTLS       `yaml:"server_tls" doc:"how servers are spoken to"`
	ProxyProtocol   bool            `yaml:"proxy_protocol" doc:"tell servers the client's address by a PROXY header (version 1); they have to allow it" example:"true"`
	LocalInfile     bool            `yaml:"local_infile" doc:"allow LOAD DATA LOCAL" example:"true"`
	OnOpen          adminapi.OnOpen `yaml:"on_open_transaction" rule:"oneof=call-off|fail" doc:"what a hold does with a transaction that wrote and does not end within the drain: the hold is called off, or the transaction fails with error 1213; absent: call-off" example:"call-off"`
	ServerVersion   string          `yaml:"server_version" rule:"nonempty max=60" doc:"told to clients; absent: that of the lowest server" example:"10.11.18-MariaDB"`
	MaxLag          Duration        `yaml:"max_lag" doc:"how far a replica may be behind that the read-only endpoint uses, and still be used; absent: 10s" example:"10s"`
	MaxConnections  int             `yaml:"max_connections" rule:"min=0" doc:"clients on both endpoints; 0: no limit" example:"2000"`
	MaxPacket       int             `yaml:"max_packet" rule:"min=1048576 max=1073741824" doc:"largest packet that has to be held in memory, in bytes; absent: 67108864" example:"67108864"`
	Capture         *CaptureConfig  `yaml:"capture" doc:"keeping what clients say, and what servers answer, for a replay; absent: it can't be switched on"`
	Timeouts        Timeouts        `yaml:"timeouts" doc:"bounds of every wait"`

	delicateFor time.Duration // how long after a command its warnings and found rows are left alone, in case they are asked for
}

// AdminConfig is the admin API's listener.
type AdminConfig struct {
	Listen    string `yaml:"listen" rule:"required hostport" doc:"the admin API" example:"10.0.1.9:4101"`
	TokenFile string `yaml:"token_file" rule:"required nonempty" doc:"file of mode 0600 with the bearer token, 16 characters or more" example:"token"`
}

// MonitorConfig is the account that asks servers for their role. It needs PROCESS and REPLICA MONITOR; on MySQL PROCESS, REPLICATION CLIENT,
// and SELECT on performance_schema, to read what sessions hold.
type MonitorConfig struct {
	User         string   `yaml:"user" rule:"required nonempty" doc:"the account's name" example:"monitor"`
	PasswordFile string   `yaml:"password_file" rule:"required nonempty" doc:"file of mode 0600 with its password" example:"monitor-password"`
	Interval     Duration `yaml:"interval" doc:"time between two questions; absent: 500ms" example:"500ms"`
}

// ServersConfig lists servers by host:port.
type ServersConfig struct {
	Local []string `yaml:"local" rule:"hostport unique" doc:"those of the gateway's own cell: the read-only endpoint uses no others" example:"[10.0.1.1:3306, 10.0.1.2:3306]"`
	All   []string `yaml:"all" rule:"required nonempty hostport unique" doc:"every server of the cluster, in every cell" example:"[10.0.1.1:3306, 10.0.1.2:3306]"`
}

// ClientTLS is the certificate shown to clients.
type ClientTLS struct {
	Cert     string `yaml:"cert" rule:"required nonempty" doc:"PEM file with the certificate and what leads to its root" example:"gateway.pem"`
	Key      string `yaml:"key" rule:"required nonempty" doc:"PEM file of mode 0600 with its key" example:"gateway.key"`
	Required bool   `yaml:"required" doc:"refuse clients without TLS" example:"true"`
}

// ServerTLS says how servers are spoken to.
type ServerTLS struct {
	Mode wire.TLSMode `yaml:"mode" rule:"oneof=off|preferred|required|verify-ca|verify-full" doc:"absent: preferred" example:"verify-full"`
	CA   string       `yaml:"ca" rule:"nonempty" doc:"PEM file with the roots that the verifying modes believe; absent: those of the system" example:"ca.pem"`
}

// CaptureConfig says what a capture keeps, and where. It is switched on and off by the admin API.
type CaptureConfig struct {
	Folder      string         `yaml:"folder" rule:"required nonempty" doc:"where files of captured statements are written; a shipper takes them from there" example:"/var/lib/windlass/spool"`
	Enabled     bool           `yaml:"enabled" doc:"on from the gateway's start; absent: when it is asked for" example:"true"`
	Statements  tap.Statements `yaml:"statements" rule:"oneof=selects|all" doc:"what is kept: selects, with what their sessions need, or all; absent: selects" example:"all"`
	Sample      float64        `yaml:"sample" rule:"min=0.000001 max=1" doc:"how much of each kind of statement is kept; absent: 1, everything" example:"0.1"`
	KeyFile     string         `yaml:"key_file" rule:"nonempty" doc:"file of mode 0600 with 32 bytes in base64 that files are sealed with; absent: they can be read by whoever has them" example:"capture.key"`
	MaskKeyFile string         `yaml:"mask_key_file" rule:"nonempty" doc:"file of mode 0600 with a secret of 16 characters or more; with it each value is replaced by its type, length and keyed hash, and the statements can't be replayed; absent: values are kept" example:"mask.key"`
	RotateSize  int            `yaml:"rotate_size" rule:"min=65536 max=1073741824" doc:"bytes after which a file ends; absent: 67108864" example:"67108864"`
	RotateEvery Duration       `yaml:"rotate_every" doc:"time after which a file ends; absent: 10s" example:"10s"`
	Quota       int            `yaml:"quota" rule:"min=1048576" doc:"bytes that the gateway's files may take in the folder: the oldest are deleted, and counted; absent: 10737418240" example:"10737418240"`
	Memory      int            `yaml:"memory" rule:"min=1048576 max=1073741824" doc:"bytes of what was seen and is not written yet: beyond it statements are dropped, and counted; absent: 33554432" example:"33554432"`
}

// complete gives what was left out its default.
func (c *CaptureConfig) complete() {
	if c.Statements == "" {
		c.Statements = tap.Selects
	}
	if c.Sample == 0 {
		c.Sample = 1
	}
	if c.RotateSize == 0 {
		c.RotateSize = 64 << 20
	}
	if c.RotateEvery == 0 {
		c.RotateEvery = Duration(10 * time.Second)
	}
	if c.Quota == 0 {
		c.Quota = 10 << 30
	}
	if c.Memory == 0 {
		c.Memory = 32 << 20
	}
}

// Timeouts bound every wait.
type Timeouts struct {
	Connect   Duration `yaml:"connect" doc:"of one connection and login on a server; absent: 5s" example:"5s"`
	Login     Duration `yaml:"login" doc:"of a client's login; absent: 10s" example:"10s"`
	Observe   Duration `yaml:"observe" doc:"of one question to a server; absent: 1s" example:"1s"`
	NoPrimary Duration `yaml:"no_primary" doc:"how long a command waits for a primary, outside of a hold, before it is refused; absent: 10s" example:"10s"`
	Move      Duration `yaml:"move" doc:"of moving one session; absent: 5s" example:"5s"`
	Stop      Duration `yaml:"stop" doc:"how long SIGTERM waits for transactions to end; absent: 10s" example:"10s"`
}

// Kind is the gateway's kind of document. Its objects are of type Config, with paths as they are written.
func Kind() config.Kind {
	return config.Define("Gateway", "one gateway: where it listens, who may log in, and which servers there are", nil, build)
}

// build looks at what concerns several keys, and completes what was left out.
func build(c *Config, r *config.Report) Config {
	switch {
	case c.AccountsFile != "" && len(c.AccountsCommand) > 0:
		r.At("accounts_command").Problem(config.CodeValue, "there is accounts_file, too", "keep one of accounts_file and accounts_command")
	case c.AccountsFile == "" && len(c.AccountsCommand) == 0 && !r.At("accounts_file").Given() && !r.At("accounts_command").Given():
		r.At().Problem(config.CodeMissing, "nothing says who may log in", "add accounts_file, such as \"accounts_file: accounts.yaml\", or accounts_command")
	}
	for i, a := range c.Servers.Local {
		if at := r.At("servers", "local", i); !at.Bad() && len(c.Servers.All) > 0 && !slices.Contains(c.Servers.All, a) {
			at.Problem(config.CodeReference, fmt.Sprintf("%s is not in servers.all", a), "add it there, too")
		}
	}
	c.complete()
	if k := c.Capture; k != nil && k.Quota < 2*k.RotateSize && !r.At("capture", "quota").Bad() && !r.At("capture", "rotate_size").Bad() {
		r.At("capture", "quota").Problem(config.CodeValue, fmt.Sprintf("%d bytes are less than two files of rotate_size", k.Quota), fmt.Sprintf("write %d or more", 2*k.RotateSize))
	}
	return *c
}

// MarshalYAML writes the file as LoadConfig reads it: with its header, without what is not set.
func (c Config) MarshalYAML() (any, error) {
	return append(yaml.MapSlice{{Key: "kind", Value: "Gateway"}, {Key: "version", Value: config.FormatVersion}}, written(reflect.ValueOf(c))...), nil
}

// written lists the keys of a struct that are set.
func written(v reflect.Value) (keys yaml.MapSlice) {
	for i := range v.NumField() {
		f, key := v.Field(i), v.Type().Field(i).Tag.Get("yaml")
		if key == "" || f.IsZero() {
			continue
		}
		f = reflect.Indirect(f)
		if f.Kind() == reflect.Struct {
			keys = append(keys, yaml.MapItem{Key: key, Value: written(f)})
			continue
		}
		keys = append(keys, yaml.MapItem{Key: key, Value: f.Interface()})
	}
	return keys
}

// Duration is a time.Duration that is written as text, such as "500ms".
type Duration time.Duration

// Parse reads the text.
func (d *Duration) Parse(text string) error {
	v, err := config.ParseDuration(text)
	if err == nil && v < time.Millisecond {
		err = errors.New("it is less than 1ms")
	}
	*d = Duration(v)
	return err
}

// Wanted names it in messages.
func (*Duration) Wanted() string { return "a duration" }

// Form shows how it is written.
func (*Duration) Form() string { return "500ms or 5s" }

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// D is the value.
func (d Duration) D() time.Duration { return time.Duration(d) }

// LoadConfig reads, completes and checks the file. Its error is a config.Problems with every problem of the content.
func LoadConfig(path string) (Config, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("gateway configuration: %w", err)
	}
	c, _, err := config.One[Config](config.Source{Name: path, Text: raw}, Kind())
	if err != nil {
		return Config{}, fmt.Errorf("gateway configuration:\n%w", err)
	}
	c.resolve(filepath.Dir(path))
	return c, nil
}

// complete gives what was left out its default.
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
	if c.Capture != nil {
		c.Capture.complete()
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

// resolve makes paths relative to the file's folder absolute.
func (c *Config) resolve(dir string) {
	paths := []*string{&c.Admin.TokenFile, &c.AccountsFile, &c.Monitor.PasswordFile, &c.StateFile, &c.ServerTLS.CA}
	if c.ClientTLS != nil {
		paths = append(paths, &c.ClientTLS.Cert, &c.ClientTLS.Key)
	}
	if c.Capture != nil {
		paths = append(paths, &c.Capture.Folder, &c.Capture.KeyFile, &c.Capture.MaskKeyFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// readSecret reads a file that only its owner may read, without the line's end. fill says what to do for one that is not there.
func readSecret(path, fill string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no file %s: make it with mode 0600, and %s", path, fill)
	}
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
