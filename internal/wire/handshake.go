package wire

import "encoding/binary"

// SaltSize is the length of the random bytes that a login is answered with.
const SaltSize = 20

// Greeting is the server's first packet, version 10.
type Greeting struct {
	Version  string
	ThreadID uint32
	Salt     [SaltSize]byte
	Caps     Capability
	Ext      ExtCapability // MariaDB's, sent where Caps lacks CapLongPassword
	Charset  byte
	Status   Status
	Plugin   string
}

// ParseGreeting reads a greeting's payload. A server that refuses at once sends ERR instead: *ServerError.
func ParseGreeting(payload []byte) (Greeting, error) {
	if len(payload) > 0 && payload[0] == headerERR {
		e, err := ParseERR(payload)
		if err != nil {
			return Greeting{}, err
		}
		return Greeting{}, e
	}
	c := NewCursor(payload)
	if c.Byte() != 10 {
		return Greeting{}, malformed("greeting is not version 10")
	}
	g := Greeting{Version: string(c.NulString()), ThreadID: c.Uint32()}
	copy(g.Salt[:8], c.Bytes(8))
	c.Skip(1)
	g.Caps = Capability(c.Uint16())
	g.Charset = c.Byte()
	g.Status = Status(c.Uint16())
	g.Caps |= Capability(c.Uint16()) << 16
	saltLen := int(c.Byte())
	c.Skip(6)
	if ext := ExtCapability(c.Uint32()); g.Caps&CapLongPassword == 0 {
		g.Ext = ext
	}
	if g.Caps&CapSecureConnection != 0 {
		copy(g.Salt[8:], c.Bytes(max(13, saltLen-8)))
	}
	if g.Caps&CapPluginAuth != 0 && c.Err() == nil {
		if c.Len() > 0 && c.b[c.Len()-1] == 0 { // old servers leave the NUL out
			g.Plugin = string(c.NulString())
		} else {
			g.Plugin = string(c.Rest())
		}
	}
	return g, c.Err()
}

// Append writes the greeting's payload.
func (g Greeting) Append(b []byte) []byte {
	b = append(b, 10)
	b = append(append(b, g.Version...), 0)
	b = binary.LittleEndian.AppendUint32(b, g.ThreadID)
	b = append(append(b, g.Salt[:8]...), 0)
	b = binary.LittleEndian.AppendUint16(b, uint16(g.Caps))
	b = append(b, g.Charset)
	b = binary.LittleEndian.AppendUint16(b, uint16(g.Status))
	b = binary.LittleEndian.AppendUint16(b, uint16(g.Caps>>16))
	b = append(b, SaltSize+1)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint32(b, uint32(g.Ext))
	b = append(append(b, g.Salt[8:]...), 0)
	return append(append(b, g.Plugin...), 0)
}

// Login is the client's answer to the greeting.
type Login struct {
	Caps      Capability
	Ext       ExtCapability
	MaxPacket uint32
	Charset   byte
	User      string
	Auth      []byte
	Schema    string
	Plugin    string
	Attrs     []byte // connection attributes as they came
}

// IsSSLRequest reports whether the packet asks for TLS: a login cut off before the user name.
func IsSSLRequest(payload []byte) bool {
	return len(payload) == 32 && Capability(binary.LittleEndian.Uint32(payload))&CapSSL != 0
}

