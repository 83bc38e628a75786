package engine

// EarlyFeatures names the check that warns of features of a new version which are open, or in use, while old nodes may be there. The state tells
// it as an event of its own.
const EarlyFeatures = "early-features"
