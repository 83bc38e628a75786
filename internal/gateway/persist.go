package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// saved is what outlives the process: the highest term, so that a predecessor that wakes up late stays fenced (trap 1),
// and the list of servers, which may name a cell that the configuration does not know yet.
type saved struct {
	Version int           `json:"version"` // of this format
	Term    int64         `json:"term"`
	Servers *savedServers `json:"servers,omitempty"`
}

type savedServers struct {
	Local []string `json:"local"`
	All   []string `json:"all"`
}

const savedVersion = 1

func loadSaved(path string) (saved, error) {
	none := saved{Version: savedVersion}
	if path == "" {
		return none, nil
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(path)); err != nil || !info.IsDir() {
			return none, fmt.Errorf("state_file: there is no folder %s for it: make one that the gateway may write to", filepath.Dir(path))
		}
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("state_file: %w", err)
	}
	var s saved
	if err := json.Unmarshal(raw, &s); err != nil {
		return none, fmt.Errorf("state file %s is damaged (%w): remove it if no switch is under way; the servers are then those of the configuration", path, err)
	}
	if s.Version != savedVersion {
		return none, fmt.Errorf("state file %s has version %d, but this gateway knows version %d: start the gateway that wrote it, or a newer one", path, s.Version, savedVersion)
	}
	return s, nil
}

// save replaces the file at once and durably, or leaves it as it was.
func (s saved) save(path string) error {
	if path == "" {
		return nil
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".gateway-state-*") // mode 0600
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	defer os.Remove(f.Name()) // fails after the rename
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("state file: %w", err)
	}
	defer d.Close()
	return d.Sync()
}
