package strategy

import "slices"

// All returns the strategies that this release knows.
func All() []Strategy { return []Strategy{BlueGreen(), InPlace(), Rolling(), Contract()} }

// ByName returns the strategy of that name.
func ByName(name string) (Strategy, bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return Strategy{}, false
}

// StageNames are the stages' names in order.
func (s Strategy) StageNames() []string {
	names := make([]string, len(s.Stages))
	for i, st := range s.Stages {
		names[i] = st.Name
	}
	return names
}

// PrimaryMoves is the place of the stage that makes a node of the new version the primary, or -1.
func (s Strategy) PrimaryMoves() int {
	return slices.IndexFunc(s.Stages, func(st Stage) bool { return st.MovesPrimary })
}

// PointOfNoReturn is the name of the stage with whose beginning the way back ends, or "".
func (s Strategy) PointOfNoReturn() string {
	for _, st := range s.Stages {
		if st.PointOfNoReturn {
			return st.Name
		}
	}
	return ""
}
