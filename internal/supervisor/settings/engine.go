package settings

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/schema"
)

// Engine is how the nodes of one product are run, asked and given requests, and how their database is reached. Its texts may have
// placeholders: {env} and {cluster} everywhere; where it is about a node {node}, {address}, {host}, {port} and {zone} too; {version} and {term}
// where something is started. A doubled bracket stands for itself.
type Engine struct {
	Product  string          `yaml:"product" rule:"required name" doc:"the product of the clusters whose nodes these are" example:"jobs"`
	Versions []EngineVersion `yaml:"versions" rule:"required nonempty" doc:"what belongs to each version: at least to the one that runs, and to the next"`
	Run      EngineRun       `yaml:"run" rule:"required" doc:"what starts and stops nodes: local, systemd or commands"`
	Health   Probe           `yaml:"health" rule:"required" doc:"asks a node whether it can serve"`
	Version  Probe           `yaml:"version" rule:"required" doc:"asks a node for its version"`
	Balancer EngineBalancer  `yaml:"balancer" rule:"required" doc:"who gives the nodes requests"`
	Database EngineDatabase  `yaml:"database" rule:"required" doc:"the database that the nodes share"`
	Features *EngineFeatures `yaml:"features" doc:"how nodes are asked for features; absent: nothing but the table windlass_features is looked at"`
}

// EngineVersion is what belongs to one version.
type EngineVersion struct {
	Version    string            `yaml:"version" rule:"required version" doc:"its numbers; 1.1 is also that of a node that says 1.1.4" example:"1.1"`
	Command    []string          `yaml:"command" rule:"nonempty" doc:"for run.local: the program and its arguments" example:"[/opt/jobs/1.1/jobs, --listen, \"{address}\"]"`
	Env        map[string]string `yaml:"env" doc:"more environment of what is started" example:"{PGAPPNAME: \"jobs-{node}\"}"`
	SecretEnv  map[string]string `yaml:"secret_env" rule:"nonempty" doc:"more environment, each value read from a file of mode 0600 at every start" example:"{JOBS_DSN: /etc/windlass/jobs-dsn}"`
	Migrations string            `yaml:"migrations" rule:"required nonempty" doc:"folder of the schema's migrations up to this version, from the first one on" example:"/opt/jobs/1.1/migrations"`
	Statements string            `yaml:"statements" rule:"nonempty" doc:"file of statements that this version's nodes make: they are tried on the next version's schema" example:"/opt/jobs/1.1/statements.sql"`
	Features   map[string]string `yaml:"features" rule:"nonempty" doc:"how uses of this version's features are counted where the product's file names the feature alone: by its name, a query" example:"{priorities: SELECT COUNT(*) FROM job WHERE priority <> 0}"`
}

// EngineRun says what starts and stops nodes.
type EngineRun struct {
	Local       *EngineLocal    `yaml:"local" doc:"as processes of this machine"`
	Systemd     *EngineSystemd  `yaml:"systemd" doc:"as units of systemd, here or over ssh"`
	Commands    *EngineCommands `yaml:"commands" doc:"by commands of yours"`
	StartWithin time.Duration   `yaml:"start_within" rule:"max=1d" doc:"how long the start of a node may take, before what starts it is ended; absent: 2m" example:"2m"`
	StopWithin  time.Duration   `yaml:"stop_within" rule:"max=1d" doc:"how long a node gets to end by itself, before it is killed, or what stops it is ended; absent: 1m" example:"1m"`
}

// EngineLocal runs nodes as processes.
type EngineLocal struct {
	Root    string `yaml:"root" rule:"required nonempty" doc:"folder of the nodes' pids and logs" example:"/var/lib/windlass-engines"`
	PIDFile string `yaml:"pid_file" rule:"nonempty" doc:"where nodes that run already, because somebody else started them, have their pid, and nothing but it" example:"\"/run/jobs/{node}.pid\""`
}

// EngineSystemd runs nodes as units.
type EngineSystemd struct {
	Unit string   `yaml:"unit" rule:"required nonempty" doc:"the unit of a node on a version" example:"\"jobs-{version}@{node}.service\""`
	Any  string   `yaml:"any" rule:"required nonempty" doc:"the node's unit on whichever version, as systemctl takes it" example:"\"jobs-*@{node}.service\""`
	SSH  []string `yaml:"ssh" rule:"nonempty" doc:"what goes before systemctl, to reach the node's machine; absent: nothing" example:"[ssh, -oBatchMode=yes, \"{host}\"]"`
}

