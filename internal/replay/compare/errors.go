package compare

// Errors that mean something to a comparison. The numbers are those of MariaDB and MySQL, which agree in them.
const (
	errParse    = 1064 // ER_PARSE_ERROR
	errSyntax   = 1149 // ER_SYNTAX_ERROR
	errConflict = 1020 // ER_CHECKREAD: "Record has changed since last read", of innodb_snapshot_isolation
)

// class is what an error says about the version.
type class uint8

const (
	fine      class = iota // no error
	lasting                // the statement and the schema make it: it would be there each time
	timeout                // a limit of time ended it: if that happens each time, the version is slower
	occasion               // a lock, a lost connection, a server that shuts down: it says nothing
	permitted              // the replay's account may not, or the server takes no writes: it says nothing
)

// classOf tells the classes of errors apart by number alone.
func classOf(a Answer) class {
	switch {
	case a.TimedOut:
		return timeout
	case a.Unfinished:
		return occasion
	}
	switch a.Errno {
	case 0:
		return fine
	case 1317, 1969, 3024: // ER_QUERY_INTERRUPTED, ER_STATEMENT_TIMEOUT, ER_QUERY_TIMEOUT
		return timeout
	case 1205, 1213, // lock wait, deadlock
		1021, 1037, 1038, 1041, 1114, // no space, no memory, table full
		1040, 1203, 1226, 1461, // too many connections, statements
		1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031, // shutdown, broken connections
		2002, 2003, 2006, 2013, 2055: // the client's own: connection lost
		return occasion
	case 1044, 1045, 1142, 1143, 1227, 1370, 1698, 1820, 4151, // rights
		1290, 1792, 1836: // read only
		return permitted
	}
	return lasting
}

// errorKind compares the errors of the old and the new side; "" if there is no difference.
func errorKind(old, new Answer) Kind {
	switch {
	case isSyntax(new):
		if isSyntax(old) {
			return "" // one class
		}
		return Syntax
	case new.Errno == errConflict && old.Errno != errConflict:
		return Conflict
	case old.Errno == new.Errno && old.Unfinished == new.Unfinished && old.TimedOut == new.TimedOut:
		return ""
	case new.TimedOut:
		if old.TimedOut {
			return ""
		}
		return Timeout
	case classOf(old) == fine:
		return Error
	case classOf(new) == fine:
		return ErrorGone
	}
	return ErrorOther
}

func isSyntax(a Answer) bool { return a.Errno == errParse || a.Errno == errSyntax }
