package strategy

// All returns the strategies that this release knows.
func All() []Strategy { return []Strategy{BlueGreen()} }

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

// PointOfNoReturn is the name of the stage with whose beginning the way back ends, or "".
func (s Strategy) PointOfNoReturn() string {
	for _, st := range s.Stages {
		if st.PointOfNoReturn {
			return st.Name
		}
	}
	return ""
}
