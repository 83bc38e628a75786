package wire

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// The authentication methods that this package speaks. ClearPassword is sent over TLS only, and never asked for.
const (
	NativePassword = "mysql_native_password"
	CachingSHA2    = "caching_sha2_password"
	ClearPassword  = "mysql_clear_password"
)

// What caching_sha2_password says inside AuthMore packets.
const (
	sha2RequestKey = 2
	sha2FastOK     = 3
	sha2Full       = 4
)

// NewSalt makes random bytes for a login. None is NUL or '$', which old clients can't read.
func NewSalt() [SaltSize]byte {
	var s [SaltSize]byte
	rand.Read(s[:]) // never fails
	for i := range s {
		s[i] = s[i]&0x7f | 1
		if s[i] == '$' {
			s[i]++
		}
	}
	return s
}

// Scramble answers a salt with a password by a method: nothing for an empty password.
func Scramble(plugin, password string, salt []byte) ([]byte, error) {
	if password == "" {
		return nil, nil
	}
	switch plugin {
	case NativePassword:
		stage1 := sha1.Sum([]byte(password))
		stage2 := sha1.Sum(stage1[:])
		h := sha1.New()
		h.Write(salt)
		h.Write(stage2[:])
		return xorBytes(h.Sum(nil), stage1[:]), nil
	case CachingSHA2:
		stage1 := sha256.Sum256([]byte(password))
		stage2 := sha256.Sum256(stage1[:])
		h := sha256.New()
		h.Write(stage2[:])
		h.Write(salt)
		return xorBytes(h.Sum(nil), stage1[:]), nil
	}
	return nil, fmt.Errorf("authentication method %q is not supported: give the account %s or %s", plugin, NativePassword, CachingSHA2)
}

// Verify compares an answer with what the password gives, in constant time.
func Verify(plugin, password string, salt, answer []byte) bool {
	want, err := Scramble(plugin, password, salt)
	if plugin == CachingSHA2 && len(answer) == 1 && answer[0] == 0 {
		answer = nil // how that method sends an empty password after a switch
	}
	return err == nil && subtle.ConstantTimeCompare(want, answer) == 1
}

func xorBytes(a, b []byte) []byte {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}

// encryptPassword hides a password with the server's public key, as caching_sha2_password does without TLS.
func encryptPassword(password string, salt, publicPEM []byte) ([]byte, error) {
	block, _ := pem.Decode(publicPEM)
	if block == nil {
		return nil, malformed("the server's public key is not PEM")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the server's public key: %w", err)
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, malformed("the server's public key is not RSA")
	}
	plain := append([]byte(password), 0)
	for i := range plain {
		plain[i] ^= salt[i%len(salt)]
	}
	return rsa.EncryptOAEP(sha1.New(), rand.Reader, key, plain, nil)
}
