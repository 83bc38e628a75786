package notify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/config"
)

// Config is the file of the sinks.
type Config struct {
	Dashboard string       `yaml:"dashboard" rule:"url" doc:"base URL of the dashboard, for links in messages; absent: there are none" example:"https://windlass.example:8480"`
	Sinks     []SinkConfig `yaml:"sinks" rule:"required nonempty" doc:"where events are sent"`
}

// SinkConfig is one receiver. Paths are relative to the file's folder.
type SinkConfig struct {
	Name           string        `yaml:"name" rule:"required name" doc:"the sink's name; its position in the events is kept under it" example:"ops"`
	Type           string        `yaml:"type" rule:"required oneof=slack|webhook" doc:"a Slack incoming webhook, or JSON for a program of yours" example:"slack"`
	URLFile        string        `yaml:"url_file" rule:"nonempty" doc:"file of mode 0600 with the URL, which is a secret; this or url_env is needed" example:"slack.url"`
	URLEnv         string        `yaml:"url_env" rule:"nonempty" doc:"environment variable with the URL" example:"WINDLASS_SLACK_URL"`
	SigningKeyFile string        `yaml:"signing_key_file" rule:"nonempty" doc:"file of mode 0600 with the key that a webhook's requests are signed with; absent: they are not signed" example:"webhook.key"`
	Environments   []string      `yaml:"environments" rule:"nonempty unique name" doc:"only these environments' clusters; absent: all" example:"[prod]"`
	Campaigns      []string      `yaml:"campaigns" rule:"nonempty unique name" doc:"only these campaigns; absent: all" example:"[mariadb-11-8]"`
	Events         Level         `yaml:"events" rule:"oneof=loud|stages|steps|all" doc:"how much is sent: what needs a person; stages too; steps that ended too; everything. absent: steps" example:"steps"`
	Group          time.Duration `yaml:"group" rule:"max=1h" doc:"how long events that are not loud are gathered for one message; 0: not at all; absent: 15s" example:"15s"`
	Timeout        time.Duration `yaml:"timeout" rule:"min=1s max=2m" doc:"of one request; absent: 10s" example:"10s"`
}

// The types of sinks.
const (
	TypeSlack   = "slack"
	TypeWebhook = "webhook"
)

// defaultGroup is how long quiet events are gathered when the file does not say.
const defaultGroup = 15 * time.Second

// Kind is the kind of document of the sinks. Its objects are of type Config, with paths as they are written.
func Kind() config.Kind {
	return config.Define("Notifications", "where events are sent: Slack, and webhooks", nil, build)
}

// build looks at what concerns several keys, and completes what was left out.
func build(c *Config, r *config.Report) Config {
	seen := map[string]int{}
	for i := range c.Sinks {
		s, at := &c.Sinks[i], r.At("sinks", i)
		if first, ok := seen[s.Name]; ok && s.Name != "" {
			at.At("name").Problem(config.CodeDuplicate, fmt.Sprintf("the sink %q is there twice; the first is on line %d", s.Name, r.At("sinks", first, "name").Line()), "give it another name")
		} else {
			seen[s.Name] = i
		}
		file, env := at.At("url_file").Given(), at.At("url_env").Given()
		switch {
		case file && env:
			at.At("url_env").Problem(config.CodeValue, "there is url_file, too", "keep one of url_file and url_env")
		case !file && !env && s.Name != "" && !at.Bad():
			at.Problem(config.CodeMissing, fmt.Sprintf("nothing says where the sink %q sends to", s.Name), "add url_file, the name of a file of mode 0600 that holds the URL, or url_env: the URL is a secret, and not written here")
		}
		if s.Type == TypeSlack && s.SigningKeyFile != "" {
			at.At("signing_key_file").Problem(config.CodeValue, "Slack checks no signature", "remove the key, or make it a sink of the type webhook")
		}
		if s.Events == "" {
			s.Events = Steps
		}
		if s.Group == 0 && !at.At("group").Given() {
			s.Group = defaultGroup
		}
		if s.Timeout == 0 {
			s.Timeout = 10 * time.Second
		}
	}
	return *c
}

// LoadConfig reads and checks the file, and makes its paths absolute. The error holds every problem at once, and no secret that
// somebody wrote into the file by mistake.
func LoadConfig(path string) (Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("notifications: %w", err)
	}
	c, _, err := config.One[Config](config.Source{Name: path, Text: text}, Kind())
	if err != nil {
		return Config{}, hideSecrets(err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("notifications: %w", err)
	}
	for i := range c.Sinks {
		for _, p := range []*string{&c.Sinks[i].URLFile, &c.Sinks[i].SigningKeyFile} {
			if *p != "" && !filepath.IsAbs(*p) {
				*p = filepath.Join(dir, *p)
			}
		}
	}
	return c, nil
}

var (
	urlPath    = regexp.MustCompile(`(?i)(https?:/?/?)[^\s"']+`)
	secretLine = regexp.MustCompile(`(?i)^(.*\b(?:url|webhook|password|secret|token|key|signing_key)["']?\s*:).*\S.*`)
)

// hideSecrets leaves out of the problems what looks like a URL, a key or a token.
func hideSecrets(err error) error {
	var ps config.Problems
	if !errors.As(err, &ps) {
		return err
	}
	ps = slices.Clone(ps)
	for i := range ps {
		p := &ps[i]
		p.Source = secretLine.ReplaceAllString(p.Source, "$1 …")
		for _, s := range []*string{&p.Source, &p.Message, &p.Path} {
			*s = urlPath.ReplaceAllString(*s, "${1}…")
		}
	}
	return ps
}
