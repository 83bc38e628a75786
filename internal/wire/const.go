package wire

// Command is the first byte of a client's packet.
type Command byte

// The commands.
const (
	ComSleep           Command = 0x00
	ComQuit            Command = 0x01
	ComInitDB          Command = 0x02
	ComQuery           Command = 0x03
	ComFieldList       Command = 0x04
	ComCreateDB        Command = 0x05
	ComDropDB          Command = 0x06
	ComRefresh         Command = 0x07
	ComShutdown        Command = 0x08
	ComStatistics      Command = 0x09
	ComProcessInfo     Command = 0x0a
	ComConnect         Command = 0x0b
	ComProcessKill     Command = 0x0c
	ComDebug           Command = 0x0d
	ComPing            Command = 0x0e
	ComChangeUser      Command = 0x11
	ComBinlogDump      Command = 0x12
	ComTableDump       Command = 0x13
	ComRegisterSlave   Command = 0x15
	ComStmtPrepare     Command = 0x16
	ComStmtExecute     Command = 0x17
	ComStmtLongData    Command = 0x18
	ComStmtClose       Command = 0x19
	ComStmtReset       Command = 0x1a
	ComSetOption       Command = 0x1b
	ComStmtFetch       Command = 0x1c
	ComDaemon          Command = 0x1d
	ComBinlogDumpGTID  Command = 0x1e
	ComResetConnection Command = 0x1f
	ComClone           Command = 0x20
	ComStmtBulkExecute Command = 0xfa // MariaDB
)

// HasReply reports whether the server answers the command at all.
func (c Command) HasReply() bool {
	return c != ComQuit && c != ComStmtLongData && c != ComStmtClose
}

// Capability is a set of flags that client and server agree on.
type Capability uint32

// The capabilities. LongPassword is called CLIENT_MYSQL by MariaDB: a server that leaves it out speaks of extended
// capabilities in the greeting's filler.
const (
	CapLongPassword     Capability = 1 << 0
	CapFoundRows        Capability = 1 << 1
	CapLongFlag         Capability = 1 << 2
	CapConnectWithDB    Capability = 1 << 3
	CapNoSchema         Capability = 1 << 4
	CapCompress         Capability = 1 << 5
	CapODBC             Capability = 1 << 6
	CapLocalFiles       Capability = 1 << 7
	CapIgnoreSpace      Capability = 1 << 8
	CapProtocol41       Capability = 1 << 9
	CapInteractive      Capability = 1 << 10
	CapSSL              Capability = 1 << 11
	CapIgnoreSigpipe    Capability = 1 << 12
	CapTransactions     Capability = 1 << 13
	CapReserved         Capability = 1 << 14
	CapSecureConnection Capability = 1 << 15
	CapMultiStatements  Capability = 1 << 16
	CapMultiResults     Capability = 1 << 17
	CapPSMultiResults   Capability = 1 << 18
	CapPluginAuth       Capability = 1 << 19
	CapConnectAttrs     Capability = 1 << 20
	CapPluginAuthLenenc Capability = 1 << 21
	CapExpiredPasswords Capability = 1 << 22
	CapSessionTrack     Capability = 1 << 23
	CapDeprecateEOF     Capability = 1 << 24
	CapOptionalMetadata Capability = 1 << 25
	CapZstd             Capability = 1 << 26
	CapQueryAttributes  Capability = 1 << 27
	CapMultiFactor      Capability = 1 << 28
)

// ExtCapability is MariaDB's second set, bits 32 and up of its own count.
type ExtCapability uint32

// The extended capabilities.
const (
	ExtProgress         ExtCapability = 1 << 0
	ExtMulti            ExtCapability = 1 << 1
	ExtBulkOperations   ExtCapability = 1 << 2
	ExtExtendedMetadata ExtCapability = 1 << 3
	ExtCacheMetadata    ExtCapability = 1 << 4
	ExtBulkUnitResults  ExtCapability = 1 << 5
)

// Status is the set of server status flags in OK and EOF packets.
type Status uint16

// The status flags.
const (
	StatusInTrans         Status = 0x0001
	StatusAutocommit      Status = 0x0002
	StatusMoreResults     Status = 0x0008
	StatusNoGoodIndex     Status = 0x0010
	StatusNoIndex         Status = 0x0020
	StatusCursorExists    Status = 0x0040
	StatusLastRowSent     Status = 0x0080
	StatusDBDropped       Status = 0x0100
	StatusNoBackslash     Status = 0x0200 // of sql_mode: \ is a character as any other in texts
	StatusMetadataChanged Status = 0x0400
	StatusQueryWasSlow    Status = 0x0800
	StatusPSOutParams     Status = 0x1000
	StatusInTransReadonly Status = 0x2000
	StatusSessionChanged  Status = 0x4000
)

// The first bytes of answers.
const (
	headerOK         = 0x00
	headerLocalFile  = 0xfb
	headerEOF        = 0xfe
	headerERR        = 0xff
	headerAuthSwitch = 0xfe
	headerAuthMore   = 0x01
)

// MaxFrame is the payload length that says "continued in the next frame".
const MaxFrame = 1<<24 - 1

// Error numbers that this system tells apart or sends itself.
const (
	ErrAccessDenied         = 1045
	ErrUnknownCommand       = 1047
	ErrServerShutdown       = 1053
	ErrNoSuchThread         = 1094
	ErrKillDenied           = 1095
	ErrUnknown              = 1105
	ErrNoSuchTable          = 1146
	ErrTableNotLocked       = 1100
	ErrHandshake            = 1043
	ErrTooManyConnections   = 1040
	ErrUnknownDatabase      = 1049
	ErrDatabaseAccessDenied = 1044
	ErrTableAccessDenied    = 1142
	ErrNeedsPrivilege       = 1227
	ErrPacketTooLarge       = 1153
	ErrOptionPrevents       = 1290
	ErrLockDeadlock         = 1213
	ErrUnknownStmt          = 1243
	ErrNeedReprepare        = 1615
	ErrUnknownCollation     = 1273
	ErrQueryInterrupted     = 1317
	ErrReadOnlyTrans        = 1792
	ErrConnectionKilled     = 1927
)
