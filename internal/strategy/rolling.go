package strategy

import "time"

// The stages of the rolling strategy, in order.
const (
	StageExpandSchema = "expand-schema"
	StageCanary       = "canary"
	StageNodes        = "nodes"
	StageFinalize     = "finalize"
)

// The step kinds of the rolling strategy.
const (
	CheckSchema   Kind = "check-schema"
	ExpandSchema  Kind = "expand-schema"
	CheckNodes    Kind = "check-nodes"
	UpgradeCanary Kind = "upgrade-canary"
	WatchCanary   Kind = "watch-canary"
	UpgradeNodes  Kind = "upgrade-nodes"
	CheckFeatures Kind = "check-features"
	OpenFeatures  Kind = "open-features"
)

// Rolling is the path of C1 to C7: the nodes of an engine behind a load balancer share one database. The schema is expanded first, so that
// old nodes work on it as before; then the nodes are upgraded in groups, one node first; the new version's features open when the last
// node is back. Dropping what only the old version needed belongs to a later campaign.
func Rolling() Strategy {
	return Strategy{Name: "rolling", Stages: []Stage{
		{
			Name: StageExpandSchema, Summary: "Expand the database's schema; the old version works on it as before.",
			Steps: []Step{
				{CheckSchema, 1, "nothing: compares the schema that is there with the one to come", "every change is one that the old version does not notice", "", 10 * time.Minute},
				{ExpandSchema, 1, "apply the expand migrations, statement by statement, online where the database can", "the schema of the new version is there", "nothing: an expanded schema serves the old version", 24 * time.Hour},
			},
		},
		{
			Name: StageCanary, Summary: "Upgrade one node, and watch it serve beside the others.", Disruptive: true,
			Steps: []Step{
				{CheckNodes, 1, "nothing: looks at every node, the load balancer and the database", "every node serves on the old version, and enough serve while a group is out", "", 10 * time.Minute},
				{UpgradeCanary, 1, "take one node out of the load balancer, stop it, start the new version, put it back slowly, and watch", "it runs the new version, and is healthy and serves for all of its watch", "in the same way back to the old version", 30 * time.Minute},
				{WatchCanary, 1, "nothing: looks at the node once more", "it still serves at the end of its watch; ill by now, it goes back", "", time.Hour},
			},
		},
		{
			Name: StageNodes, Summary: "Upgrade the other nodes, group by group; never below the share that has to serve.", Disruptive: true,
			Steps: []Step{
				{UpgradeNodes, 1, "for each group: take it out of the load balancer, stop it, start the new version, put it back slowly, and watch", "every node runs the new version, is healthy and serves", "in reverse order, node by node, back to the old version", 7 * 24 * time.Hour},
			},
		},
		{
			Name: StageFinalize, Summary: "Open the new version's features. There is no way back after this.", PointOfNoReturn: true,
			Steps: []Step{
				{CheckFeatures, 1, "nothing: looks whether every node is there, and whether a feature was used early", "every node serves on the new version, and no feature of it is in use", "", 10 * time.Minute},
				{OpenFeatures, 1, "tell the engine that the new version's features are open", "the engine says so", "", 10 * time.Minute},
			},
		},
	}}
}
