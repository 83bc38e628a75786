// Package mysql moves data and the primary's role between MariaDB and MySQL servers. It gives bluegreen.Storage, but
// for seeding, and bluegreen.Switcher.
//
// # Model
//
// The servers' own state is the truth. A node's role is what `SELECT @@global.read_only` answers, alone (trap 4): a node
// that is not read-only is a primary. Beside it every server keeps, in a schema called windlass that is never written to
// the binary log, two rows of ours: the fence, which is the highest term seen, and the standing, which is what the last
// switch meant this server to be. The standing decides only where the servers' roles can't: when no node is writable.
//
// # Fencing (trap 1)
//
// Every change goes through the procedure windlass.act, which takes a lock, compares the caller's term with the fence and
// runs the statement, in one call on the server. Fence takes the same lock to raise the term, so that an act either ended
// before it or is refused after it, and then kills the predecessor's connections and sees them gone. A server that can't
// be reached is an error: hold.
//
// # Switch
//
// The steps and their order are the table `path` in path.go. Before the promotion every failure is undone, with a context
// of its own: the old primary is writable again, seen so. After it the switch goes on forward. Run again after a kill it
// observes which of the two holds. With two writable nodes, or none and no standing that tells why, it touches nothing.
//
// # Failures
//
// An act whose answer was lost is settled before anything else is done: its connection is killed and seen gone, and
// then the role is read (trap 3). A read that fails is unknown, and unknown holds.
package mysql