// EngineCommands runs nodes by commands.
type EngineCommands struct {
	Running []string `yaml:"running" rule:"required nonempty" doc:"ends with 0 if the node's process is there, with 3 if not; anything else is unknown" example:"[/usr/local/bin/our-jobs, running, \"{node}\"]"`
	Start   []string `yaml:"start" rule:"required nonempty" doc:"starts the node, and returns when its process is there" example:"[/usr/local/bin/our-jobs, start, \"{node}\", \"{version}\"]"`
	Stop    []string `yaml:"stop" rule:"required nonempty" doc:"stops the node, and returns when its process is gone" example:"[/usr/local/bin/our-jobs, stop, \"{node}\"]"`
}

// Probe is one question to a node: exactly one of http, grpc, tcp and command.
type Probe struct {
	HTTP    string        `yaml:"http" rule:"nonempty" doc:"URL that has to answer with 200" example:"\"http://{address}/health\""`
	GRPC    string        `yaml:"grpc" rule:"nonempty" doc:"gRPC's health service, which has to answer SERVING: grpc://HOST:PORT/SERVICE, or grpcs:// with TLS; without a service the whole server" example:"\"grpc://{address}\""`
	TCP     string        `yaml:"tcp" rule:"nonempty" doc:"host and port that have to take a connection" example:"\"{address}\""`
	Command []string      `yaml:"command" rule:"nonempty" doc:"command that has to end with 0" example:"[/usr/local/bin/our-jobs, version, \"{node}\"]"`
	JSON    string        `yaml:"json" rule:"nonempty" doc:"of the answer, the text or number at this path; absent: all of it" example:"build.version"`
	Says    string        `yaml:"says" rule:"nonempty" doc:"for health: what the answer, or what stands at json, has to be; absent: anything" example:"UP"`
	Timeout time.Duration `yaml:"timeout" rule:"max=5m" doc:"absent: 5s" example:"5s"`
}

// EngineBalancer says who gives the nodes requests.
type EngineBalancer struct {
	HAProxy  *EngineHAProxy          `yaml:"haproxy" doc:"an HAProxy, by its runtime socket"`
	Nginx    *EngineNginx            `yaml:"nginx" doc:"an nginx of this machine, by a file with its upstream, and a reload"`
	Commands *EngineBalancerCommands `yaml:"commands" doc:"any other, by commands of yours"`
}

// EngineBalancerCommands is a load balancer by commands.
type EngineBalancerCommands struct {
	Observe []string      `yaml:"observe" rule:"required nonempty" doc:"writes JSON that says of every node whether it is up and admitted, its weight and its sessions (docs/engines.md)" example:"[/usr/local/bin/our-balancer, observe, \"{cluster}\"]"`
	Drain   []string      `yaml:"drain" rule:"required nonempty" doc:"sends the node nothing new" example:"[/usr/local/bin/our-balancer, drain, \"{node}\", \"{term}\"]"`
	Cut     []string      `yaml:"cut" rule:"required nonempty" doc:"ends what is on the node" example:"[/usr/local/bin/our-balancer, cut, \"{node}\", \"{term}\"]"`
	Admit   []string      `yaml:"admit" rule:"required nonempty" doc:"gives the node requests, with {percent} of its weight" example:"[/usr/local/bin/our-balancer, admit, \"{node}\", \"{percent}\", \"{term}\"]"`
	Timeout time.Duration `yaml:"timeout" rule:"max=1h" doc:"of one command, before it is ended; absent: 30s" example:"30s"`
}

