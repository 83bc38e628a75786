package schema

// Estimate says how long a statement works on a table, from its real size.
type Estimate struct {
	Rows    int64   `json:"rows"`  // as the server's statistics say
	Bytes   int64   `json:"bytes"` // of the table, with its indexes where they are written too
	Seconds float64 `json:"seconds,omitempty"`
	Low     float64 `json:"low,omitempty"`      // the real time is taken to lie between this
	High    float64 `json:"high,omitempty"`     // and this; 0 if AtLeast
	AtLeast bool    `json:"at_least,omitempty"` // it takes longer than Seconds, by what was not timed
	Basis   string  `json:"basis"`              // what was measured, or why nothing was
}
