package schema

import (
	"os"
	"testing"

	"github.com/windlass-db/windlass/internal/driver/process/processtest"
	"github.com/windlass-db/windlass/internal/state/statetest"
)

// pgServer is the URL of a PostgreSQL 15 of the test, or of the one that runs already and is named by WINDLASS_TEST_POSTGRES.
func pgServer(t *testing.T) string {
	if s := os.Getenv("WINDLASS_TEST_POSTGRES"); s != "" {
		return s
	}
	return statetest.Postgres(t)
}

// mariaServer is the DSN of a MariaDB 11.8 of the test, or of the one that runs already and is named by WINDLASS_TEST_MARIADB.
func mariaServer(t *testing.T) string {
	if s := os.Getenv("WINDLASS_TEST_MARIADB"); s != "" {
		return s
	}
	s := processtest.Primary(t, "11.8", processtest.With("skip-log-bin"))
	return processtest.DSN(s.Address(), processtest.AdminUser, processtest.AdminPassword, "app")
}
