// Package adminapi is the seam between a gateway and whoever steers it: the types of the gateway's admin API, its
// paths and error codes, and a client.
//
// A switch, seen from a gateway:
//
//	prepare ──► prepared ──► hold ──► draining ──► held ──► release ──► open, on the new primary
//	                │                    │           │
//	                └────── cancel ◄─────┴───────────┴── cancel, or the TTL ran out: the servers' read_only decides
//
// Every act carries the switch's id and a term. A gateway refuses a term lower than the highest that it has seen
// (*TermError), keeps that term on disk, and lets a higher term with the same switch id take a switch over. Every act
// is safe to repeat. A hold is comfort, never truth: it ends by itself when its TTL, counted on the gateway's monotonic
// clock, is over, and then traffic goes to the one writable server, if there is exactly one.
package adminapi

import "time"

// Paths of the admin API. All but PathHealth need the bearer token.
const (
	PathHealth   = "/healthz"           // GET, 200 while the process serves
	PathMetrics  = "/metrics"           // GET, Prometheus text
	PathStatus   = "/v1/status"         // GET → Status
	PathSessions = "/v1/sessions"       // GET → SessionList
	PathClose    = "/v1/sessions/close" // POST CloseRequest → CloseReply
	PathServers  = "/v1/servers"        // PUT ServersRequest → Status
	PathFence    = "/v1/fence"          // POST FenceRequest → Status
	PathCapture  = "/v1/capture"        // GET → CaptureStatus
	PathSwitch   = "/v1/switch"         // GET → SwitchStatus
	PathPrepare  = "/v1/switch/prepare" // POST PrepareRequest → PrepareReply
	PathHold     = "/v1/switch/hold"    // POST HoldRequest → SwitchStatus
	PathRelease  = "/v1/switch/release" // POST ReleaseRequest → ReleaseReply
	PathCancel   = "/v1/switch/cancel"  // POST CancelRequest → SwitchStatus

	PathCaptureStart = "/v1/capture/start" // POST CaptureRequest → CaptureStatus
	PathCaptureStop  = "/v1/capture/stop"  // POST CaptureStopRequest → CaptureStatus
)

// Phase is where a gateway is in a switch.
type Phase string

// The phases. Draining already holds new transactions; held means that nothing is in flight.
const (
	PhaseIdle     Phase = "idle"
	PhasePrepared Phase = "prepared"
	PhaseDraining Phase = "draining"
	PhaseHeld     Phase = "held"
)

// Route is what an endpoint does with a new transaction.
type Route string

// The routes. All but open make a new transaction wait, and refuse it when its budget is over.
const (
	RouteOpen      Route = "open"       // goes to the server named in Primary, or to a replica
	RouteHeld      Route = "held"       // a switch holds it
	RouteNone      Route = "none"       // no server is writable, or no replica of the cell is fit
	RouteContested Route = "contested"  // two or more servers are writable: never guess
	RouteUnknown   Route = "unobserved" // not every server has been asked yet
)

// Role is what a server said of itself last.
type Role string

// The roles. Unknown is what a failed or old observation gives.
const (
	RoleWritable Role = "writable"
	RoleReadOnly Role = "read-only"
	RoleUnknown  Role = "unknown"
)

// OnOpen says what a hold does with a transaction that wrote or locked and does not end within the drain.
type OnOpen string

// Call-off releases the hold and answers *BlockedError; fail rolls the transaction back and answers its client 1213.
const (
	CallOff OnOpen = "call-off"
	Fail    OnOpen = "fail"
)

