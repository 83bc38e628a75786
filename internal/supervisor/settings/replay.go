package settings

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/windlass-db/windlass/internal/config"
)

// Replay is where captured queries are kept, and how they are replayed before a storage switch.
type Replay struct {
	Store   string  `yaml:"store" rule:"required nonempty max=500" doc:"where the gateways' captures are: the URL of a folder or bucket that windlass capture ship fills, or of a gateway's own spool; {gateway} stands for the gateway's name" example:"s3://our-captures?region=eu-west-1"`
	Results string  `yaml:"results" rule:"nonempty max=500" doc:"where what was counted is kept, by which a killed replay goes on; every supervisor of the environment has the same; absent: beside the captures, under replays/" example:"s3://our-replays?region=eu-west-1"`
	KeyFile string  `yaml:"key_file" rule:"nonempty" doc:"file of mode 0600 with the key of encrypted captures" example:"/etc/windlass/capture-key"`
	Account Account `yaml:"account" rule:"required" doc:"the account on every node that queries are replayed by: it may read, and nothing else"`
	AtOnce  int     `yaml:"at_once" rule:"min=0 max=1000" doc:"clusters whose queries are replayed at once, beside the slots; absent: 16" example:"16"`
}

func (p *Replay) build(at config.Spot) {
	for key, text := range map[string]string{"store": p.Store, "results": p.Results} {
		spot := at.At(key)
		if text == "" || spot.Bad() {
			continue
		}
		u, err := url.Parse(strings.ReplaceAll(text, "{gateway}", "gateway"))
		switch {
		case err != nil || u.Scheme != "file" && u.Scheme != "s3":
			spot.Problem(config.CodeValue, fmt.Sprintf("%q is no URL of a folder or bucket", text), "write file:///a/folder, or s3://bucket?region=REGION")
		case u.User != nil:
			spot.Problem(config.CodeValue, "it holds credentials, and would be shown", "leave them out; they are taken from the environment, as by other programs that use S3")
		case key == "results" && strings.Contains(text, "{gateway}"):
			spot.Problem(config.CodeValue, "what was counted belongs to a cluster, and not to a gateway", "leave {gateway} out")
		}
	}
	if strings.Contains(p.Store, "{gateway}") && p.Results == "" && !at.At("store").Bad() {
		at.At("store").Problem(config.CodeMissing, "with {gateway} there is no one place for what was counted", "add \"results\" with the URL of a folder or bucket of its own")
	}
}