// EngineHAProxy is one HAProxy.
type EngineHAProxy struct {
	Socket       string        `yaml:"socket" rule:"required nonempty" doc:"the runtime socket, at the level admin: unix:PATH or tcp:HOST:PORT" example:"\"unix:/run/haproxy/admin.sock\""`
	Backend      string        `yaml:"backend" rule:"required nonempty" doc:"the backend, with a server of every node's name" example:"\"{cluster}\""`
	Timeout      time.Duration `yaml:"timeout" rule:"max=5m" doc:"of one command; absent: 5s" example:"5s"`
	ReloadWithin time.Duration `yaml:"reload_within" rule:"max=1d" doc:"how long after a reload the process from before may serve what it has: HAProxy's hard-stop-after, and no less than drain_within; absent: 5m" example:"5m"`
}

// EngineNginx is one nginx.
type EngineNginx struct {
	File     string        `yaml:"file" rule:"required nonempty" doc:"file with the upstream alone, included by nginx's own; its folder has to be writable" example:"/etc/nginx/windlass/{cluster}.conf"`
	Upstream string        `yaml:"upstream" rule:"required nonempty" doc:"the upstream's name" example:"\"{cluster}\""`
	PIDFile  string        `yaml:"pid_file" rule:"required nonempty" doc:"of the master process" example:"/run/nginx.pid"`
	Test     []string      `yaml:"test" rule:"nonempty" doc:"command that tests the configuration; absent: nginx -t" example:"[nginx, -t]"`
	Reload   []string      `yaml:"reload" rule:"nonempty" doc:"command that reloads it; absent: SIGHUP to the master" example:"[systemctl, reload, nginx]"`
	Timeout  time.Duration `yaml:"timeout" rule:"max=5m" doc:"of a test, and of a reload; absent: 30s" example:"30s"`
}

// EngineDatabase is the database that the nodes share.
type EngineDatabase struct {
	Dialect     string            `yaml:"dialect" rule:"required oneof=postgres|mysql" doc:"what it speaks; MariaDB speaks mysql" example:"postgres"`
	DSNFile     string            `yaml:"dsn_file" rule:"required nonempty" doc:"file of mode 0600 with the data source name, of an account that may change the schema and see everybody's connections" example:"/etc/windlass/jobs-database"`
	Connections EngineConnections `yaml:"connections" rule:"required" doc:"what tells the connections of one node from those of another"`
	DevDSNFile  string            `yaml:"dev_dsn_file" rule:"nonempty" doc:"file of mode 0600 with the data source name of a development server of the same version; absent: one is started for each check, and ended" example:"/etc/windlass/dev-database"`
	Allow       []string          `yaml:"allow" rule:"unique" doc:"rules of docs/schema.md whose findings do not hold the campaign" example:"[add-foreign-key]"`
	LockTimeout time.Duration     `yaml:"lock_timeout" rule:"max=1h" doc:"how long one try of a migration's statement waits for its lock; absent: 2s" example:"2s"`
	Tries       int               `yaml:"tries" rule:"min=0 max=1000" doc:"tries of each statement; absent: 10" example:"10"`
}

// EngineFeatures is how nodes are asked for features, see docs/engines.md.
type EngineFeatures struct {
	HTTP    string        `yaml:"http" rule:"nonempty" doc:"URL of a node: GET tells whether a version's features are open, PUT opens them; absent: the table alone tells and opens them" example:"\"http://{address}/features/{version}\""`
	Nodes   string        `yaml:"nodes" rule:"nonempty" doc:"URL of a node, before the endpoints of features that the product's file names" example:"\"http://{address}\""`
	Timeout time.Duration `yaml:"timeout" rule:"max=5m" doc:"of one request; absent: 5s" example:"5s"`
}

// EngineConnections tells nodes apart.
type EngineConnections struct {
	By    string `yaml:"by" rule:"required oneof=application|user|host" doc:"the name that the program gives, its database user, or the address that it comes from" example:"application"`
	Value string `yaml:"value" rule:"required nonempty" doc:"what that is for a node" example:"\"jobs-{node}\""`
}

// What may be filled into texts about a cluster, about a node, and about what is started.
var (
	ofCluster = []string{"env", "cluster"}
	ofNode    = append(slices.Clone(ofCluster), "node", "address", "host", "port", "zone")
	ofStart   = append(slices.Clone(ofNode), "version", "term")
)

// backendName is what HAProxy takes for a name, with placeholders.
var backendName = regexp.MustCompile(`^[A-Za-z0-9._:{}-]+$`)

