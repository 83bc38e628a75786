package strategy

import "time"

// The stages of the contract strategy, in order.
const (
	StageProveUnused = "prove-unused"
	StageContract    = "contract"
)

// The step kinds of the contract strategy.
const (
	CheckContract  Kind = "check-contract"
	ContractSchema Kind = "contract-schema"
)

// Contract is the late end of a rolling upgrade (C2): what only the old version used is dropped or renamed when no old node is left and nobody
// wants to go back. It is a campaign of its own, so that an upgrade does not stay open for weeks, and so that a person asks for what has no
// way back.
func Contract() Strategy {
	return Strategy{Name: "contract", Stages: []Stage{
		{
			Name: StageProveUnused, Summary: "Prove that nothing old is left, and that the new version works without what will be taken away.",
			Steps: []Step{
				{CheckContract, 1, "nothing: looks at every node, the features and the rollback window, and tries what will be taken away", "every node serves on the new version, its features are open, the rollback window is over, and none of its statements fails without it", "", 10 * time.Minute},
			},
		},
		{
			Name: StageContract, Summary: "Drop and rename what only the old version used. There is no way back after this.", PointOfNoReturn: true,
			Steps: []Step{
				{CheckContract, 1, "nothing: looks and tries once more", "the same", "", 10 * time.Minute},
				{ContractSchema, 1, "apply the migrations that are marked for the contract step, statement by statement", "what they take away is gone", "", 24 * time.Hour},
			},
		},
	}}
}
