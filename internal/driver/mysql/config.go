package mysql

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Secret is a password. It prints as a placeholder wherever it is formatted or logged.
type Secret string

const hidden = "(secret)"

// String hides the secret.
func (Secret) String() string { return hidden }

// GoString hides the secret.
func (Secret) GoString() string { return hidden }

// LogValue hides the secret.
func (Secret) LogValue() slog.Value { return slog.StringValue(hidden) }

// MarshalText hides the secret.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Account is a database account. The password is asked for at every login, so that it may be rotated.
type Account struct {
	User     string
	Password func(ctx context.Context) (Secret, error)
}

// Fixed is a password that does not change.
func Fixed(s Secret) func(context.Context) (Secret, error) {
	return func(context.Context) (Secret, error) { return s, nil }
}

// Config is one environment's driver.
type Config struct {
	// Admin is the supervisor's account on every node. It must be the supervisors' alone: Fence ends every other
	// connection of it that may act. Grants lists what it needs.
	Admin Account
	// Replication is the account that replicas log in with; it needs REPLICATION SLAVE. Zero: Admin.
	Replication Account
	// TLS for the driver's own connections; nil: none.
	TLS *tls.Config
	// ReplicationTLS makes replicas demand TLS of their source. MariaDB 11.8 does so by itself unless told otherwise.
	ReplicationTLS bool
	// Gateway opens a gateway's admin API.
	Gateway func(fleet.Gateway) (Gateway, error)
	// WithoutGateways lets a cluster that has no gateway at all be switched: its clients then see errors.
	WithoutGateways bool
	// Known names what may be connected to a primary beside the gateways.
	Known Known
	// BootsReadOnly tells whether a node's configuration starts it read-only, where the server itself can't say so: MariaDB
	// keeps no trace of the option file once the variable was set. Nil or ErrNotKnown: the server is asked, then the cluster's
	// label LabelBootsReadOnly; else it is unknown.
	BootsReadOnly func(ctx context.Context, n fleet.Node) (bool, error)

	Dial  time.Duration // to connect and log in; 0: 3 s
	Query time.Duration // for one short statement; 0: 5 s
	Log   *slog.Logger
	Now   func() time.Time
	// NoReopen leaves a primary that was restarted to somebody else, such as a failover tool, which might open another one in the same
	// moment. A switch still opens what it itself has closed.
	NoReopen bool
}

// Known names clients that a switch may leave alone: monitoring, backup, readers of the binary log.
type Known struct {
	Users     []string // accounts of clients
	Addresses []string // client addresses without port
	Readers   []string // accounts of binary log readers that can follow the primary by themselves
}

// Labels of a cluster in the inventory that this driver reads.
const (
	LabelBootsReadOnly = "windlass/boots-read-only" // "yes": a person vouches that every server's configuration says read_only=1
	LabelNeverPrimary  = "windlass/never-primary"   // names of nodes, separated by commas, that must not be elected
)

// Driver gives the capabilities. It holds no connection between calls; it is safe for concurrent use.
type Driver struct {
	cfg Config
	log *slog.Logger

	mu   sync.Mutex
	open map[string]map[uint64]bool // connection ids of this driver, by address: Fence spares them
}

// New makes a driver.
func New(cfg Config) (*Driver, error) {
	if cfg.Admin.User == "" || cfg.Admin.Password == nil {
		return nil, errors.New("mysql driver: an admin account with a password is needed")
	}
	if cfg.Replication.User == "" {
		cfg.Replication = cfg.Admin
	}
	if cfg.Replication.Password == nil {
		return nil, fmt.Errorf("mysql driver: the replication account %s has no password", cfg.Replication.User)
	}
	if cfg.Dial == 0 {
		cfg.Dial = 3 * time.Second
	}
	if cfg.Query == 0 {
		cfg.Query = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Driver{cfg: cfg, log: cfg.Log, open: map[string]map[uint64]bool{}}, nil
}

// Grants lists the privileges that the admin account needs, as statements for an account of that name.
func Grants(product, account string) []string {
	own := "GRANT ALL PRIVILEGES ON windlass.* TO " + account
	if product == "mysql" {
		return []string{
			"GRANT SELECT, PROCESS, SUPER, EVENT, SHOW VIEW, TRIGGER, REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO " + account,
			// SYSTEM_USER: without it nobody may end a connection of an account that has it, an administrator's left on the demoted server.
			"GRANT SYSTEM_USER, SYSTEM_VARIABLES_ADMIN, PERSIST_RO_VARIABLES_ADMIN, SESSION_VARIABLES_ADMIN, CONNECTION_ADMIN, REPLICATION_SLAVE_ADMIN, BINLOG_ADMIN, XA_RECOVER_ADMIN, SHOW_ROUTINE ON *.* TO " + account,
			own,
		}
	}
	return []string{
		"GRANT SELECT, PROCESS, RELOAD, SUPER, EVENT, SHOW VIEW, TRIGGER, READ_ONLY ADMIN, BINLOG ADMIN, BINLOG MONITOR, CONNECTION ADMIN, REPLICATION SLAVE, REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, SLAVE MONITOR ON *.* TO " + account,
		own,
	}
}
