// Package settings is the supervisor's file: where its work comes from, and how it reaches nodes, gateways and records; and how the nodes of
// engines are run, balanced and asked.
//
// The file itself holds no secret: it names files with one secret each, of mode 0600, which never leave the environment. Read
// tells everything that is wrong at once, with its line: keys and values first, then the secret files.
package settings

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// File is the shape of a supervisor's document. Read makes its paths absolute.
type File struct {
	Name        string        `yaml:"name" rule:"required name" doc:"the supervisor's name, unique in its environment" example:"prod-1"`
	Environment string        `yaml:"environment" rule:"required name" doc:"the one environment that it works in" example:"prod"`
	Slots       int           `yaml:"slots" rule:"min=0 max=1000" doc:"actions at once; absent: 4" example:"4"`
	WatchEvery  time.Duration `yaml:"watch_every" rule:"max=5m" doc:"from one look at every cluster to the next; a primary that was restarted waits that long; absent: 10s" example:"10s"`
	NoReopen    bool          `yaml:"no_reopen" doc:"a failover tool of yours opens primaries that were restarted, and Windlass opens none but those that it closed in a switch; absent: false" example:"true"`
	Server      Server        `yaml:"server" rule:"required" doc:"where the work comes from"`
	MySQL       MySQL         `yaml:"mysql" doc:"how the nodes of databases are reached"`
	Gateways    Gateways      `yaml:"gateways" doc:"how the gateways of databases are reached"`
	DNS         DNS           `yaml:"dns" doc:"where the databases' records are kept"`
	Replay      *Replay       `yaml:"replay" doc:"where captured queries are kept, and how they are replayed; absent: nothing can be replayed"`
	Seed        Seed          `yaml:"seed" doc:"how a new node gets its data"`
	Local       *Local        `yaml:"local" doc:"makes nodes and gateways on this machine; this or exec is needed"`
	Exec        *Exec         `yaml:"exec" doc:"a program of your own makes nodes and gateways; this or local is needed"`
	Engines     []Engine      `yaml:"engines" rule:"nonempty" doc:"engines behind load balancers, whose nodes are upgraded in groups; a supervisor that has no databases needs nothing else"`

	Databases bool // it drives databases, too
}

// Server is where the work comes from.
type Server struct {
	URL       string `yaml:"url" rule:"required url" doc:"base URL of the server" example:"https://windlass.example:8480"`
	TokenFile string `yaml:"token_file" rule:"required nonempty" doc:"file of mode 0600 with the supervisor's token" example:"/etc/windlass/token"`
	CAFile    string `yaml:"ca_file" rule:"nonempty" doc:"PEM file that the server's certificate must come from, and no other; absent: the system's roots" example:"/etc/windlass/ca.pem"`
}

// MySQL is how nodes are reached.
type MySQL struct {
	Admin       Account  `yaml:"admin" rule:"required" doc:"the supervisors' own account on every node"`
	Replication *Account `yaml:"replication" doc:"the account that replicas log in with; absent: admin"`
	Known       []string `yaml:"known_users" rule:"unique" doc:"accounts that may stay connected to a primary through a switch: monitoring, backup" example:"[backup]"`
}

// Account is a database account.
type Account struct {
	User         string `yaml:"user" rule:"required nonempty max=80" doc:"the account's name" example:"windlass"`
	PasswordFile string `yaml:"password_file" rule:"required nonempty" doc:"file of mode 0600 with its password" example:"/etc/windlass/password"`
}

// Gateways is how gateways are reached.
type Gateways struct {
	AdminTokenFile string `yaml:"admin_token_file" rule:"required nonempty" doc:"file of mode 0600 with the token of the gateways' admin API" example:"/etc/windlass/gateway-token"`
	MonitorUser    string `yaml:"monitor_user" rule:"required nonempty max=80" doc:"the account by which gateways ask servers for their role" example:"monitor"`
}

// DNS is where the clusters' records are kept.
type DNS struct {
	Server  string `yaml:"server" rule:"required hostport" doc:"the zone's primary name server" example:"127.0.0.1:53"`
	Zone    string `yaml:"zone" rule:"required fqdn" doc:"the zone of the clusters' records" example:"db.example."`
	KeyFile string `yaml:"key_file" rule:"required nonempty" doc:"file of mode 0600 with the TSIG key in BIND's form" example:"/etc/windlass/ddns.key"`
}

