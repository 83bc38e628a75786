package tap

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/windlass-db/windlass/internal/capture"
)

// Of each fingerprint the share is kept, rare ones at least once; what changes a session always.
func TestSample(t *testing.T) {
	tap := start(t, func(c *Config) { c.Sample = 0.1 })
	var s Session
	s.Login("app", "", 45)
	for i := range 1000 {
		ask(tap.Tap, &s, fmt.Sprintf("SELECT * FROM often WHERE id=%d", i))
	}
	ask(tap.Tap, &s, "SELECT * FROM rare")
	ask(tap.Tap, &s, "SET @a=1")
	ask(tap.Tap, &s, "SET @a=2")
	st := tap.balanced(t)
	files, _ := tap.read(t, nil)
	got := texts(files[0])
	if n := strings.Count(got, "often"); n != 100 || !strings.Contains(got, "rare") || strings.Count(got, "SET @a") != 2 || st.Dropped[Sampled] != 900 {
		t.Errorf("%d of often, %v", n, st.Dropped)
	}
	if lost := files[0][len(files[0])-6].Lost; lost != 0 {
		t.Errorf("reads that were sampled out are told as lost: %d", lost)
	}
}

// Of prepared statements executions are sampled, not what belongs to them; and one whose long data was not kept has no parameters that anybody could trust.
func TestSampleOfPreparedStatements(t *testing.T) {
	tap := start(t, func(c *Config) { c.Sample = 0.25 })
	var s Session
	s.Login("app", "", 45)
	text := []byte("SELECT ?")
	counts := map[byte]int{}
	for range 100 {
		var known Known
		for _, command := range []byte{comPrepare, comExecute, 0x1c, 0x19} {
			st := Statement{Command: command, Text: text, Payload: []byte("1234567890"), Number: 1, Prepared: &known, Answered: command != 0x19, Autocommit: true}
			s.Start(tap.Tap, &st)
			s.End(&Answer{})
		}
	}
	var known Known
	long := Statement{Command: comLongData, Text: text, Payload: []byte("123456data"), Number: 2, Prepared: &known, Autocommit: true}
	execute := Statement{Command: comExecute, Text: text, Payload: []byte("1234567890"), Number: 2, Prepared: &known, Answered: true, Autocommit: true, Long: true}
	whole := func() {
		for _, st := range []Statement{long, execute} {
			s.Start(tap.Tap, &st)
			s.End(&Answer{})
		}
	}
	whole()
	tap.stopped.Store(true) // as if there were no room
	s.Start(tap.Tap, &long)
	tap.stopped.Store(false)
	whole()
	tap.balanced(t)
	files, _ := tap.read(t, nil)
	var withheld []string
	for _, e := range files[0] {
		if e.Kind == capture.Start && e.Statement == 1 {
			counts[e.Command]++
		}
		if e.Kind == capture.Start && e.Statement == 2 {
			withheld = append(withheld, e.Withheld)
		}
	}
	if counts[comPrepare] != 25 || counts[comExecute] != 25 || counts[0x1c] != 100 || counts[0x19] != 100 {
		t.Errorf("%v", counts)
	}
	if !slices.Equal(withheld, []string{"", "", "", capture.WithheldIncomplete}) {
		t.Errorf("%q", withheld)
	}
}
