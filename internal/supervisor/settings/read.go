package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/windlass-db/windlass/internal/config"
)

// Read reads a supervisor's file and looks at every secret file that it names. Paths in what it returns are absolute;
// in the file they begin at the file's own folder. The error is a config.Problems, or that of opening the file.
func Read(file string) (File, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return File{}, fmt.Errorf("read the supervisor's file: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return File{}, fmt.Errorf("read the supervisor's file: %w", err)
	}
	f, object, err := config.One[File](config.Source{Name: file, Text: text}, Kind())
	if err != nil {
		return File{}, err
	}
	f = f.from(dir)
	var found []config.Finding
	for _, s := range f.secrets() {
		if _, err := Secret(s.file); err != nil {
			found = append(found, finding(s.key, s.file, err))
		}
	}
	for i, e := range f.Engines {
		found = append(found, e.missing(fmt.Sprintf("engines[%d]", i))...)
	}
	if len(found) > 0 {
		return File{}, object.Locate(found)
	}
	return f, nil
}

// from makes every path absolute. The file that was given is left as it is.
func (f File) from(dir string) File {
	abs := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	program := func(path string) string { // a bare name is looked for in PATH
		if !strings.ContainsRune(path, '/') {
			return path
		}
		return abs(path)
	}
	f.Server.TokenFile, f.Server.CAFile = abs(f.Server.TokenFile), abs(f.Server.CAFile)
	f.MySQL.Admin.PasswordFile = abs(f.MySQL.Admin.PasswordFile)
	if f.MySQL.Replication != nil {
		a := *f.MySQL.Replication
		a.PasswordFile = abs(a.PasswordFile)
		f.MySQL.Replication = &a
	}
	f.Gateways.AdminTokenFile, f.DNS.KeyFile = abs(f.Gateways.AdminTokenFile), abs(f.DNS.KeyFile)
	f.Engines = slices.Clone(f.Engines)
	for i := range f.Engines {
		f.Engines[i] = f.Engines[i].from(abs, program)
	}
	if f.Replay != nil {
		one := *f.Replay
		one.KeyFile, one.Account.PasswordFile = abs(one.KeyFile), abs(one.Account.PasswordFile)
		f.Replay = &one
	}
	if f.Local != nil {
		l := *f.Local
		for _, p := range []*string{&l.Root, &l.InitSQLFile, &l.GatewayAccountsFile, &l.MonitorPasswordFile} {
			*p = abs(*p)
		}
		l.GatewayProgram = program(l.GatewayProgram)
		f.Local = &l
	}
	if f.Exec != nil {
		e := *f.Exec
		e.Command = slices.Clone(e.Command)
		e.Command[0] = program(e.Command[0])
		if e.Dir = abs(e.Dir); e.Dir == "" {
			e.Dir = dir
		}
		files := make(map[string]string, len(e.SecretEnv))
		for name, path := range e.SecretEnv {
			files[name] = abs(path)
		}
		e.SecretEnv = files
		f.Exec = &e
	}
	return f
}

// secretFile is one file that only its owner may read, and the key that names it.
type secretFile struct{ key, file string }

func (f File) secrets() []secretFile {
	all := []secretFile{{"server.token_file", f.Server.TokenFile}}
	if f.Databases {
		all = append(all, secretFile{"mysql.admin.password_file", f.MySQL.Admin.PasswordFile}, secretFile{"gateways.admin_token_file", f.Gateways.AdminTokenFile}, secretFile{"dns.key_file", f.DNS.KeyFile})
	}
	for i, e := range f.Engines {
		all = append(all, e.secrets(fmt.Sprintf("engines[%d]", i))...)
	}
	if f.MySQL.Replication != nil {
		all = append(all, secretFile{"mysql.replication.password_file", f.MySQL.Replication.PasswordFile})
	}
	if f.Local != nil {
		all = append(all, secretFile{"local.init_sql_file", f.Local.InitSQLFile}, secretFile{"local.gateway_accounts_file", f.Local.GatewayAccountsFile},
			secretFile{"local.monitor_password_file", f.Local.MonitorPasswordFile})
	}
	if p := f.Replay; p != nil {
		all = append(all, secretFile{"replay.account.password_file", p.Account.PasswordFile})
		if p.KeyFile != "" {
			all = append(all, secretFile{"replay.key_file", p.KeyFile})
		}
	}
	if f.Exec != nil {
		for name, path := range f.Exec.SecretEnv {
			all = append(all, secretFile{"exec.secret_env." + name, path})
		}
	}
	return all
}

// OpenError means that a secret can be read by others than its owner.
type OpenError struct {
	Path string
	Mode fs.FileMode
}

// Error says which file.
func (e *OpenError) Error() string {
	return fmt.Sprintf("%s holds a secret and can be read by others (mode %04o)", e.Path, e.Mode)
}

// ErrorHint says what to do.
func (e *OpenError) ErrorHint() string { return "chmod 600 " + e.Path }

// ErrEmpty means that a secret's file holds nothing.
var ErrEmpty = errors.New("it is empty")

// Secret reads a file that only its owner may read, without the blanks around its text. The error never holds any of the text.
func Secret(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep us waiting
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of the file that is read, not of one that takes its place
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("read a secret: %s is no file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", &OpenError{path, info.Mode().Perm()}
	}
	const most = 1 << 20
	if info.Size() > most {
		return "", fmt.Errorf("read a secret: %s has %d bytes; the most is %d", path, info.Size(), most)
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return "", fmt.Errorf("read a secret: %w", err)
	}
	s := strings.TrimSpace(string(b))
	if s == "" {
		return "", fmt.Errorf("read the secret in %s: %w", path, ErrEmpty)
	}
	return s, nil
}

// finding says what is wrong with a secret's file, and what to do.
func finding(key, path string, err error) config.Finding {
	c := config.Finding{Path: key, Code: config.CodeReference, Message: err.Error(), Hint: "write the secret into it, and chmod 600 it"}
	var open *OpenError
	switch {
	case errors.As(err, &open):
		c.Hint = open.ErrorHint()
	case errors.Is(err, fs.ErrNotExist):
		c.Message, c.Hint = "there is no file "+path, "write the secret into it, and chmod 600 it; a relative path begins at this file's folder"
	}
	return c
}