var placeholder = regexp.MustCompile(`\{\{|\}\}|\{([^{}]*)\}?`)

// checkText finds a placeholder that means nothing there.
func checkText(at config.Spot, text string, known []string) {
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		if m[0] == "{{" || m[0] == "}}" || strings.HasSuffix(m[0], "}") && slices.Contains(known, m[1]) {
			continue
		}
		hint := "nothing is filled in here: remove it"
		if len(known) > 0 {
			hint = "write {" + strings.Join(known, "}, {") + "}, or {{ for a bracket"
		}
		at.Problem(config.CodeValue, fmt.Sprintf("%q has no meaning here", m[0]), hint)
	}
}

func checkTexts(at config.Spot, texts, known []string) {
	for i, text := range texts {
		checkText(at.At(i), text, known)
		if secretWords.MatchString(text) {
			option, _, _ := strings.Cut(text, "=")
			at.At(i).Problem(config.CodeValue, option+" looks like a secret, and would stand in every process list", "put it into a file of mode 0600, and name the file in secret_env")
		}
	}
}

// buildEngines looks at what concerns several keys.
func buildEngines(engines []Engine, at config.Spot) {
	for i := range engines {
		e, here := &engines[i], at.At(i)
		for j := range i {
			if engines[j].Product == e.Product && e.Product != "" {
				here.At("product").Problem(config.CodeDuplicate, fmt.Sprintf("the product %q is there twice; the first is in line %d", e.Product, at.At(j, "product").Line()), "keep one of the two: clusters of one product are driven alike, and {cluster} tells them apart")
			}
		}
		if fleet.IsDatabase(e.Product) {
			here.At("product").Problem(config.CodeContradiction, e.Product+" is a database: its nodes are reached by the keys mysql and gateways", "name the product of the engine, as the fleet file does")
		}
		e.build(here)
	}
}

