package config_test

import (
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// agentFile is the shape of a document: the keys, and what holds for each value alone.
type agentFile struct {
	Name        string        `yaml:"name" rule:"required name" doc:"the agent's name" example:"agent-1"`
	Environment string        `yaml:"environment" rule:"required name" doc:"the environment that it works for" example:"qa"`
	Server      string        `yaml:"server" rule:"required url" doc:"base URL of the server's API" example:"https://windlass.example.test:8480"`
	Poll        time.Duration `yaml:"poll" rule:"min=100ms max=1m" doc:"how often it asks for work" example:"2s"`
	Lease       time.Duration `yaml:"lease" rule:"min=1s max=10m" doc:"how long it may work without a word" example:"30s"`
}

// agent is what the package works with.
type agent struct {
	Name, Environment, Server string
	Poll, Lease               time.Duration
}

// agentKind describes the kind of document: defaults, and what concerns several values.
func agentKind() config.Kind {
	defaults := func() agentFile { return agentFile{Poll: 2 * time.Second, Lease: 30 * time.Second} }
	return config.Define("Agent", "one agent", defaults, func(f *agentFile, r *config.Report) agent {
		if f.Lease < 3*f.Poll {
			r.At("poll").Problem(config.CodeContradiction, "a lease would end before it is asked for again",
				"write at most a third of the lease: "+config.FormatDuration(f.Lease/3))
		}
		return agent(*f)
	})
}

func Example() {
	a, _, err := config.One[agent](config.Source{Name: "agent.yaml", Text: []byte(`
kind: Agent
version: 1
name: agent-1
environment: qa
server: https://windlass.example.test:8480
lease: 1m30s
`)}, agentKind())
	fmt.Println(a.Name, a.Poll, a.Lease, err)

	_, _, err = config.One[agent](config.Source{Name: "agent.yaml", Text: []byte(`kind: Agent
version: 1
name: Agent 1
enviroment: qa
server: windlass.example.test
lease: 30
poll: 20s
`)}, agentKind())
	fmt.Println(err)
	// Output:
	// agent-1 2s 1m30s <nil>
	// agent.yaml:3:7: name: "Agent 1" is not a name of a-z, 0-9 and "-" that begins with a letter, of at most 63 characters
	//      3 | name: Agent 1
	//        |       ^
	//        write a name of a-z, 0-9 and "-" that begins with a letter, of at most 63 characters, such as "name: agent-1"
	// agent.yaml:4:1: enviroment: there is no key "enviroment" here
	//      4 | enviroment: qa
	//        | ^
	//        did you mean "environment"?
	// agent.yaml:5:9: server: "windlass.example.test" is not an http:// or https:// URL
	//      5 | server: windlass.example.test
	//        |         ^
	//        write an absolute URL, such as "server: https://windlass.example.test:8480"
	// agent.yaml:6:8: lease: "30" is not a duration: the unit is missing
	//      6 | lease: 30
	//        |        ^
	//        write a number with its unit: 500ms, 30s, 15m, 4h, 2d, 1w, or several of them (1h30m)
	// agent.yaml:7:7: poll: a lease would end before it is asked for again
	//      7 | poll: 20s
	//        |       ^
	//        write at most a third of the lease: 10s
	// 5 problems
}
