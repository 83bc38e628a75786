package processtest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/driver/process"
)

// BIND starts a name server that is primary for the zone, with these address records.
func BIND(t testing.TB, zone string, hosts map[string]string) process.BIND {
	t.Helper()
	b := process.BIND{Build: Fetch(t, "bind9"), Dir: filepath.Join(t.TempDir(), "bind"), Port: FreePort(t), Zone: zone, Hosts: hosts}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s, err := b.Spec()
		if err == nil {
			err = s.Kill(ctx)
		}
		if err != nil {
			t.Errorf("end the name server: %v", err)
		}
	})
	if err := b.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return b
}
