package builds

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// archive is where this machine gets some of Debian's packages from.
type archive struct {
	uri    string
	fields []field // of its entry that hold for every suite of it, such as Signed-By or Trusted
	file   string  // where the entry is, for messages
}

// field is one of a deb822 stanza; its value may have several lines.
type field struct{ name, value string }

// mirrors are the archives that builds come from. Security is nil if the machine names none.
type mirrors struct{ main, security *archive }

// MirrorVariable names the environment variable with the address of a Debian mirror, for machines whose apt knows none.
const MirrorVariable = "WINDLASS_DEBIAN_MIRROR"

// ErrNoMirror means that apt's configuration names no Debian archive.
var ErrNoMirror = errors.New("no Debian mirror")

// entry is one stanza or line of apt's sources.
type entry struct {
	types, uris, suites, components []string
	enabled                         bool
	fields                          []field
	file                            string
}

// findMirrors takes Debian's own archives out of the machine's apt sources, in either format.
func findMirrors(etc string) (mirrors, error) {
	if uri := os.Getenv(MirrorVariable); uri != "" {
		return mirrors{main: &archive{uri: uri, file: "$" + MirrorVariable}}, nil
	}
	entries, err := readSources(etc)
	if err != nil {
		return mirrors{}, fmt.Errorf("read apt's sources: %w", err)
	}
	var m mirrors
	var best [2]int
	for _, e := range entries {
		main, security := e.rank()
		if main > best[0] {
			best[0], m.main = main, e.archive()
		}
		if security > best[1] {
			best[1], m.security = security, e.archive()
		}
	}
	if m.main == nil {
		return mirrors{}, fmt.Errorf("%w: %s/sources.list and sources.list.d name none (an entry of type deb, with the component main and a suite such as bookworm); set %s to the address of one, or install the servers yourself and use the exec driver", ErrNoMirror, etc, MirrorVariable)
	}
	return m, nil
}

// suites that only Debian has. The others, such as stable, are used by other archives too.
var codenames = []string{"bullseye", "bookworm", "trixie", "forky", "duke", "sid"}

// rank says how surely an entry is Debian's main archive, and its security archive: 0 is not. Other vendors' archives
// take Debian's suite names, or have "debian" in their address, but hardly both with Debian's key.
func (e entry) rank() (main, security int) {
	if !e.enabled || !slices.Contains(e.types, "deb") || !slices.Contains(e.components, "main") || len(e.uris) == 0 || strings.HasPrefix(e.uris[0], "cdrom:") {
		return 0, 0
	}
	sure := 0
	if strings.Contains(e.get("signed-by"), "debian-archive") {
		sure += 4
	}
	u, err := url.Parse(e.uris[0])
	if err != nil {
		return 0, 0
	}
	for part := range strings.SplitSeq(u.Path+u.Opaque, "/") {
		if part == "debian" || part == "debian-security" {
			sure += 2
			break
		}
	}
	for _, s := range e.suites {
		base, rest, _ := strings.Cut(s, "-")
		known := 0
		if slices.Contains(codenames, strings.TrimSuffix(base, "/updates")) {
			known = 1
		}
		switch {
		case rest == "security" || strings.HasSuffix(s, "/updates"):
			security = max(security, sure+known)
		case rest == "" && path.Clean(s) == s && !strings.Contains(s, "/"):
			main = max(main, sure+known)
		}
	}
	return main, security
}

func (e entry) get(name string) string {
	for _, f := range e.fields {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

func (e entry) archive() *archive { return &archive{uri: e.uris[0], fields: e.fields, file: e.file} }

// keyrings hold the keys of all of Debian's releases; an entry's own may hold those of one release.
var keyrings = []string{"/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"}

// stanza is the archive's entry for another suite.
func (a archive) stanza(suite string) string {
	uri := a.uri
	if rest, ok := strings.CutPrefix(uri, "file:"); ok {
		uri = "copy:" + rest // apt would use the files in their place instead of putting them into our folder
	}
	var b strings.Builder
	// Targets: no index but the packages', whatever else the machine is set up to read.
	fmt.Fprintf(&b, "Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nTargets: Packages\n", uri, suite)
	signed := false
	for _, f := range a.fields {
		value := f.value
		if strings.EqualFold(f.name, "signed-by") {
			signed = true
			if strings.Contains(value, "debian-archive") {
				value = allKeys(value)
			}
		}
		fmt.Fprintf(&b, "%s: %s\n", f.name, value)
	}
	if keys := allKeys(""); !signed && keys != "" {
		fmt.Fprintf(&b, "Signed-By: %s\n", keys)
	}
	return b.String()
}

func allKeys(otherwise string) string {
	for _, k := range keyrings {
		if _, err := os.Stat(k); err == nil {
			return k
		}
	}
	return otherwise
}

// readSources reads every entry. A file that can't be read is an error: it may hold the one that is wanted.
func readSources(etc string) ([]entry, error) {
	files, err := filepath.Glob(filepath.Join(etc, "sources.list.d", "*"))
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, f := range append([]string{filepath.Join(etc, "sources.list")}, files...) {
		var parse func(text string) []entry
		switch filepath.Ext(f) {
		case ".list":
			parse = parseLines
		case ".sources":
			parse = parseStanzas
		default:
			continue // apt ignores them too
		}
		text, err := os.ReadFile(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range parse(string(text)) {
			e.file = f
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// parseLines reads the one-line format: deb [option=value …] uri suite component …
func parseLines(text string) []entry {
	var entries []entry
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		if kind == "" || rest == "" {
			continue
		}
		e := entry{types: []string{kind}, enabled: true}
		if strings.HasPrefix(rest, "[") {
			options, after, ok := strings.Cut(rest[1:], "]")
			if !ok {
				continue
			}
			for o := range strings.FieldsSeq(options) {
				if k, v, ok := strings.Cut(o, "="); ok {
					e.keep(strings.TrimRight(k, "+-"), strings.ReplaceAll(v, ",", " "))
				}
			}
			rest = after
		}
		p := strings.Fields(rest)
		if len(p) < 2 {
			continue
		}
		e.uris, e.suites, e.components = p[:1], p[1:2], p[2:]
		entries = append(entries, e)
	}
	return entries
}

// parseStanzas reads the deb822 format.
func parseStanzas(text string) []entry {
	var entries []entry
	var fields []field
	flush := func() {
		if len(fields) > 0 {
			entries = append(entries, fromFields(fields))
		}
		fields = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n\t ")
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if n := len(fields); n > 0 {
				fields[n-1].value += "\n" + line
			}
		default:
			name, value, _ := strings.Cut(line, ":")
			fields = append(fields, field{name, strings.TrimSpace(value)})
		}
	}
	flush()
	return entries
}

func fromFields(fields []field) entry {
	e := entry{enabled: true}
	for _, f := range fields {
		list := strings.Fields(f.value)
		switch strings.ToLower(f.name) {
		case "types":
			e.types = list
		case "uris":
			e.uris = list
		case "suites":
			e.suites = list
		case "components":
			e.components = list
		case "enabled":
			e.enabled = !slices.Contains([]string{"no", "false", "0", "off", "without", "disable"}, strings.ToLower(cmp.Or(f.value, "yes")))
		default:
			e.keep(f.name, f.value)
		}
	}
	return e
}

// keep keeps a field that holds for other suites of the archive as well.
func (e *entry) keep(name, value string) {
	switch strings.ToLower(name) {
	case "architectures", "arch", "languages", "lang", "targets", "target", "pdiffs", "inrelease-path", "snapshot", "x-repolib-name", "description":
		return
	}
	e.fields = append(e.fields, field{name, value})
}
