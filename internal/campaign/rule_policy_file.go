package campaign

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/policy"
)

// Policy is a product file of the user's. Its text goes with the campaign, so that the command line, the server and the supervisors judge by
// the same rules. Make it by NewPolicy, or by reading JSON.
type Policy struct {
	File string `json:"file"` // as the campaign's file names it
	Text string `json:"text"`

	product *policy.Product
	err     error
}

// NewPolicy reads the product. That it can't be is what Product says.
func NewPolicy(file, text string) *Policy {
	p := &Policy{File: file, Text: text}
	p.product, p.err = policy.Parse(config.Source{Name: file, Text: []byte(text)})
	return p
}

// Product is the file's product.
func (p *Policy) Product() (*policy.Product, error) {
	if p.product == nil && p.err == nil {
		return nil, fmt.Errorf("the policy %s was not read", p.File)
	}
	return p.product, p.err
}

// UnmarshalJSON reads the product too: a campaign is judged many times, and read once.
func (p *Policy) UnmarshalJSON(b []byte) error {
	var plain struct{ File, Text string }
	if err := json.Unmarshal(b, &plain); err != nil {
		return fmt.Errorf("read a policy: %w", err)
	}
	*p = *NewPolicy(plain.File, plain.Text)
	return nil
}

// Equal compares what was read.
func (p *Policy) Equal(q *Policy) bool {
	return p == nil && q == nil || p != nil && q != nil && p.File == q.File && p.Text == q.Text
}

// Rules is the product whose policy judges the campaign: of its own file, or the built-in one, in which its bridges make neighbours. It is nil
// if none is known for what it raises.
func (c Campaign) Rules() (*policy.Product, error) {
	p, err := policy.Builtin(c.Product)
	if c.Policy != nil {
		p, err = c.Policy.Product()
	}
	var unknown *policy.UnknownProduct
	if errors.As(err, &unknown) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the policy of the campaign: %w", err)
	}
	return p.Bridged(c.Bridges), nil
}

// checkPolicy finds what keeps the campaign's own policy and its bridges from being relied on now.
func (c Campaign) checkPolicy(now time.Time, add adder) {
	if c.Policy != nil {
		p, err := c.Policy.Product()
		if err != nil {
			add("policy", config.CodeValue, "`windlass check policy FILE` tells all that is wrong with it", "%s", err)
			return
		}
		if p.Name != c.Product {
			add("policy", config.CodeContradiction, "name the product in it as the campaign does, or take another file", "%s is the policy of %q, and the campaign raises %q", c.Policy.File, p.Name, c.Product)
		}
		for _, f := range p.Lint() {
			add("policy", f.Code, f.Hint, "%s: %s: %s", c.Policy.File, f.Path, f.Message)
		}
	}
	plain := c
	plain.Bridges = nil
	p, err := plain.Rules()
	if err != nil || p == nil {
		return
	}
	for i, b := range c.Bridges {
		at := fmt.Sprintf("bridges[%d]", i)
		if why := p.Misfit(b); why != "" {
			add(at, config.CodeContradiction, "correct the bridge's file", "%s", why)
			continue
		}
		if why := b.Refuse(now); why != "" {
			add(at, config.CodeContradiction, "prove it anew, or leave it out: then every version on the way is a campaign of its own", "%s", why)
		}
		if !c.needs(p, b) {
			add(at, config.CodeContradiction, "leave it out, or take the bridge from "+c.From+" to "+c.To, "the campaign goes from %s to %s, which does not need the bridge %s from %s to %s", c.From, c.To, b.Name, b.From, b.To)
		}
	}
}

// needs tells whether the bridge makes the campaign's way one hop, which it is not without it.
func (c Campaign) needs(p *policy.Product, b policy.Bridge) bool {
	at := func(version string) int {
		i, err := p.Release(version)
		if err != nil {
			return -1
		}
		return i
	}
	if at(c.From) != at(b.From) || at(c.To) != at(b.To) {
		return false
	}
	path, err := p.Plan(policy.Request{From: c.From, To: c.To, Strategy: c.pathStrategy()})
	return err != nil || len(path.Hops) > 1
}

// goodBridges are those that can be relied on at that time.
func (c Campaign) goodBridges(now time.Time) []policy.Bridge {
	var good []policy.Bridge
	for _, b := range c.Bridges {
		if b.Refuse(now) == "" {
			good = append(good, b)
		}
	}
	return good
}

// expiredBridge holds every start behind a bridge that can't be relied on any more. What was started goes on to its end, and the way back
// stays free: a half-way cluster is the last place to be kept at.
func (t *tick) expiredBridge(c *candidate, at time.Time) (Reason, bool) {
	if c.next < 0 {
		return Reason{}, false
	}
	for _, b := range t.Campaign.Bridges {
		if why := b.Refuse(at); why != "" {
			return Reason{Code: CodePolicy, Message: why, Release: "the bridge is proved again, and the campaign applied with it; the way back is free: windlass rollback " + c.Ref.String()}, true
		}
	}
	return Reason{}, false
}

// otherBuild says that a version was seen which no bridge of the campaign was proved with.
func (c Campaign) otherBuild(product *policy.Product, seen []Seen) (Reason, bool) {
	for _, b := range c.Bridges {
		for _, s := range seen {
			if why := product.OtherBuild(b, s.Version); why != "" {
				return Reason{Code: CodePolicy, Message: fmt.Sprintf("a %s was seen on another build: %s", s.Role, why), Release: "the node runs one of these builds, or the bridge is proved with the one that it has"}, true
			}
		}
	}
	return Reason{}, false
}
