// Package notify sends the events of the state to sinks: Slack incoming webhooks, and webhooks of anybody's.
//
// # Model
//
// A sink reads the rows of the events from its own position, which the state keeps, leaves out what its filter does not let pass, makes
// messages of the rest, and moves the position on when a message was taken. So nothing has to be remembered when an event
// happens, and nothing is lost by a restart, an outage of the receiver, or a server that dies.
//
// Of several servers with one state only one sends: the one that has the lead "notify", a row in the state with a term of life.
//
// # Invariants
//
//   - Every event that passes the filter arrives at least once, and the events of one cluster arrive in their order. An event may
//     arrive twice: when the receiver took a message and its answer, or the new position, was lost. Each carries an id that
//     stays the same, by which a repeat can be told.
//   - The position never passes an event that was not taken. There is no limit of tries: a receiver that refuses is asked again, slowly.
//   - Nothing here blocks what makes events: sinks have goroutines of their own, and only read, but for their position and the lead.
//   - URLs and keys of sinks are secrets: they come from files of mode 0600 or the environment, are read again for each try (so that
//     they can be changed without a restart), and are in no log, error, metric or page.
//
// # Flood and silence
//
// Quiet events wait for a while (group, 15 s by default) and go out in one message with a part for each cluster and stage. A loud
// event, one that needs a person, goes out at once in a message of its own, after what its cluster had before it.
//
// # Failure handling
//
// No answer, a time-out, 408, 425 and 5xx are tried again after 1 s, 2 s, 4 s … 5 min, each shortened by chance up to a half. 429, and
// 503 with the header, wait as long as Retry-After says, an hour at most. Any other answer (4xx, a redirect to elsewhere), a
// secret that can't be read or a URL that makes no sense is a mistake of the configuration: it is logged as an
// error, counted, shown, and tried again every five minutes. A message that is refused as malformed or too large is
// sent again event by event in the plainest form before that is said.
package notify
