// Package gateway is the data plane: it logs clients in, forwards their commands to the one writable server (or, on
// the read-only endpoint, to replicas of its own cell), and moves their sessions to another server without an error or a
// reconnect when the primary's role moves.
//
// # Model
//
// A session is one client connection and, behind it, one connection to a server that is logged in as the same user. One
// goroutine serves it in lock-step: read a command, pass the gate, forward the bytes, forward the answer until its state
// machine (wire.Reply) says that it is complete. So between two commands nothing is in flight, and whoever holds the session's
// lock then may ask its server for the session's state and put another connection in its place.
//
// The monitor asks every server for its role. What it saw makes the route: open to exactly one writable server, or none,
// contested, held. A command outside of a transaction passes the gate if the route is open to the server that its session
// is on; otherwise it waits, moves the session, or is refused when its budget is over.
//
// A switch (type switcher) is prepare, hold, release, told by the admin API. Prepare opens a second connection, the shadow,
// for every session on the elect, and restores the session's state there. Hold closes the route and waits until nothing is in
// flight. Release asks the servers, opens the route, and each session steps over to its shadow.
//
// # Invariants
//
//   - Bytes that were sent to a server are never sent again; a statement that the server definitely refused as read-only
//     before doing anything may be (trap 13, trap 11).
//   - Nobody is held inside a transaction (trap 14).
//   - The servers' own read_only decides where traffic goes; a hold only delays it, and ends by itself (trap 10).
//   - A session moves only between two commands, with no transaction, cursor, long data or lock open (trap 25), and with
//     all of its state, or not at all.
//   - After the login no packet is made anew, but for a closed list: statement ids, parameter types on the first EXECUTE
//     after a move, KILL's connection id, and the session-state part of OK packets (trap 24).
//
// # Failure
//
// A lost server closes its clients' connections, as it would without a gateway: what became of their last command is unknown
// and nobody may pretend otherwise. A gateway that is killed leaves nothing behind but its state file, with the highest term
// and the list of servers; after a restart the servers' state decides again. A control plane that is gone changes nothing.
package gateway