func (e *Engine) build(at config.Spot) {
	r, run := e.Run, at.At("run")
	switch n := count(r.Local != nil, r.Systemd != nil, r.Commands != nil); {
	case run.Bad():
	case n == 0:
		run.Problem(config.CodeMissing, "nothing says what starts and stops nodes", "add one of local, systemd and commands")
	case n > 1:
		run.Problem(config.CodeContradiction, "several things would start and stop the same nodes", "keep one of local, systemd and commands")
	}
	if r.Local != nil {
		checkText(run.At("local", "pid_file"), r.Local.PIDFile, ofNode)
	}
	if s := r.Systemd; s != nil {
		checkText(run.At("systemd", "unit"), s.Unit, ofStart)
		checkText(run.At("systemd", "any"), s.Any, ofNode)
		checkTexts(run.At("systemd", "ssh"), s.SSH, ofNode)
	}
	if c := r.Commands; c != nil {
		checkTexts(run.At("commands", "running"), c.Running, ofNode)
		checkTexts(run.At("commands", "start"), c.Start, ofStart)
		checkTexts(run.At("commands", "stop"), c.Stop, append(slices.Clone(ofNode), "term"))
	}
	for i := range e.Versions {
		v, here := e.Versions[i], at.At("versions", i)
		for j := range i {
			if e.Versions[j].Version == v.Version && v.Version != "" {
				here.At("version").Problem(config.CodeDuplicate, fmt.Sprintf("version %s is there twice", v.Version), "remove one of the two")
			}
		}
		switch {
		case r.Local != nil && len(v.Command) == 0:
			here.Problem(config.CodeMissing, "nothing says how version "+v.Version+" is started", "add \"command\" with the program and its arguments: run.local starts it")
		case r.Local == nil && len(v.Command) > 0 && !run.Bad():
			here.At("command").Problem(config.CodeContradiction, "only run.local starts commands of a version", "remove it, or write {version} into what run starts")
		case r.Systemd != nil && len(v.Env)+len(v.SecretEnv) > 0:
			here.Problem(config.CodeContradiction, "the environment of a unit is its own: systemd hands none on", "remove env and secret_env, and write Environment= or LoadCredential= into the unit")
		}
		checkTexts(here.At("command"), v.Command, ofStart)
		checkVariables(here, v.Env, v.SecretEnv, ofStart)
	}
	for name, p := range map[string]Probe{"health": e.Health, "version": e.Version} {
		p.build(name, at.At(name))
	}
	for key, text := range map[string]string{"tcp": e.Version.TCP, "grpc": e.Version.GRPC} {
		if text != "" {
			at.At("version", key).Problem(config.CodeContradiction, "a node tells no version by it", "ask by http or command")
		}
	}
	if b := at.At("balancer"); b.Given() && !b.Bad() {
		switch count(b.At("haproxy").Given(), b.At("nginx").Given(), b.At("commands").Given()) {
		case 0:
			b.Problem(config.CodeMissing, "nothing says which load balancer it is", "add one of haproxy, nginx and commands")
		case 1:
		default:
			b.Problem(config.CodeContradiction, "several load balancers would give the same nodes requests, and only one would be drained", "keep one of haproxy, nginx and commands")
		}
	}
	if c := e.Balancer.Commands; c != nil {
		here, known := at.At("balancer", "commands"), append(slices.Clone(ofNode), "term")
		checkTexts(here.At("observe"), c.Observe, ofCluster)
		checkTexts(here.At("drain"), c.Drain, known)
		checkTexts(here.At("cut"), c.Cut, known)
		checkTexts(here.At("admit"), c.Admit, append(slices.Clone(known), "percent"))
	}
	if n := e.Balancer.Nginx; n != nil {
		here := at.At("balancer", "nginx")
		checkText(here.At("file"), n.File, ofCluster)
		checkText(here.At("upstream"), n.Upstream, ofCluster)
		checkText(here.At("pid_file"), n.PIDFile, ofCluster)
		checkTexts(here.At("test"), n.Test, nil)
		checkTexts(here.At("reload"), n.Reload, nil)
	}
	if h := e.Balancer.HAProxy; h != nil {
		here := at.At("balancer", "haproxy")
		if kind, rest, ok := strings.Cut(h.Socket, ":"); h.Socket != "" && (!ok || kind != "unix" && kind != "tcp" || rest == "") {
			here.At("socket").Problem(config.CodeValue, fmt.Sprintf("%q does not say how the socket is reached", h.Socket), "write unix:/run/haproxy/admin.sock or tcp:10.0.0.9:9999")
		} else if _, _, err := net.SplitHostPort(rest); kind == "tcp" && err != nil && !here.At("socket").Bad() {
			here.At("socket").Problem(config.CodeValue, fmt.Sprintf("%q has no port", h.Socket), "write tcp:HOST:PORT, as HAProxy's stats socket has it")
		}
		checkText(here.At("socket"), h.Socket, ofCluster)
		checkText(here.At("backend"), h.Backend, ofCluster)
		if h.Backend != "" && !here.At("backend").Bad() && !backendName.MatchString(h.Backend) {
			here.At("backend").Problem(config.CodeValue, fmt.Sprintf("%q can't be the name of a backend of HAProxy", h.Backend), "write the name after \"backend\" in HAProxy's configuration: letters, digits, and - _ . :")
		}
	}
	if f := e.Features; f != nil {
		if f.HTTP == "" && f.Nodes == "" && !at.At("features").Bad() {
			at.At("features").Problem(config.CodeMissing, "nothing says how a node is asked for its features", "add http, nodes, or both; without them leave features out")
		}
		checkText(at.At("features", "nodes"), f.Nodes, ofNode)
		if f.Nodes != "" && !at.At("features", "nodes").Bad() && !strings.HasPrefix(f.Nodes, "http://") && !strings.HasPrefix(f.Nodes, "https://") {
			at.At("features", "nodes").Problem(config.CodeValue, fmt.Sprintf("%q is no URL", f.Nodes), "write http://{address}, or https:// with TLS")
		}
		here := at.At("features", "http")
		checkText(here, f.HTTP, append(slices.Clone(ofNode), "version"))
		if f.HTTP != "" && !here.Bad() && !strings.Contains(f.HTTP, "{version}") {
			here.Problem(config.CodeMissing, "it does not say of which version", "write {version} into it: every version has features of its own")
		}
	}
	d := at.At("database")
	var ids []string
	for _, r := range schema.Rules() {
		ids = append(ids, r.ID)
	}
	for i, id := range e.Database.Allow {
		if here := d.At("allow", i); !here.Bad() && !slices.Contains(ids, id) {
			here.Problem(config.CodeReference, fmt.Sprintf("there is no rule %q", id), config.Meant(id, ids, "docs/schema.md lists them"))
		}
	}
	checkText(d.At("dsn_file"), e.Database.DSNFile, ofCluster)
	checkText(d.At("connections", "value"), e.Database.Connections.Value, ofNode)
	if v := e.Database.Connections.Value; v != "" && !strings.Contains(v, "{") && !d.At("connections", "value").Bad() {
		d.At("connections", "value").Problem(config.CodeValue, fmt.Sprintf("%q is the same for every node", v), "write {node}, or {host} if every node has a machine of its own: it has to tell one node's connections from another's")
	} else if before, _, _ := strings.Cut(v, "{"); e.Database.Dialect == "postgres" && e.Database.Connections.By != "host" && len(before) >= 63 && !d.At("connections", "value").Bad() {
		d.At("connections", "value").Problem(config.CodeValue, "PostgreSQL keeps 63 bytes of a name, which end before the first bracket: every node would be the same", "write {node} at the beginning")
	}
}

