package builds

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"runtime"
)

// recipe says which packages of which suite make a build.
type recipe struct {
	Suite    string
	Security bool     // the suite has a security archive
	Packages []string // taken with everything that they depend on; the first one's version is the build's
	Alone    []string // taken without: their programs need only libraries that are there already
	Wants    string   // what the version has to begin with: suites move on
	Programs []string // that must find all their libraries in the folder
}

var recipes = map[string]recipe{
	"mariadb-10.11": mariadb("bookworm", "10.11."),
	"mariadb-11.8":  mariadb("trixie", "11.8."),
	"mysql-9.7": {Suite: "sid", Packages: []string{"mysql-server-core", "mysql-client-core"}, Wants: "9.7.",
		Programs: []string{"mysqld", "mysql", "mysqldump"}},
	"bind9": {Suite: "bookworm", Security: true, Packages: []string{"bind9", "bind9-utils"}, Wants: "9.",
		Programs: []string{"named", "tsig-keygen", "named-checkconf"}},
	"haproxy": {Suite: "bookworm", Security: true, Packages: []string{"haproxy"}, Wants: "2.",
		Programs: []string{"haproxy"}},
	"nginx": {Suite: "bookworm", Security: true, Packages: []string{"nginx"}, Wants: "1.",
		Programs: []string{"nginx"}},
	"sysbench": {Suite: "bookworm", Security: true, Packages: []string{"sysbench"}, Wants: "1.",
		Programs: []string{"sysbench"}},
	"openssh": {Suite: "bookworm", Security: true, Packages: []string{"openssh-server", "openssh-client"}, Wants: "9.",
		Programs: []string{"sshd", "ssh", "ssh-keygen"}},
	"systemd": {Suite: "bookworm", Security: true, Packages: []string{"systemd"}, Wants: "252",
		Programs: []string{"systemd", "systemctl"}},
	"postgresql-15": postgresql("bookworm", "15"),
	"postgresql-17": postgresql("trixie", "17"),
}

func postgresql(suite, version string) recipe {
	return recipe{Suite: suite, Security: true, Packages: []string{"postgresql-" + version}, Wants: version + ".", Programs: []string{"postgres", "initdb"}}
}

func mariadb(suite, version string) recipe {
	return recipe{Suite: suite, Security: true, Wants: version,
		Packages: []string{"mariadb-server-core", "mariadb-client-core"}, Alone: []string{"mariadb-client", "mariadb-backup"},
		Programs: []string{"mariadbd", "mariadb", "mariadb-dump", "mariadb-backup", "mariadb-upgrade", "mariadb-check"}}
}

// hash names the recipe, and how a folder is made of it, so that a change of either makes a new folder.
func (r recipe) hash() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and booleans alone
	}
	sum := sha256.Sum256(append(b, "\x00layout 2 "+runtime.GOARCH...))
	return hex.EncodeToString(sum[:4])
}

// machine says what Debian calls this kind of computer, and where its dynamic loader lies.
type machine struct{ arch, triplet, loader string }

var machines = map[string]machine{
	"amd64": {"amd64", "x86_64-linux-gnu", "ld-linux-x86-64.so.2"},
	"arm64": {"arm64", "aarch64-linux-gnu", "ld-linux-aarch64.so.1"},
}

func thisMachine() (machine, error) {
	m, ok := machines[runtime.GOARCH]
	if runtime.GOOS != "linux" || !ok {
		return machine{}, fmt.Errorf("servers are fetched for Linux on amd64 and arm64 only, this is %s on %s: install the servers yourself and use the exec driver", runtime.GOOS, runtime.GOARCH)
	}
	return m, nil
}
