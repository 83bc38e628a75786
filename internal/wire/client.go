package wire

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

// TLSMode says whether a connection to a server is encrypted, and whose certificate is believed.
type TLSMode string

// The modes. Preferred takes TLS if the server has it and believes any certificate; Required insists on it;
// VerifyCA and VerifyFull check the certificate, the latter its name too.
const (
	TLSOff        TLSMode = "off"
	TLSPreferred  TLSMode = "preferred"
	TLSRequired   TLSMode = "required"
	TLSVerifyCA   TLSMode = "verify-ca"
	TLSVerifyFull TLSMode = "verify-full"
)

// Dial says how to log in on a server.
type Dial struct {
	Address   string // host:port
	User      string
	Passwords []string // tried in order; more than one during a rotation
	Schema    string
	Charset   byte
	Caps      Capability    // wanted; what the server lacks is refused unless in Optional
	Optional  Capability    // wanted, but may be missing
	Ext       ExtCapability // wanted of MariaDB
	MaxPacket uint32
	Attrs     []byte // connection attributes, encoded
	TLSMode   TLSMode
	TLS       *tls.Config                                                 // roots for the verifying modes
	Preamble  []byte                                                      // sent before all else: a PROXY protocol header
	Limit     int                                                         // largest packet held in memory
	Dialer    func(ctx context.Context, address string) (net.Conn, error) // nil: TCP
}

// Backend is a connection that is logged in on a server.
type Backend struct {
	*Conn
	Greeting Greeting
	Caps     Capability
	Ext      ExtCapability
	Welcome  OK // of the login; its slices are its own
	Password string
}

// MissingError says that a server lacks capabilities that were asked for.
type MissingError struct {
	Server  string
	Missing Capability
	Ext     ExtCapability
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("server %s lacks capabilities %#x (extended %#x) that the session was promised", e.Server, uint32(e.Missing), uint32(e.Ext))
}

// Connect dials and logs in, within the context. A refusal by the server is a *ServerError.
func (d Dial) Connect(ctx context.Context) (*Backend, error) {
	passwords := d.Passwords
	if len(passwords) == 0 {
		passwords = []string{""}
	}
	var err error
	for _, password := range passwords {
		var b *Backend
		if b, err = d.connect(ctx, password); err == nil {
			return b, nil
		}
		var refused *ServerError
		if !errors.As(err, &refused) || refused.Code != ErrAccessDenied {
			break
		}
	}
	return nil, fmt.Errorf("log in on %s: %w", d.Address, err)
}