// Status is everything that a gateway says of itself.
type Status struct {
	Name     string          `json:"name"`
	Version  string          `json:"version"` // of the gateway
	Started  time.Time       `json:"started"`
	Term     int64           `json:"term"`               // the highest seen
	Stopping bool            `json:"stopping,omitempty"` // after SIGTERM: no new clients
	Writer   EndpointStatus  `json:"writer"`
	ReadOnly *EndpointStatus `json:"read_only,omitempty"`
	Servers  []ServerStatus  `json:"servers"`
	Switch   SwitchStatus    `json:"switch"`
	Clients  []ClientCount   `json:"clients"` // by client address without port, most connections first
	Counts   Counts          `json:"counts"`
	Capture  *CaptureStatus  `json:"capture,omitempty"` // nil: the configuration has none
}

// Sessions is the number of client connections on both endpoints.
func (s Status) Sessions() int {
	n := s.Writer.Sessions
	if s.ReadOnly != nil {
		n += s.ReadOnly.Sessions
	}
	return n
}

// EndpointStatus is one listener: the writer's, or the read-only one.
type EndpointStatus struct {
	Listen        string `json:"listen"` // host:port
	Route         Route  `json:"route"`
	Primary       string `json:"primary,omitempty"` // address of the server that takes writes; empty unless open, and on the read-only endpoint
	Sessions      int    `json:"sessions"`
	InTransaction int    `json:"in_transaction"`
	InFlight      int    `json:"in_flight"` // commands whose reply is not complete
	Waiting       int    `json:"waiting"`   // commands that a hold or a missing primary makes wait
	Elsewhere     int    `json:"elsewhere"` // sessions still on another server than the route's, to move at their next boundary
}

// ServerStatus is what the monitor knows of one server.
type ServerStatus struct {
	Address  string `json:"address"` // host:port as configured
	Local    bool   `json:"local"`   // of this gateway's own cell
	Role     Role   `json:"role"`
	Version  string `json:"version,omitempty"`   // such as "10.11.18-MariaDB"
	ServerID uint32 `json:"server_id,omitempty"` // @@server_id
	UUID     string `json:"uuid,omitempty"`      // @@server_uid or @@server_uuid
	LagMS    int64  `json:"lag_ms"`              // behind its source; -1 when unknown or not a replica
	SeenMS   int64  `json:"seen_ms"`             // age of the last good observation; -1 when there was none
	Sessions int    `json:"sessions"`            // client sessions whose backend it is
	// MonitorIDs are the ids of the gateway's own connections to it, which are no client's.
	MonitorIDs []uint32 `json:"monitor_ids,omitempty"`
	Error      string   `json:"error,omitempty"`
}

// SwitchStatus is where the gateway is in a switch. TTLLeftMS is what remains of the hold on the gateway's clock: demote
// only if it is more than the worst demotion and its undo.
type SwitchStatus struct {
	Phase     Phase     `json:"phase"`
	Switch    string    `json:"switch,omitempty"`
	Term      int64     `json:"term,omitempty"`   // of the switch
	Target    string    `json:"target,omitempty"` // address of the elect
	TTLLeftMS int64     `json:"ttl_left_ms,omitempty"`
	HeldMS    int64     `json:"held_ms,omitempty"`   // since the hold closed the gate
	InFlight  int       `json:"in_flight"`           // sessions that keep the hold from being complete; 0 when held
	Lingering int       `json:"lingering,omitempty"` // readers that finish on the old primary (trap 15)
	Waiting   int       `json:"waiting"`             // commands held now
	Ready     int       `json:"ready"`               // sessions that are open and restored on the elect
	Last      *LastHold `json:"last,omitempty"`      // how the last hold of this process ended
}

// LastHold tells how a hold ended.
type LastHold struct {
	Switch  string    `json:"switch"`
	Term    int64     `json:"term"`
	Outcome string    `json:"outcome"` // released, cancelled, blocked, expired, superseded
	HeldMS  int64     `json:"held_ms"` // from closing the gate to opening it
	At      time.Time `json:"at"`
}

// ClientCount is how many connections one client address has.
type ClientCount struct {
	Address  string    `json:"address"` // without port
	Sessions int       `json:"sessions"`
	Oldest   time.Time `json:"oldest"` // when its oldest connection began
}