// Seed is how a new node gets its data, see docs/nodes.md.
type Seed struct {
	Limit   string `yaml:"limit" rule:"nonempty" doc:"largest size of tables and indexes that is copied over the network, in KiB, MiB, GiB or TiB; a larger cluster's nodes have to be restored by what makes them. Absent: 20GiB" example:"200GiB"`
	Writers int    `yaml:"writers" rule:"min=0 max=64" doc:"connections that write to a new node; absent: 4" example:"4"`
}

// Bytes is the limit; 0 if the file says none.
func (s Seed) Bytes() int64 {
	n, err := Size(s.Limit)
	if err != nil { // none is given: Read has refused all else
		return 0
	}
	return n
}

// Local makes nodes and gateways on this machine.
type Local struct {
	Root                string        `yaml:"root" rule:"required nonempty" doc:"folder of all nodes and gateways" example:"/var/lib/windlass"`
	InitSQLFile         string        `yaml:"init_sql_file" rule:"required nonempty" doc:"file of mode 0600 with the statements, one on each line, that make the accounts of a new node" example:"/etc/windlass/accounts.sql"`
	GatewayProgram      string        `yaml:"gateway_program" rule:"required nonempty" doc:"path of windlass-gateway" example:"/usr/bin/windlass-gateway"`
	GatewayPort         int           `yaml:"gateway_port" rule:"required min=1024 max=65000" doc:"port of every gateway's writer endpoint; the next two are its read-only endpoint's and its admin API's" example:"13306"`
	GatewayAccountsFile string        `yaml:"gateway_accounts_file" rule:"required nonempty" doc:"file of mode 0600 that says who may log in at the gateways" example:"/etc/windlass/accounts.yaml"`
	MonitorPasswordFile string        `yaml:"monitor_password_file" rule:"required nonempty" doc:"file of mode 0600 with the password of gateways.monitor_user" example:"/etc/windlass/monitor"`
	CaptureEvery        time.Duration `yaml:"capture_every" rule:"max=10m" doc:"how often a gateway that captures ends a file, which is then replayed; absent: 10s" example:"10s"`
	NodeOptions         []string      `yaml:"node_options" doc:"more server options of every node" example:"[innodb-buffer-pool-size=64M]"`
}

// Exec is a program that makes nodes and gateways, see docs/exec-driver.md.
type Exec struct {
	Command        []string          `yaml:"command" rule:"required nonempty" doc:"the program and its arguments; a relative path begins at this file's folder" example:"[/usr/local/bin/our-nodes, --region, eu]"`
	Dir            string            `yaml:"dir" rule:"nonempty" doc:"folder that the program runs in; absent: this file's folder" example:"/var/lib/our-nodes"`
	Env            map[string]string `yaml:"env" doc:"the program's environment, beside PATH, HOME, USER, LANG, TZ and TMPDIR; nothing else is handed on" example:"{OUR_REGION: eu}"`
	SecretEnv      map[string]string `yaml:"secret_env" rule:"nonempty" doc:"more environment, each value read from a file of mode 0600 at every call, and hidden in what the program says" example:"{OUR_TOKEN: /etc/windlass/our-token}"`
	ObserveTimeout time.Duration     `yaml:"observe_timeout" rule:"min=100ms max=10m" doc:"longest observe; then the program's whole process group is ended" example:"30s"`
	ChangeTimeout  time.Duration     `yaml:"change_timeout" rule:"min=1s max=24h" doc:"longest create or delete" example:"10m"`
	Grace          time.Duration     `yaml:"grace" rule:"min=10ms max=5m" doc:"time between SIGTERM and SIGKILL" example:"5s"`
}

// The time limits of the exec driver where the file names none.
const (
	DefaultObserveTimeout = 30 * time.Second
	DefaultChangeTimeout  = 10 * time.Minute
	DefaultGrace          = 5 * time.Second
)

// Kind is the supervisor's kind of document. Its objects are of type File, with paths as they are written.
func Kind() config.Kind {
	return config.Define("Supervisor", "one environment's agent: where its work comes from, and how it reaches nodes, gateways and records", nil, build)
}

