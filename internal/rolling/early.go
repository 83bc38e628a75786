package rolling

import (
	"context"
	"fmt"
	"strings"

	"github.com/windlass-db/windlass/internal/check"
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/policy"
)

// features tells whether those of the new version are open, and which are used already, of all that the product's file names. That is logged.
func (h handlers) features(ctx context.Context, c *engine.Call) (open bool, used []string, err error) {
	var named []policy.Feature
	product, err := c.Campaign.Rules()
	if err == nil && product != nil {
		named, err = product.Between(c.Campaign.From, c.Campaign.To)
	}
	if err != nil {
		return false, nil, err
	}
	open, used, err = h.Features.Open(ctx, c.Cluster, c.Campaign.To, named)
	if len(used) > 0 {
		c.Log.Warn("features are used early", "version", c.Campaign.To, "features", used)
	}
	return open, used, err
}

// early looks whether a feature of the new version is used, or open, while old nodes may be there (C5). It never holds: nodes that do what an
// old one may not understand are no reason to stay between two versions for longer. A person is told, by the log and by the step.
func (h handlers) early(ctx context.Context, c *engine.Call) check.Result {
	open, used, err := h.features(ctx, c)
	switch {
	case len(used) > 0:
		return check.Warned(engine.EarlyFeatures, inUse(c, used, err), "see that the new version asks whether its features are open; an old node may not understand what a new one writes", c.Now())
	case err != nil:
		return check.Warned("features", fmt.Sprintf("whether a feature of %s is used early is not known: %v", c.Campaign.To, err), "see that the engine's features can be asked for", c.Now())
	case open:
		c.Log.Warn("features are open while old nodes may be there", "version", c.Campaign.To)
		return check.Warned(engine.EarlyFeatures, "the features of "+c.Campaign.To+" are open, and old nodes may be there", "find out who opened them; until the last node is upgraded an old one may not understand what a new one writes", c.Now())
	}
	return check.Passed("features", "no feature of "+c.Campaign.To+" is in use yet", c.Now())
}

func inUse(c *engine.Call, used []string, err error) string {
	text := "features of " + c.Campaign.To + " are in use before they are open: " + strings.Join(used, ", ")
	if err != nil {
		text += fmt.Sprintf("; of others it is not known: %v", err)
	}
	return text
}

// earlyText is the warning as an end of a message; "" if there is none.
func (h handlers) earlyText(ctx context.Context, c *engine.Call) string {
	if r := h.early(ctx, c); r.Verdict == check.Warn {
		return ". Warning: " + r.Detail
	}
	return ""
}