// Counts only grow, from the start of the process.
type Counts struct {
	Connections   uint64 `json:"connections"`
	LoginsRefused uint64 `json:"logins_refused"`
	Commands      uint64 `json:"commands"`
	Moves         uint64 `json:"moves"`         // sessions moved to another server
	MovesFailed   uint64 `json:"moves_failed"`  // sessions that had to be closed because they could not move
	Reheld        uint64 `json:"reheld"`        // statements refused as read-only and sent to the next primary (trap 11)
	Refused       uint64 `json:"refused"`       // commands refused because there was no one primary within the budget
	Unknown       uint64 `json:"unknown"`       // commands whose bytes were sent and whose reply was lost (trap 13)
	RolledBack    uint64 `json:"rolled_back"`   // transactions that a switch ended
	ForcedCloses  uint64 `json:"forced_closes"` // connections closed by request (trap 32)
	Holds         uint64 `json:"holds"`
	HoldsExpired  uint64 `json:"holds_expired"`
}

// SessionList is every client connection.
type SessionList struct {
	Sessions []Session `json:"sessions"`
}

// Session is one client connection. ThreadID and ShadowThreadID tell the gateway's connections apart from others in a
// server's process list.
type Session struct {
	ID             uint32    `json:"id"` // the connection id that the client was told
	User           string    `json:"user"`
	Client         string    `json:"client"`   // host:port
	Endpoint       string    `json:"endpoint"` // writer or read-only
	Since          time.Time `json:"since"`
	Server         string    `json:"server,omitempty"`
	ThreadID       uint32    `json:"thread_id,omitempty"` // connection id on Server
	ShadowServer   string    `json:"shadow_server,omitempty"`
	ShadowThreadID uint32    `json:"shadow_thread_id,omitempty"` // connection id of the session restored ahead on the elect
	Schema         string    `json:"schema,omitempty"`
	InTransaction  bool      `json:"in_transaction,omitempty"`
	InFlight       bool      `json:"in_flight,omitempty"`
	Waiting        bool      `json:"waiting,omitempty"`
	IdleMS         int64     `json:"idle_ms"` // since its last command began
	Commands       uint64    `json:"commands"`
}

// ServersRequest replaces the list of servers. All holds every server of the cluster, in every cell; Local those of
// the gateway's own cell. Replacing it with the same list changes nothing.
type ServersRequest struct {
	Term  int64    `json:"term"`
	Local []string `json:"local"` // host:port
	All   []string `json:"all"`
}

// FenceRequest raises the term: afterwards nobody with a lower one can act.
type FenceRequest struct {
	Term int64 `json:"term"`
}

// CloseRequest closes client connections by force: an override, counted in Counts.ForcedCloses.
type CloseRequest struct {
	Term      int64    `json:"term"`
	Addresses []string `json:"addresses,omitempty"` // client addresses without port; none: all
	IDs       []uint32 `json:"ids,omitempty"`       // or single sessions
	Reason    string   `json:"reason"`
}

// CloseReply says how many connections were closed.
type CloseReply struct {
	Closed int `json:"closed"`
}

// PrepareRequest opens and restores every session of the writer endpoint on the elect, holding nothing.
type PrepareRequest struct {
	Switch    string `json:"switch"`
	Term      int64  `json:"term"`
	Target    string `json:"target"`               // address of the elect, one of the gateway's servers
	DryRun    bool   `json:"dry_run,omitempty"`    // report only: keep no session open on the elect, change no phase
	TimeoutMS int64  `json:"timeout_ms,omitempty"` // 0: 30 s
}