// build looks at what concerns several keys, and fills in what was left out.
func build(f *File, r *config.Report) File {
	if u, err := url.Parse(f.Server.URL); err == nil && u.Scheme == "http" && f.Server.CAFile != "" {
		r.At("server", "ca_file").Problem(config.CodeContradiction, "server.url has no TLS: no certificate would be looked at", "begin server.url with https://, or leave ca_file out")
	}
	buildEngines(f.Engines, r.At("engines"))
	local, exec := r.At("local").Given(), r.At("exec").Given()
	if f.Databases = local || exec || !r.At("engines").Given(); !f.Databases {
		for _, key := range []string{"mysql", "gateways", "dns", "seed", "replay"} {
			f.Databases = f.Databases || r.At(key).Given()
		}
	}
	if f.Databases {
		for _, need := range []struct{ key, what string }{{"mysql", "how the nodes of databases are reached"}, {"gateways", "how the gateways of databases are reached"}, {"dns", "where the databases' records are kept"}} {
			if at := r.At(need.key); !at.Given() {
				at.Problem(config.CodeMissing, fmt.Sprintf("the key %q is missing", need.key), fmt.Sprintf("add %q with a mapping: %s; a supervisor of engines alone has only \"engines\"", need.key, need.what))
			}
		}
	}
	switch {
	case !f.Databases:
	case local && exec:
		r.At("exec").KeyProblem(config.CodeContradiction, "there is local, too, and only one of them can make the nodes", "keep one of local and exec")
	case !local && !exec:
		r.At().Problem(config.CodeMissing, "nothing says how nodes and gateways are made", "add local, which makes them on this machine, or exec, which calls a program of yours (docs/exec-driver.md)")
	}
	if at := r.At("seed", "limit"); f.Seed.Limit != "" && !at.Bad() {
		const least = 1 << 20
		switch n, err := Size(f.Seed.Limit); {
		case err != nil:
			at.Problem(config.CodeValue, err.Error(), "write a size such as \"limit: 200GiB\"")
		case n < least:
			at.Problem(config.CodeValue, f.Seed.Limit+" is too small: not even an empty table would be copied", "write at least 1MiB, or leave it out for 20GiB")
		}
	}
	if f.Exec != nil {
		f.Exec.build(r.At("exec"))
	}
	if f.Replay != nil {
		f.Replay.build(r.At("replay"))
	}
	return *f
}

var (
	variable    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	secretWords = regexp.MustCompile(`(?i)^--?[a-z-]*(password|passwd|secret|token|api-?key)=.`)
)

func (e *Exec) build(at config.Spot) {
	if len(e.Command) > 0 && strings.TrimSpace(e.Command[0]) == "" {
		at.At("command").Problem(config.CodeValue, "the program has no name", "write its path first, such as \"command: [/usr/local/bin/our-nodes, --region, eu]\"")
	}
	for i, word := range e.Command {
		if secretWords.MatchString(word) {
			option, _, _ := strings.Cut(word, "=")
			at.At("command", i).Problem(config.CodeValue, option+" looks like a secret, and would stand in every process list", "put it into a file of mode 0600, and name the file in exec.secret_env")
		}
	}
	checkVariables(at, e.Env, e.SecretEnv, nil)
	for limit, otherwise := range map[*time.Duration]time.Duration{&e.ObserveTimeout: DefaultObserveTimeout, &e.ChangeTimeout: DefaultChangeTimeout, &e.Grace: DefaultGrace} {
		if *limit == 0 {
			*limit = otherwise
		}
	}
}

// checkVariables looks at the keys env and secret_env beside each other. known are the placeholders that values of env may have; nil: braces mean
// nothing there.
func checkVariables(at config.Spot, env, secret map[string]string, known []string) {
	for section, values := range map[string]map[string]string{"env": env, "secret_env": secret} {
		for name, value := range values {
			spot := at.At(section, name)
			switch {
			case !variable.MatchString(name):
				spot.KeyProblem(config.CodeValue, fmt.Sprintf("%q can't be a variable's name", name), "use A-Z, a-z, 0-9 and _, and begin with no digit")
			case strings.HasPrefix(name, "WINDLASS_CALL"):
				spot.KeyProblem(config.CodeValue, name+" is set by Windlass itself", "choose another name")
			case strings.ContainsRune(value, 0):
				spot.Problem(config.CodeValue, "a variable's value can't hold a zero byte", "leave it out")
			case section == "secret_env" && strings.TrimSpace(value) == "":
				spot.Problem(config.CodeMissing, "this is empty", "write the path of a file of mode 0600 that holds the value")
			case section == "secret_env":
				if _, twice := env[name]; twice {
					spot.KeyProblem(config.CodeContradiction, name+" is in env, too", "keep one of the two")
				}
				if known != nil {
					checkText(spot, value, ofCluster)
				}
			case known != nil:
				checkText(spot, value, known)
			}
		}
	}
}

// Clear reports whether the token would travel in clear text to another machine.
func (s Server) Clear() bool {
	u, err := url.Parse(s.URL)
	return err == nil && u.Scheme == "http" && !slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, u.Hostname())
}