// ParseLogin reads a login's payload; its byte slices point into it. Only protocol 4.1 is spoken.
func ParseLogin(payload []byte) (Login, error) {
	c := NewCursor(payload)
	l := Login{Caps: Capability(c.Uint32())}
	if c.Err() == nil && l.Caps&(CapProtocol41|CapSecureConnection) != CapProtocol41|CapSecureConnection {
		return Login{}, malformed("the client does not speak protocol 4.1 with secure authentication")
	}
	l.MaxPacket = c.Uint32()
	l.Charset = c.Byte()
	c.Skip(19)
	if ext := ExtCapability(c.Uint32()); l.Caps&CapLongPassword == 0 {
		l.Ext = ext
	}
	l.User = string(c.NulString())
	if l.Caps&CapPluginAuthLenenc != 0 {
		l.Auth = c.LenencBytes()
	} else {
		l.Auth = c.Bytes(int(c.Byte()))
	}
	if l.Caps&CapConnectWithDB != 0 && c.Len() > 0 {
		l.Schema = string(c.NulString())
	}
	if l.Caps&CapPluginAuth != 0 && c.Len() > 0 {
		l.Plugin = string(c.NulString())
	}
	if l.Caps&CapConnectAttrs != 0 && c.Len() > 0 {
		l.Attrs = c.LenencBytes()
	}
	return l, c.Err()
}

// AppendSSLRequest writes the request for TLS.
func (l Login) AppendSSLRequest(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(l.Caps))
	b = binary.LittleEndian.AppendUint32(b, l.MaxPacket)
	b = append(b, l.Charset)
	b = append(b, make([]byte, 19)...)
	return binary.LittleEndian.AppendUint32(b, uint32(l.Ext))
}

// Append writes the login's payload.
func (l Login) Append(b []byte) []byte {
	b = l.AppendSSLRequest(b)
	b = append(append(b, l.User...), 0)
	if l.Caps&CapPluginAuthLenenc != 0 {
		b = AppendLenencBytes(b, l.Auth)
	} else {
		b = append(append(b, byte(len(l.Auth))), l.Auth...)
	}
	if l.Caps&CapConnectWithDB != 0 {
		b = append(append(b, l.Schema...), 0)
	}
	if l.Caps&CapPluginAuth != 0 {
		b = append(append(b, l.Plugin...), 0)
	}
	if l.Caps&CapConnectAttrs != 0 {
		b = AppendLenencBytes(b, l.Attrs)
	}
	return b
}

// AuthSwitch asks the client to answer again, by another method.
type AuthSwitch struct {
	Plugin string
	Salt   []byte
}

// ParseAuthSwitch reads a request to switch.
func ParseAuthSwitch(payload []byte) (AuthSwitch, error) {
	c := NewCursor(payload)
	if c.Byte() != headerAuthSwitch {
		return AuthSwitch{}, malformed("not a request to switch the method")
	}
	if c.Len() == 0 {
		return AuthSwitch{}, malformed("the server asks for the password format of MySQL 3.23")
	}
	s := AuthSwitch{Plugin: string(c.NulString())}
	s.Salt = c.Rest()
	if n := len(s.Salt); n > 0 && s.Salt[n-1] == 0 {
		s.Salt = s.Salt[:n-1]
	}
	return s, c.Err()
}

// Append writes the request's payload.
func (s AuthSwitch) Append(b []byte) []byte {
	b = append(b, headerAuthSwitch)
	b = append(append(b, s.Plugin...), 0)
	return append(append(b, s.Salt...), 0)
}

// ChangeUser is COM_CHANGE_USER.
type ChangeUser struct {
	User, Schema, Plugin string
	Auth                 []byte
	Charset              byte
	Attrs                []byte
}

// ParseChangeUser reads a COM_CHANGE_USER payload, command byte included.
func ParseChangeUser(payload []byte, caps Capability) (ChangeUser, error) {
	c := NewCursor(payload)
	c.Skip(1)
	u := ChangeUser{User: string(c.NulString())}
	u.Auth = c.Bytes(int(c.Byte()))
	u.Schema = string(c.NulString())
	if c.Err() == nil && c.Len() >= 2 {
		u.Charset = byte(c.Uint16())
		if caps&CapPluginAuth != 0 && c.Len() > 0 {
			u.Plugin = string(c.NulString())
		}
		if caps&CapConnectAttrs != 0 && c.Len() > 0 {
			u.Attrs = c.LenencBytes()
		}
	}
	return u, c.Err()
}
