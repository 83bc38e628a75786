// Package faults shows on real servers what the simulation shows with a virtual clock: whoever dies at whichever edge of the
// storage switch, the campaign goes on or goes back, no acknowledged write is lost, and there are never two writable
// primaries. It holds tests alone.
//
// # Model
//
// A lane is one cluster on this machine: two MariaDB servers with data folders cloned from one template, a gateway for each
// cell, the control plane and the supervisor, every one a process of its own. Clients write through a gateway and remember
// what was acknowledged to them; a prober asks both servers for read_only every few milliseconds.
//
// A case is one action of the stage switch-storage with one fault: the supervisor stops at an edge, tells the test, and the test
// kills the victim before it lets the supervisor go on. The edges are those that engine.Edges lists, the points inside the
// switch those that the mysql driver lists; an edge that no run meets fails the test. What was killed is started
// again, as a service manager would.
//
// # Invariants
//
// At the end of each case: the action has ended, the cell that it says has the one writable server, the other server
// replicates from it, every acknowledged write is on both, none is doubled, and the prober never saw two
// writable servers. The death of a part of the control plane shows no error to any client.
//
// docs/design/fault-tests.md tells what is run when.
package faults
