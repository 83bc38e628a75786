package campaign

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/fleet"
	"github.com/windlass-db/windlass/internal/policy"
)

// Check holds the campaign against the fleet: environments, patterns, cells and versions that do not fit. The findings are
// named by their paths in the campaign's file; config.Object.Locate finds their lines. No finding means that the campaign can be applied now.
//
// Clusters that have the new cell already, made by a campaign, are judged by their patterns alone: what they run is known from
// observation.
func (c Campaign) Check(f fleet.Fleet, now time.Time) []config.Finding {
	var found []config.Finding
	add := func(path, code, hint, format string, args ...any) {
		found = append(found, config.Finding{Path: path, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	var environments []string
	for _, e := range f.Environments {
		environments = append(environments, e.Name)
	}
	missing := false
	for i, name := range c.Environments {
		if !slices.Contains(environments, name) {
			missing = true
			add(fmt.Sprintf("environments[%d]", i), config.CodeReference, config.Suggest(name, environments), "the fleet %s has no environment %q", f.Name, name)
		}
	}
	c.checkPatterns(f, add)
	selected := c.Select(f)
	if len(selected) == 0 && !missing {
		add("product", config.CodeReference, "write the product and the patterns of clusters that the fleet has", "the campaign selects no cluster of the fleet %s: none of product %q fits its environments and patterns", f.Name, c.Product)
	}
	switch {
	case c.InPlace():
		c.checkInPlace(selected, add)
	case c.Contracts():
		c.checkContract(selected, add)
	case c.Rolls():
		c.checkRolling(selected, add)
	default:
		c.checkCells(selected, add)
	}
	before := len(found)
	c.checkPolicy(now, add)
	if len(selected) > 0 && len(found) == before { // a policy or a bridge that is no good is why there is no path
		c.checkPath(now, add)
	}
	return found
}

// checkPath looks whether the product's policy knows a path for the strategy from the one version to the other (V4, V5).
func (c Campaign) checkPath(now time.Time, add adder) {
	_, err := c.Path(now)
	var no *policy.NoPath
	if errors.As(err, &no) && len(no.Forbidden) > 0 {
		add("to", config.CodeContradiction, "go to a version that the policy allows; `windlass check state` tries pairs", "%s", no.Forbidden[0])
		return
	}
	if err != nil {
		product := "--product " + c.Product
		if c.Policy != nil {
			product = "--product-file " + c.Policy.File
		}
		hint := "go to a version that the policy allows; `windlass plan " + product + " --from " + c.From + " --to " + c.To + "` shows the way"
		var known interface{ ErrorHint() string }
		if errors.As(err, &known) {
			hint = known.ErrorHint()
		}
		add("to", config.CodeContradiction, hint, "%s", err)
	}
}

// Path is the campaign's way by its product's policy, with its proof, over the bridges that are good at that time. It is empty for a product
// that has no policy, and an error if there is no way, or if it takes more than one hop, which are as many campaigns.
func (c Campaign) Path(now time.Time) (policy.Path, error) {
	bridges := c.goodBridges(now)
	c.Bridges = nil // the path finds the hop that each is for
	product, err := c.Rules()
	if err != nil || product == nil {
		return policy.Path{}, err
	}
	path, err := product.Plan(policy.Request{From: c.From, To: c.To, Strategy: c.pathStrategy(), Bridges: bridges})
	if err == nil && len(path.Hops) > 1 {
		err = fmt.Errorf("from %s to %s it takes %d hops, the first one to %s: %s", c.From, c.To, len(path.Hops), path.Hops[0].To, path.Hops[0].Why)
	}
	return path, err
}

// pathStrategy is the strategy by which a path is planned: to a policy, nodes that are upgraded in groups go one after the other.
func (c Campaign) pathStrategy() string {
	if c.OfEngines() {
		return policy.InPlace
	}
	return c.Strategy
}

type adder func(path, code, hint, format string, args ...any)

// checkPatterns finds patterns that fit nothing: a misspelt one would silently leave a cluster out, or take it in.
func (c Campaign) checkPatterns(f fleet.Fleet, add adder) {
	for _, key := range []string{"clusters", "exclude"} {
		patterns := map[string][]string{"clusters": c.Clusters, "exclude": c.Exclude}[key]
		for i, pattern := range patterns {
			if fits(pattern, c.Environments, f) {
				continue
			}
			var names []string
			for _, e := range f.Environments {
				for _, cl := range e.Clusters {
					names = append(names, cl.Ref().String())
				}
			}
			hint := "write a pattern that fits, such as \"*/*\""
			if len(names) <= 2000 { // the nearest of very many names is dear to find, and rarely the one that was meant
				hint = config.Meant(pattern, names, hint)
			}
			add(fmt.Sprintf("%s[%d]", key, i), config.CodeReference, hint, "the pattern %q fits no cluster of the campaign's environments", pattern)
		}
	}
}

func fits(pattern string, environments []string, f fleet.Fleet) bool {
	for _, e := range f.Environments {
		if !slices.Contains(environments, e.Name) {
			continue
		}
		for _, cl := range e.Clusters {
			if ok, err := path.Match(pattern, cl.Ref().String()); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// checkCells looks whether every selected cluster has what the strategy begins with.
func (c Campaign) checkCells(selected []fleet.Cluster, add adder) {
	var noCell, version, taken, noGateway, single named
	for _, cl := range selected {
		name := cl.Ref().String()
		if to, ok := cl.Cell(c.ToCell); ok && to.Owner != "" {
			continue
		} else if ok {
			taken.add(name)
		}
		from, ok := cl.Cell(c.FromCell)
		if !ok {
			noCell.add(name)
			continue
		}
		if !fleet.HasVersion(from.Version, c.From) {
			version.add(name + " (" + from.Version + ")")
		}
		if from.Gateway == nil {
			noGateway.add(name)
		}
		if cmp.Or(c.Nodes, len(from.Nodes)) == 1 { // where the fleet names none the size is not known yet, and the stage's own check has to say so
			single.add(name)
		}
	}
	if single.n > 0 && c.replays() && c.Replay.Skip == nil {
		add("cells.nodes", config.CodeContradiction, "write \"cells: {nodes: 2}\", or decide against a replay with \"replay: {skip: {reason: …, by: …}}\"",
			"%s one node in the new cell %q, which is to be the primary: queries are replayed on another one: %s", plural(single.n, "cluster")+" would have", c.ToCell, &single)
	}
	if noCell.n > 0 {
		add("cells.from", config.CodeReference, "name the cell that is in service, or exclude these clusters", "%s no cell %q: %s", have(noCell.n), c.FromCell, &noCell)
	}
	if version.n > 0 {
		add("from", config.CodeContradiction, "correct the version here or in the fleet, or exclude these clusters", "%s another version than %s in the cell %q: %s", have(version.n), c.From, c.FromCell, &version)
	}
	if taken.n > 0 {
		add("cells.to", config.CodeContradiction, "give the new cell a name that is free", "%s a cell %q that Windlass did not make: %s", have(taken.n), c.ToCell, &taken)
	}
	if noGateway.n > 0 {
		add("clusters", config.CodeMissing, "add \"gateway\" to the cell in the fleet file: the strategy "+c.Strategy+" holds and moves clients with it", "%s no gateway in the cell %q: %s", have(noGateway.n), c.FromCell, &noGateway)
	}
}

// have is "1 cluster has" or "3 clusters have".
func have(n int) string {
	if n == 1 {
		return "1 cluster has"
	}
	return plural(n, "cluster") + " have"
}
