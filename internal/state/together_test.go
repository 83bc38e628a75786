package state

import (
	"sync"
	"testing"
)

// Several servers that are started at once on a state that is not there yet, or is of an older release, all come up, and the tables are made once.
func TestServersMakeOneNewStateTogether(t *testing.T) {
	const servers = 8
	for range 4 {
		place := newPlace(t)
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for range servers {
			wg.Go(func() {
				<-begin
				s, err := Open(ctx, place, Options{LeaseTTL: ttl})
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
		s, err := Open(ctx, place, Options{LeaseTTL: ttl})
		must(t, err)
		var twice int
		must(t, s.read.QueryRow(`SELECT COUNT(*) - COUNT(DISTINCT version_id) FROM goose_db_version`).Scan(&twice))
		if twice != 0 {
			t.Errorf("%d migrations are noted twice", twice)
		}
		must(t, s.Close())
	}
}
