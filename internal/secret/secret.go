// Package secret makes random secrets, and keeps them in files that only their owner reads.
//
// A file is there whole or not at all, also after a kill: it is written beside its place and put there in one step. One that others could
// read is refused, since whatever is in it may be known to them already.
package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// most bounds what is read as a secret, in bytes.
const most = 64 << 10

// New is 32 random bytes in the base64 of URLs: 43 characters that need no escape anywhere.
func New() string { return base64.RawURLEncoding.EncodeToString(random()) }

// Password is 18 random bytes in the same form: 24 characters, since servers replicate with no password that is longer than 32.
func Password() string { return base64.RawURLEncoding.EncodeToString(random()[:18]) }

// Key is 32 random bytes in plain base64, as key files of other programs have it.
func Key() string { return base64.StdEncoding.EncodeToString(random()) }

func random() []byte {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return b[:]
}

// OpenError is a secret's file that others can read, or that holds no secret.
type OpenError struct {
	Path string
	What string
	Hint string
}

// Error says what is wrong with which file.
func (e *OpenError) Error() string { return e.Path + " " + e.What }

// ErrorHint says what to do.
func (e *OpenError) ErrorHint() string { return e.Hint }

// CreateFile writes the text and a line's end into a new file of mode 0600, in one step. If the file is there already, whoever wrote it, it
// stays as it is, and the error is fs.ErrExist.
func CreateFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = io.WriteString(f, text+"\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Link(f.Name(), path) // a rename would replace what another process has just put there
	}
	if errors.Is(err, fs.ErrExist) {
		return fs.ErrExist
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadFile reads a secret without the line's end. The error is an OpenError, or that of the file system.
func ReadFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", &OpenError{path, "is no file with a secret", "name a file that holds the secret alone"}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return "", &OpenError{path, fmt.Sprintf("can be read by others (mode %04o)", mode), "chmod 600 " + path + "; if others are on this machine, make a new secret"}
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", err
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", &OpenError{path, "is empty", "remove it, and a new one is made; or write the secret into it"}
	}
	return s, nil
}
