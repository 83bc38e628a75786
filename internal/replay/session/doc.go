// Package session is one captured connection, replayed: what may be sent of it, and the connection that sends it.
//
// The model: Classify says of a statement, by its tokens alone, what is done with it. A Conn is a connection of the replay's own account that stands for a captured one: with its schema, its
// character set and its settings (Env), its prepared statements under other numbers, and its clock where a statement asks for the time. It runs one statement after the other and gives of each what
// compare wants: error, number of rows, hashes, flags, times. Rows are never held.
//
// Invariants. Nothing is sent that is not surely a read, or a change of the session alone. The connection is READ ONLY before anything else is sent on it, so that a function with
// effects is refused, whoever defined it; several statements in one text are refused, too, for the connection never asked to send them. A transaction is begun as a read-only one.
//
// Failure. A refusal of the server is an answer. Any other error means that the connection is lost, and nothing is known of the statement: the caller closes the Conn, and opens another one with
// the same Env; prepared statements are prepared again when they are executed.
package session
