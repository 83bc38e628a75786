// Package wire is the MySQL and MariaDB client/server protocol as a gateway and a replayer need it: frames are read and
// passed on as they came, and only a closed list of packets is ever looked into.
//
// Model. A Conn is a socket with one read buffer and the sequence number of the next packet. Between logins it is used
// in two ways that must not be mixed inside one command: packet by packet (ReadPacket, WritePacket) for what this side
// says itself, and byte by byte (Buffered, Fill, Discard) for what is forwarded. A Reply is the state machine of one
// command's answer: it walks frame headers in whatever chunks they arrive, stops at the few packets that carry meaning
// (OK, ERR, EOF, a column count, a prepared statement's id, a request for a local file), and knows when the answer is complete.
//
// Invariants. Bytes that a Reply has passed over are unchanged. A frame of 0xFFFFFF bytes is continued by the next one,
// whose first byte means nothing. A row never begins with 0xFF; one that begins with 0xFE is at least 16 MB long.
//
// Failure. Every length is checked against what is there: malformed input gives ErrMalformed, never a panic, and
// leaves a Conn that can only be closed. What a peer may make this side hold in memory is bounded by the Conn's limit.
//
// Sources: the protocol chapters of the MariaDB and MySQL manuals, and what servers 10.11, 11.8 and 9.7 were seen to send.
package wire
