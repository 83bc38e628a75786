package strategy

import "time"

// The stages of the bluegreen strategy, in order.
const (
	StageCreate        = "create"
	StageVerify        = "verify"
	StageReplay        = "replay"
	StageSwitchStorage = "switch-storage"
	StageSwitchGateway = "switch-gateway"
	StageTearDown      = "tear-down"
)

// The step kinds of the bluegreen strategy.
const (
	ProvisionNodes   Kind = "provision-nodes"
	SeedNodes        Kind = "seed-nodes"
	StartReplication Kind = "start-replication"
	CatchUp          Kind = "catch-up"
	ProvisionGateway Kind = "provision-gateway"
	VerifyData       Kind = "verify-data"
	CheckReplay      Kind = "check-replay"
	StartCapture     Kind = "start-capture"
	ReplayQueries    Kind = "replay-queries"
	JudgeReplay      Kind = "judge-replay"
	EndCapture       Kind = "end-capture"
	Preflight        Kind = "preflight"
	SwitchStorage    Kind = "switch-storage"
	ProveWrites      Kind = "prove-writes"
	WatchWayBack     Kind = "watch-way-back"
	CheckGateway     Kind = "check-gateway"
	SwitchRecord     Kind = "switch-record"
	DrainGateway     Kind = "drain-gateway"
	CheckTearDown    Kind = "check-tear-down"
	CloseWayBack     Kind = "close-way-back"
	RemoveGateway    Kind = "remove-gateway"
	RemoveNodes      Kind = "remove-nodes"
)

// BlueGreen is the path of H6 to H12: a whole new cell beside the old one, verified, tried with production's queries, then storage and
// gateways switched one after the other, never in one step, and the old cell torn down last.
func BlueGreen() Strategy {
	return Strategy{Name: "bluegreen", Stages: []Stage{
		{
			Name: StageCreate, Summary: "Make the green cell beside the blue one, seeded and replicating.",
			Steps: []Step{
				{ProvisionNodes, 1, "start empty, read-only nodes of the new version", "each node answers with its version, its mark and read_only=1", "stop, quarantine and delete the nodes that carry our mark", 10 * time.Minute},
				{SeedNodes, 1, "copy the data from a blue server without stopping it", "the copy's position and its schemas are there", "nothing: the nodes go with their undo", 12 * time.Hour},
				{StartReplication, 1, "replicate from the blue primary", "both replication threads run", "stop replication and forget the source", 10 * time.Minute},
				{CatchUp, 1, "wait until the lag is within the limit", "the lag is measured, and small", "", 12 * time.Hour},
				{ProvisionGateway, 1, "start the green gateway and tell both gateways of all nodes", "it answers, and routes writes to the blue primary", "stop the green gateway and forget the green nodes", 10 * time.Minute},
			},
		},
		{
			Name: StageVerify, Summary: "Compare every row of blue and green at one and the same position.",
			Steps: []Step{
				{VerifyData, 1, "checksum the rows in chunks at one GTID", "no chunk differs", "", 24 * time.Hour},
			},
		},
		{
			Name: StageReplay, Summary: "Replay production's queries on the new version, and let the switch begin only if their verdict passes.",
			Steps: []Step{
				{CheckReplay, 1, "nothing: looks at what a replay needs", "a green node that nobody uses can be asked, and what the gateway captures can be kept and read", "", 10 * time.Minute},
				{StartCapture, 1, "let the blue gateway capture its clients' statements", "it says that it captures", "stop capturing", 10 * time.Minute},
				{ReplayQueries, 1, "run them on a green node, some time later and at the same cadence, and compare answers and times", "they are enough, by time and by share", "", 14 * 24 * time.Hour},
				{JudgeReplay, 1, "nothing: judges by the campaign's rules what was counted", "the verdict passes, or a person has overridden it", "", 30 * 24 * time.Hour},
				{EndCapture, 1, "stop capturing", "the blue gateway says that it does not capture", "", 10 * time.Minute},
			},
		},
		{
			Name: StageSwitchStorage, Summary: "Make a green node the primary; blue replicates from it.", Disruptive: true, MovesPrimary: true,
			Steps: []Step{
				{Preflight, 1, "nothing: looks at every safety rule", "every named check passes", "", 10 * time.Minute},
				{SwitchStorage, 1, "hold, demote, wait for the position, promote, release, and replicate back", "one writable primary, in the green cell; every other node replicates from it", "the same switch back into the blue cell", 5 * time.Minute},
				{ProveWrites, 1, "write one marked row on the new primary", "the row arrives on every replica, the old version's too", "", 2 * time.Minute},
				{WatchWayBack, 1, "nothing: looks at replication to the old version", "it runs, and nothing is there that would break it", "", 10 * time.Minute},
			},
		},
		{
			Name: StageSwitchGateway, Summary: "Point the cluster's DNS record at the green gateway.", Disruptive: true,
			Steps: []Step{
				{CheckGateway, 1, "nothing: looks at the green gateway", "it routes writes to the one writable primary and logs every account in", "", 10 * time.Minute},
				{SwitchRecord, 1, "compare-and-swap the record", "the name server answers the green gateway's address", "compare-and-swap the record back", 5 * time.Minute},
				{DrainGateway, 1, "wait until no client is left on the blue gateway", "its connection count is zero", "", 24 * time.Hour},
			},
		},
		{
			Name: StageTearDown, Summary: "Remove the blue cell. There is no way back after this.", PointOfNoReturn: true,
			Steps: []Step{
				{CheckTearDown, 1, "nothing: looks whether anything still needs the blue cell", "not writable, no source, no client, no record, and the marks are ours", "", 10 * time.Minute},
				{CloseWayBack, 1, "stop replication to the old version", "no blue node replicates from green", "", 10 * time.Minute},
				{RemoveGateway, 1, "stop the blue gateway and delete it", "it does not answer", "", 10 * time.Minute},
				{RemoveNodes, 1, "stop, quarantine and delete the blue nodes that we made; release the others", "they do not answer", "", 10 * time.Minute},
			},
		},
	}}
}
