package mysql

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// What a server is meant to be, as the last switch that touched it wrote down. It is written before and after each act
// that changes who is the primary, so that a later run knows what a restarted server was in the middle of.
const (
	isPrimary   = "primary"   // made writable, and seen so
	isDemoting  = "demoting"  // about to be read-only, or read-only, with no successor yet
	isPromoting = "promoting" // has everything of the demoted one, which is read-only, and is about to be writable
	isReplica   = "replica"
	isApart     = "quarantined"
)

// standing is a server's own unlogged note. It counts only if its uuid is the server's: a copied data folder brings the
// note of the server that it was copied from.
type standing struct {
	Role   string
	Term   int64
	Switch string
	At     time.Time
	Detail detail
}

// detail is what a later run needs to know.
type detail struct {
	From      string   `json:"from,omitempty"`      // cell/node of the old primary
	To        string   `json:"to,omitempty"`        // cell/node of the new one
	Position  string   `json:"position,omitempty"`  // where the old primary stood when it was demoted
	State     string   `json:"state,omitempty"`     // its gtid_binlog_state then (MariaDB)
	Semisync  bool     `json:"semisync,omitempty"`  // it waited for acknowledgements
	Scheduler string   `json:"scheduler,omitempty"` // its event_scheduler
	Events    []string `json:"events,omitempty"`    // its enabled events, quoted
	HoldMS    float64  `json:"hold_ms,omitempty"`   // longest hold of the switch that made it primary
	Undone    bool     `json:"undone,omitempty"`    // it is primary because that switch was called off
	Collation *string  `json:"collation,omitempty"` // character_set_collations before it was pinned
}

// readOwn reads the standing and the fence. A server that was never fenced has neither.
func (s *session) readOwn(ctx context.Context, uuid string) (*standing, int64, error) {
	n := 0
	if err := s.one(ctx, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA='windlass' AND TABLE_NAME IN ('fence', 'standing')", &n); err != nil {
		return nil, 0, err
	}
	if n < 2 {
		return nil, 0, nil
	}
	var term int64
	if err := s.one(ctx, "SELECT COALESCE(MAX(term), 0) FROM windlass.fence", &term); err != nil {
		return nil, 0, err
	}
	rs, err := s.rows(ctx, "SELECT uuid, role, term, switch_id, detail, at_us FROM windlass.standing WHERE id=1")
	if err != nil || len(rs) == 0 || rs[0]["uuid"] != uuid {
		return nil, term, err
	}
	r := rs[0]
	st := &standing{Role: r["role"], Switch: r["switch_id"]}
	if st.Term, err = strconv.ParseInt(r["term"], 10, 64); err != nil {
		return nil, term, fmt.Errorf("%s: standing: term: %w", s.place, err)
	}
	us, err := strconv.ParseInt(r["at_us"], 10, 64)
	if err != nil {
		return nil, term, fmt.Errorf("%s: standing: time: %w", s.place, err)
	}
	st.At = time.UnixMicro(us)
	if err := json.Unmarshal([]byte(r["detail"]), &st.Detail); err != nil {
		return nil, term, fmt.Errorf("%s: standing: detail: %w", s.place, err)
	}
	return st, term, nil
}

// note writes the standing, under the term.
func (s *session) note(ctx context.Context, term int64, uuid, role, switchID string, det detail) error {
	raw, err := json.Marshal(det)
	if err != nil {
		return err
	}
	return s.actOwn(ctx, term, "note that it is "+role, fmt.Sprintf("REPLACE INTO windlass.standing VALUES (1, %s, %s, %d, %s, %s, %d)",
		quote(uuid), quote(role), term, quote(switchID), quote(string(raw)), s.d.cfg.Now().UnixMicro()))
}