func (d Dial) connect(ctx context.Context, password string) (_ *Backend, err error) {
	dial := d.Dialer
	if dial == nil {
		dial = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	nc, err := dial(ctx, d.Address)
	if err != nil {
		return nil, err
	}
	c := NewConn(nc, 1<<20)
	release := c.Bound(ctx)
	defer func() {
		if cut := release(); cut != nil && err == nil {
			err = cut
		}
		if err != nil {
			c.Close()
		}
	}()
	if len(d.Preamble) > 0 {
		if err := c.WriteAll(d.Preamble); err != nil {
			return nil, err
		}
	}
	payload, err := c.ReadPacket()
	if err != nil {
		return nil, fmt.Errorf("read the greeting: %w", err)
	}
	g, err := ParseGreeting(payload)
	if err != nil {
		return nil, err
	}
	b := &Backend{Conn: c, Greeting: g, Password: password}
	if err := d.agree(b); err != nil {
		return nil, err
	}
	if err := d.login(c, b, password); err != nil {
		return nil, err
	}
	if d.Limit > 0 {
		c.SetLimit(d.Limit)
	}
	c.Seq = 0
	return b, nil
}

// agree settles the capabilities.
func (d Dial) agree(b *Backend) error {
	g := b.Greeting
	want := d.Caps | CapProtocol41 | CapSecureConnection | CapPluginAuth
	if d.Schema != "" {
		want |= CapConnectWithDB
	} else {
		want &^= CapConnectWithDB
	}
	if len(d.Attrs) > 0 {
		want |= CapConnectAttrs
	} else {
		want &^= CapConnectAttrs
	}
	want &^= CapSSL | CapPluginAuthLenenc
	want |= g.Caps & CapPluginAuthLenenc
	// Nothing is negotiated about these: they only say what the client does.
	silent := CapLongPassword | CapLongFlag | CapODBC | CapIgnoreSigpipe | CapInteractive | CapNoSchema | CapReserved | CapExpiredPasswords
	missing := want &^ g.Caps &^ silent &^ d.Optional
	ext := d.Ext &^ g.Ext
	if missing != 0 || ext != 0 {
		return &MissingError{Server: d.Address, Missing: missing, Ext: ext}
	}
	b.Caps = want & (g.Caps | silent)
	b.Ext = d.Ext
	return nil
}

func (d Dial) login(c *Conn, b *Backend, password string) error {
	l := Login{Caps: b.Caps, Ext: b.Ext, MaxPacket: d.MaxPacket, Charset: d.Charset, User: d.User, Schema: d.Schema, Attrs: d.Attrs}
	encrypted, err := d.startTLS(c, b, &l)
	if err != nil {
		return err
	}
	b.Caps = l.Caps
	plugin, salt := b.Greeting.Plugin, b.Greeting.Salt[:]
	if plugin != NativePassword && plugin != CachingSHA2 {
		plugin = NativePassword // the server switches to what the account has
	}
	l.Plugin = plugin
	if l.Auth, err = Scramble(plugin, password, salt); err != nil {
		return err
	}
	if err := c.WritePacket(l.Append(nil)); err != nil {
		return err
	}
	for range 8 { // a login takes no more turns than that
		payload, err := c.ReadPacket()
		if err != nil {
			return fmt.Errorf("read the answer to the login: %w", err)
		}
		if len(payload) == 0 {
			return malformed("empty answer to the login")
		}
		switch payload[0] {
		case headerOK:
			ok, err := ParseOK(bytes.Clone(payload), b.Caps)
			b.Welcome = ok
			return err
		case headerERR:
			refused, err := ParseERR(payload)
			if err != nil {
				return err
			}
			return refused
		case headerAuthSwitch:
			s, err := ParseAuthSwitch(payload)
			if err != nil {
				return err
			}
			plugin, salt = s.Plugin, bytes.Clone(s.Salt)
			var answer []byte
			if plugin == ClearPassword && encrypted {
				answer = append([]byte(password), 0)
			} else if answer, err = Scramble(plugin, password, salt); err != nil {
				return err
			}
			if err := c.WritePacket(answer); err != nil {
				return err
			}
		case headerAuthMore:
			if plugin != CachingSHA2 || len(payload) < 2 {
				return malformed("more authentication data than the method has")
			}
			if err := sha2More(c, payload[1:], password, salt, encrypted); err != nil {
				return err
			}
		default:
			return malformed("answer to the login")
		}
	}
	return malformed("a login without end")
}

// sha2More answers what caching_sha2_password asks.
func sha2More(c *Conn, data []byte, password string, salt []byte, encrypted bool) error {
	switch {
	case data[0] == sha2FastOK:
		return nil
	case data[0] == sha2Full && encrypted:
		return c.WritePacket(append([]byte(password), 0))
	case data[0] == sha2Full:
		return c.WritePacket([]byte{sha2RequestKey})
	case data[0] == '-': // the public key
		hidden, err := encryptPassword(password, salt, data)
		if err != nil {
			return err
		}
		return c.WritePacket(hidden)
	}
	return malformed("caching_sha2_password")
}

// startTLS upgrades the connection if the mode wants it.
func (d Dial) startTLS(c *Conn, b *Backend, l *Login) (bool, error) {
	has := b.Greeting.Caps&CapSSL != 0
	switch {
	case d.TLSMode == TLSOff || d.TLSMode == "" || d.TLSMode == TLSPreferred && !has:
		return false, nil
	case !has:
		return false, fmt.Errorf("server %s has no TLS, but mode %s wants it", d.Address, d.TLSMode)
	}
	l.Caps |= CapSSL
	if err := c.WritePacket(l.AppendSSLRequest(nil)); err != nil {
		return false, err
	}
	cfg, err := d.tlsConfig()
	if err != nil {
		return false, err
	}
	var tc *tls.Conn
	c.Encrypt(func(nc net.Conn) net.Conn {
		tc = tls.Client(nc, cfg)
		return tc
	})
	if err := tc.Handshake(); err != nil { // bounded by the deadline
		return false, fmt.Errorf("TLS with %s: %w", d.Address, err)
	}
	return true, nil
}

func (d Dial) tlsConfig() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.TLS != nil {
		cfg = d.TLS.Clone()
	}
	host, _, err := net.SplitHostPort(d.Address)
	if err != nil {
		return nil, err
	}
	switch d.TLSMode {
	case TLSVerifyFull:
		cfg.ServerName = host
	case TLSVerifyCA:
		roots := cfg.RootCAs
		cfg.InsecureSkipVerify = true // the chain is checked below, the name is not
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return verifyChain(s, roots) }
	default:
		cfg.InsecureSkipVerify = true
	}
	return cfg, nil
}

// Bound makes the context's deadline and its end cut reads and writes short. The returned function lifts that, and tells
// whether the context ended meanwhile.
func (c *Conn) Bound(ctx context.Context) (release func() error) {
	if ctx.Done() == nil {
		return func() error { return nil }
	}
	nc := c.nc
	if t, ok := ctx.Deadline(); ok {
		nc.SetDeadline(t)
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })
	return func() error {
		if !stop() {
			return ctx.Err()
		}
		nc.SetDeadline(time.Time{})
		return nil
	}
}