// PrepareReply is what the preflight wants to know of a gateway.
type PrepareReply struct {
	Status    SwitchStatus   `json:"status"`
	Sessions  int            `json:"sessions"`  // of the writer endpoint
	Ready     int            `json:"ready"`     // open and restored on the elect
	Unmovable []Blocker      `json:"unmovable"` // sessions that hold what can't move; the switch would cut them off
	Accounts  []AccountCheck `json:"accounts"`  // every account logged in on the elect (trap 22)
	Problems  []string       `json:"problems"`  // of the elect: too few connections left, missing capabilities
	Warnings  []string       `json:"warnings"`  // what the gateway can't see, such as user locks taken in routines
}

// OK reports whether nothing stands against holding.
func (r PrepareReply) OK() bool {
	if len(r.Unmovable) > 0 || len(r.Problems) > 0 {
		return false
	}
	for _, a := range r.Accounts {
		if a.Error != "" {
			return false
		}
	}
	return true
}

// AccountCheck is one account's login on the elect.
type AccountCheck struct {
	User  string `json:"user"`
	Error string `json:"error,omitempty"`
}

// Blocker is one session that keeps a switch from going on, and why.
type Blocker struct {
	Session  uint32   `json:"session"`
	User     string   `json:"user"`
	Client   string   `json:"client"` // host:port
	Server   string   `json:"server,omitempty"`
	ThreadID uint32   `json:"thread_id,omitempty"`
	Kind     string   `json:"kind"`   // one of the Block… constants
	Detail   string   `json:"detail"` // what was seen, for people
	AgeMS    int64    `json:"age_ms,omitempty"`
	Names    []string `json:"names,omitempty"` // of locks or variables
}

// Kinds of Blocker.
const (
	BlockTransaction  = "transaction"     // open, and it wrote or locked
	BlockCommand      = "command"         // a command in flight that is not known to be a read
	BlockTempTable    = "temporary-table" // temporary tables
	BlockUserLock     = "user-lock"       // GET_LOCK
	BlockTableLock    = "table-lock"      // LOCK TABLES
	BlockHandler      = "handler"         // HANDLER … OPEN
	BlockXA           = "xa"              // a prepared XA transaction
	BlockCursor       = "cursor"          // an open server-side cursor
	BlockLongData     = "long-data"       // COM_STMT_SEND_LONG_DATA without its EXECUTE
	BlockSQLPrepare   = "sql-prepare"     // PREPARE … FROM in SQL
	BlockVariable     = "variable"        // a session variable that the elect does not take
	BlockCollation    = "collation"       // a collation that the elect does not have
	BlockLogin        = "login"           // the account can't log in on the elect
	BlockCapabilities = "capabilities"    // the client negotiated what the elect can't do
	BlockUnknown      = "unknown"         // its state could not be read
)

// HoldRequest closes the gate for new transactions, and answers when nothing is in flight.
type HoldRequest struct {
	Switch  string `json:"switch"`
	Term    int64  `json:"term"`
	TTLMS   int64  `json:"ttl_ms"`   // the hold ends by itself after this, counted from the request's arrival
	DrainMS int64  `json:"drain_ms"` // how long open transactions may take to end
	OnOpen  OnOpen `json:"on_open,omitempty"`
}

// ReleaseRequest opens the gate. Primary is where writes go from now on; the gateway asks every server itself
// and keeps holding (ErrNotWritable) unless exactly that one is writable.
type ReleaseRequest struct {
	Switch  string `json:"switch"`
	Term    int64  `json:"term"`
	Primary string `json:"primary"`
}

// ReleaseReply says what the hold cost.
type ReleaseReply struct {
	Status        SwitchStatus `json:"status"`
	HeldMS        int64        `json:"held_ms"`         // from closing the gate to opening it
	LongestWaitMS int64        `json:"longest_wait_ms"` // of one command, so far
	Waited        int          `json:"waited"`          // commands that were held
}

// CancelRequest ends a switch. The gateway asks the servers, and opens the gate to the one that is writable.
type CancelRequest struct {
	Switch string `json:"switch"`
	Term   int64  `json:"term"`
}
