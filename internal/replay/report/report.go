// Package report shows what a replay found: as JSON, as text for a terminal, and as a page that needs nothing but itself.
//
// # Model
//
// The report is judge's value; here it is only written. The page is one partial with a style and a script of its own. Standalone they are put into one file; in the
// dashboard the partial stands within its layout, and style and script are assets beside the others. The partial has no style or script inline, so that it lives under the
// dashboard's content security policy, and everything in it works without the script but the sorting of tables.
//
// # Invariants
//
// What is shown comes from production: texts, values and messages reach a page through html/template's escaping alone, and a terminal without control characters. A report
// that was read again writes the same.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/replay/judge"
)

// Report is the verdict with its evidence.
type Report = judge.Report

// Write writes the report as JSON.
func Write(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// Read reads what Write wrote.
func Read(from io.Reader) (Report, error) {
	var r Report
	if err := json.NewDecoder(from).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read report: %w", err)
	}
	if r.Verdict != judge.Pass && r.Verdict != judge.Failed && r.Verdict != judge.Insufficient {
		return Report{}, fmt.Errorf("read report: this is no report of a replay: its verdict is %q", r.Verdict)
	}
	return r, nil
}

// Open reads a report's file.
func Open(name string) (Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return Report{}, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	r, err := Read(f)
	if err != nil {
		return Report{}, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

// Save writes the report to a file: as a page if its name ends in .html, or else as JSON. It holds what production's queries hold, so nobody else may read it. The
// file is put in place when it is whole.
func Save(name string, r Report) error {
	write := Write
	if strings.HasSuffix(name, ".html") || strings.HasSuffix(name, ".htm") {
		write = Page
	}
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	err = write(f, r)
	if e := f.Close(); err == nil && e != nil {
		err = fmt.Errorf("write report: %w", e)
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	if err != nil {
		os.Remove(name + ".tmp") // what there was before stays as it is
	}
	return err
}

// Find finds a finding by its id, or the beginning of it, or by its fingerprint. More than one are all given.
func Find(r Report, name string) []judge.Finding {
	name = strings.ToLower(name)
	var out []judge.Finding
	for _, f := range r.Findings {
		if f.ID == name {
			return []judge.Finding{f}
		}
		if len(name) >= 3 && (strings.HasPrefix(f.ID, name) || strings.HasPrefix(f.Fingerprint.String(), name)) {
			out = append(out, f)
		}
	}
	return slices.Clip(out)
}