func (p Probe) build(what string, at config.Spot) {
	if at.Bad() || !at.Given() {
		return
	}
	switch n := count(at.At("http").Given(), at.At("grpc").Given(), at.At("tcp").Given(), at.At("command").Given()); n {
	case 1:
	case 0:
		at.Problem(config.CodeMissing, "nothing says how a node is asked for its "+what, "add one of http, grpc, tcp and command")
	default:
		at.Problem(config.CodeContradiction, fmt.Sprintf("a node is asked for its %s in %d ways", what, n), "keep one of http, grpc, tcp and command")
	}
	checkText(at.At("http"), p.HTTP, ofNode)
	checkText(at.At("tcp"), p.TCP, ofNode)
	checkText(at.At("grpc"), p.GRPC, ofNode)
	if p.GRPC != "" && !at.At("grpc").Bad() && !strings.HasPrefix(p.GRPC, "grpc://") && !strings.HasPrefix(p.GRPC, "grpcs://") {
		at.At("grpc").Problem(config.CodeValue, fmt.Sprintf("%q does not say how the node is reached", p.GRPC), "write grpc://{address}, or grpcs://{address} with TLS")
	}
	checkTexts(at.At("command"), p.Command, ofNode)
	p.reachable(at)
	switch says := at.At("says"); {
	case p.TCP+p.GRPC != "" && p.JSON != "":
		at.At("json").Problem(config.CodeContradiction, "neither a connection nor gRPC's health service answers JSON", "remove it, or ask by http or command")
	case p.TCP+p.GRPC != "" && p.Says != "":
		says.Problem(config.CodeContradiction, "neither a connection nor gRPC's health service says anything else", "remove it, or ask by http or command")
	case what == "health" && p.JSON != "" && p.Says == "" && !says.Bad():
		at.At("json").Problem(config.CodeMissing, "nothing says what has to stand there: a node that says that it is ill would be taken for healthy", "add \"says: UP\", or what yours says when it is well; without json the answer's status alone counts")
	case what == "version" && p.Says != "":
		says.Problem(config.CodeContradiction, "which version a node has to say is the campaign's word", "remove it")
	}
}

// reachable finds what no node can be reached by.
func (p Probe) reachable(at config.Spot) {
	if p.HTTP != "" && !at.At("http").Bad() && !strings.HasPrefix(p.HTTP, "http://") && !strings.HasPrefix(p.HTTP, "https://") {
		at.At("http").Problem(config.CodeValue, fmt.Sprintf("%q is no URL", p.HTTP), "write http://{address} and the path, or https:// with TLS")
	}
	if p.TCP != "" && !at.At("tcp").Bad() && !strings.Contains(p.TCP, "{address}") {
		if _, _, err := net.SplitHostPort(p.TCP); err != nil {
			at.At("tcp").Problem(config.CodeValue, fmt.Sprintf("%q has no port", p.TCP), "write \"{address}\", or \"{host}:PORT\"")
		}
	}
}

func count(all ...bool) (n int) {
	for _, one := range all {
		if one {
			n++
		}
	}
	return n
}

