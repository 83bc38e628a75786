package process

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Upgrade brings the system tables of a data folder that an older version has left in good order up to this build. The server runs alone
// meanwhile: on its socket only, without accounts, replication and events. It repeats safely.
func (m MariaDB) Upgrade(ctx context.Context) error {
	alone := m
	alone.Extra = append(append([]string{}, m.Extra...), "skip-networking", "skip-grant-tables", "skip-slave-start")
	if err := alone.Init(ctx); err != nil {
		return err
	}
	s, err := alone.Spec()
	if err != nil {
		return err
	}
	tool := func(ctx context.Context, program string, args ...string) ([]byte, error) {
		return exec.CommandContext(ctx, filepath.Join(m.Build.Bin(), program), append([]string{"--no-defaults", "--socket=" + m.Socket(), "--skip-ssl"}, args...)...).CombinedOutput()
	}
	s.Ready = func(ctx context.Context) error {
		if out, err := tool(ctx, "mariadb", "--execute=DO 0"); err != nil {
			return fmt.Errorf("%w: %s", err, tailOf(string(out)))
		}
		return nil
	}
	if err := s.Start(ctx); err != nil {
		return err
	}
	out, err := tool(ctx, "mariadb-upgrade", "--skip-write-binlog")
	if err != nil {
		return fmt.Errorf("mariadb-upgrade of %s: %w: %s", m.Name, err, tailOf(string(out)))
	}
	return s.Stop(ctx)
}
