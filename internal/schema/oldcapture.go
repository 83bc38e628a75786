package schema

import (
	"bytes"
	"errors"
	"io"

	"github.com/windlass-db/windlass/internal/capture"
)

// captureFile is a form of statements beside the logs: what a gateway, or windlass capture import, wrote.
const captureFile = "capture of MySQL or MariaDB"

// isCapture tells whether a file is one. One that is sealed, or of a newer format, is one too.
func isCapture(raw []byte) bool {
	r, err := capture.NewReader(bytes.NewReader(raw), nil)
	if err == nil {
		r.Close()
	}
	return err == nil || !errors.Is(err, capture.ErrNotCapture) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// readCapture takes the statements out of a capture: what clients sent as text, and what they prepared; a statement's line is its event's number. lost is how many are not there to be tried:
// withheld, cut or dropped by whoever captured, or lost since.
func readCapture(path string, raw []byte, key *capture.Key) (all []Statement, lost int, err error) {
	wrong := func(err error) error {
		hint := "take the file anew from where it was captured"
		if errors.Is(err, capture.ErrKey) {
			hint = "name the file of the key that the gateway sealed with: --key-file"
		}
		return &Error{Where: path, What: "is a capture that can't be read", Hint: hint, Usage: true, Err: err}
	}
	r, err := capture.NewReader(bytes.NewReader(raw), key)
	if err != nil {
		return nil, 0, wrong(err)
	}
	defer r.Close()
	dropped := map[string]uint64{}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			for _, n := range dropped {
				lost += int(n)
			}
			return all, lost + int(r.Loss().Events), nil
		}
		if err != nil {
			return nil, 0, wrong(err)
		}
		dropped = b.Dropped
		for _, e := range b.Events {
			const query, prepare = 0x03, 0x16 // commands of the protocol
			if (e.Kind != capture.Start && e.Kind != capture.Known) || e.Kind == capture.Start && e.Command != query && e.Command != prepare {
				continue
			}
			if e.Withheld != "" || e.Cut > 0 {
				lost++
				continue
			}
			if sql := string(bytes.TrimSuffix(bytes.TrimSpace(e.Payload), []byte(";"))); sql != "" {
				all = append(all, Statement{SQL: sql, File: path, Line: int(e.Seq)})
			}
		}
	}
}