// from makes the engine's paths absolute. The engine that was given is left as it is.
func (e Engine) from(abs func(string) string, program func(string) string) Engine {
	e.Versions = slices.Clone(e.Versions)
	for i := range e.Versions {
		v := &e.Versions[i]
		if v.Command = slices.Clone(v.Command); len(v.Command) > 0 {
			v.Command[0] = program(v.Command[0])
		}
		v.Migrations, v.Statements = abs(v.Migrations), abs(v.Statements)
		files := make(map[string]string, len(v.SecretEnv))
		for name, path := range v.SecretEnv {
			files[name] = abs(path)
		}
		v.SecretEnv = files
	}
	if e.Run.Local != nil {
		e.Run.Local = &EngineLocal{Root: abs(e.Run.Local.Root), PIDFile: abs(e.Run.Local.PIDFile)}
	}
	if c := e.Run.Commands; c != nil {
		own := EngineCommands{Running: slices.Clone(c.Running), Start: slices.Clone(c.Start), Stop: slices.Clone(c.Stop)}
		for _, line := range [][]string{own.Running, own.Start, own.Stop} {
			line[0] = program(line[0])
		}
		e.Run.Commands = &own
	}
	for _, p := range []*Probe{&e.Health, &e.Version} {
		if p.Command = slices.Clone(p.Command); len(p.Command) > 0 {
			p.Command[0] = program(p.Command[0])
		}
	}
	if h := e.Balancer.HAProxy; h != nil {
		own := *h
		if path, ok := strings.CutPrefix(own.Socket, "unix:"); ok {
			own.Socket = "unix:" + abs(path)
		}
		e.Balancer.HAProxy = &own
	}
	if n := e.Balancer.Nginx; n != nil {
		own := *n
		own.File, own.PIDFile = abs(own.File), abs(own.PIDFile)
		own.Test, own.Reload = slices.Clone(own.Test), slices.Clone(own.Reload)
		for _, line := range [][]string{own.Test, own.Reload} {
			if len(line) > 0 {
				line[0] = program(line[0])
			}
		}
		e.Balancer.Nginx = &own
	}
	if c := e.Balancer.Commands; c != nil {
		own := *c
		for _, line := range []*[]string{&own.Observe, &own.Drain, &own.Cut, &own.Admit} {
			*line = slices.Clone(*line)
			(*line)[0] = program((*line)[0])
		}
		e.Balancer.Commands = &own
	}
	e.Database.DSNFile, e.Database.DevDSNFile = abs(e.Database.DSNFile), abs(e.Database.DevDSNFile)
	return e
}

// secrets are the engine's files; one whose path depends on the cluster is looked at when it is used.
func (e Engine) secrets(key string) (all []secretFile) {
	add := func(key, file string) {
		if file != "" && !strings.Contains(filepath.ToSlash(file), "{") {
			all = append(all, secretFile{key, file})
		}
	}
	for i, v := range e.Versions {
		for _, name := range slices.Sorted(maps.Keys(v.SecretEnv)) {
			add(fmt.Sprintf("%s.versions[%d].secret_env.%s", key, i, name), v.SecretEnv[name])
		}
	}
	add(key+".database.dsn_file", e.Database.DSNFile)
	add(key+".database.dev_dsn_file", e.Database.DevDSNFile)
	return all
}

// missing looks for the files that belong to versions.
func (e Engine) missing(key string) (found []config.Finding) {
	const begins = "; a relative path begins at this file's folder"
	for i, v := range e.Versions {
		at := fmt.Sprintf("%s.versions[%d].", key, i)
		if info, err := os.Stat(v.Migrations); err != nil || !info.IsDir() {
			found = append(found, config.Finding{Path: at + "migrations", Code: config.CodeReference, Message: "there is no folder " + v.Migrations, Hint: "name the folder with the migrations of " + v.Version + begins})
		}
		if v.Statements == "" {
			continue
		}
		if info, err := os.Stat(v.Statements); err != nil || info.IsDir() {
			found = append(found, config.Finding{Path: at + "statements", Code: config.CodeReference, Message: "there is no file " + v.Statements, Hint: "name a file with statements of " + v.Version + begins})
		}
	}
	return found
}
