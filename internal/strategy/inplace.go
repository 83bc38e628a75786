package strategy

import "time"

// The stages of the inplace strategy, in order.
const (
	StageUpgradeReplicas = "upgrade-replicas"
	StageSwitchPrimary   = "switch-primary"
	StageUpgradeLast     = "upgrade-last"
)

// The step kinds of the inplace strategy. It shares ProveWrites with bluegreen.
const (
	CheckReplicas    Kind = "check-replicas"
	UpgradeReplicas  Kind = "upgrade-replicas"
	PreflightPrimary Kind = "preflight-primary"
	SwitchPrimary    Kind = "switch-primary"
	WatchOldPrimary  Kind = "watch-old-primary"
	CheckLast        Kind = "check-last"
	UpgradeLast      Kind = "upgrade-last"
	DiscardCopies    Kind = "discard-copies"
)

// InPlace is the path of V for a source and its replicas: the nodes of one cell are raised one after the other, each over its own data
// and behind a copy of it; the replicas first, then the primary by a switch to one of them. The old primary stays on the old version
// as the way back, and is raised last.
func InPlace() Strategy {
	return Strategy{Name: "inplace", Stages: []Stage{
		{
			Name: StageUpgradeReplicas, Summary: "Raise every replica in turn, each behind a copy of its data; the others serve the reads meanwhile.", Disruptive: true,
			Steps: []Step{
				{CheckReplicas, 1, "nothing: looks at every node before the first one is touched", "one primary of the old version, every other node follows it, and each can be raised", "", 10 * time.Minute},
				{UpgradeReplicas, 1, "for each replica: take it out of reads, stop it, keep a copy of its data, start the new version, let it catch up, put it back", "each runs the new version, follows the primary and has caught up", "in reverse order: put the copy back under the old version, and let it catch up", 12 * time.Hour},
				{ProveWrites, 1, "write one marked row on the primary", "the row arrives on every raised replica", "", 2 * time.Minute},
			},
		},
		{
			Name: StageSwitchPrimary, Summary: "Make a raised node the primary; the old primary stays as it is, and follows it.", Disruptive: true, MovesPrimary: true,
			Steps: []Step{
				{PreflightPrimary, 1, "nothing: looks at every safety rule", "every named check passes", "", 10 * time.Minute},
				{SwitchPrimary, 1, "hold, demote, wait for the position, promote, release, and replicate back", "one writable primary, on the new version; every other node replicates from it", "the same switch back to the old primary", 5 * time.Minute},
				{ProveWrites, 1, "write one marked row on the new primary", "the row arrives on every replica, the old primary too", "", 2 * time.Minute},
				{WatchOldPrimary, 1, "nothing: looks at replication to the old primary", "it runs, and nothing is there that would break it", "", 10 * time.Minute},
			},
		},
		{
			Name: StageUpgradeLast, Summary: "Raise the old primary. There is no way back after this.", PointOfNoReturn: true, Disruptive: true,
			Steps: []Step{
				{CheckLast, 1, "nothing: looks whether the old primary may be raised", "it is a replica, it is who it was, and another node serves the reads", "", 10 * time.Minute},
				{UpgradeLast, 1, "take it out of reads, stop it, keep a copy of its data, start the new version, let it catch up, put it back", "it runs the new version, follows the primary and has caught up", "", 2 * time.Hour},
				{ProveWrites, 1, "write one marked row on the primary", "the row arrives on every replica", "", 2 * time.Minute},
				{DiscardCopies, 1, "delete the copies of the old version's data, and give the primary its default collations back", "no node has a copy", "", 10 * time.Minute},
			},
		},
	}}
}
