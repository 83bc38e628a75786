package adminapi

import "time"

// CaptureRequest switches the capture of statements on. What is left out is as the gateway's file says. Where files go, and with what keys, only that says.
//
// A term is refused if it is lower than the highest that the gateway has seen, as with a switch; 0 is an operator's, who needs none.
type CaptureRequest struct {
	Term       int64   `json:"term,omitempty"`
	By         string  `json:"by,omitempty"`         // who begins it, for those who ask later; a stop may be for that one alone
	Statements string  `json:"statements,omitempty"` // selects, or all
	Sample     float64 `json:"sample,omitempty"`     // how much of each kind of statement is kept, up to 1
}

// CaptureStopRequest switches it off.
type CaptureStopRequest struct {
	Term int64  `json:"term,omitempty"` // as of CaptureRequest
	By   string `json:"by,omitempty"`   // not if another one began it (ErrOtherCapture); empty: whoever began it
}

// CaptureStatus is how a capture goes, or how the last one went. All counts are of this one capture. Statements = Kept + Waiting + the sum of Dropped without
// its `end`, which counts answers alone, and its `quota-earlier`, which are of
// captures before it.
type CaptureStatus struct {
	On         bool              `json:"on"`
	Since      time.Time         `json:"since,omitzero"`
	Run        string            `json:"run,omitempty"` // its number, as in the files' names
	By         string            `json:"by,omitempty"`  // who began it
	Folder     string            `json:"folder"`
	Kept       uint64            `json:"kept"`       // statements in files
	Statements uint64            `json:"statements"` // seen
	Waiting    uint64            `json:"waiting"`    // seen, and in memory
	Dropped    map[string]uint64 `json:"dropped"`    // by reason
	Events     uint64            `json:"events"`     // written, of every kind
	Files      uint64            `json:"files"`      // begun
	Bytes      uint64            `json:"bytes"`      // written
	SpoolBytes int64             `json:"spool_bytes"`
	LagMS      int64             `json:"lag_ms"` // age of the oldest event that is not written
	Keeps      string            `json:"keeps"`  // selects, or all
	Sample     float64           `json:"sample"`
	Sealed     bool              `json:"sealed"` // files are encrypted
	Masked     bool              `json:"masked"` // values are replaced by hashes
	Error      string            `json:"error,omitempty"`
}
