// Package sim runs whole campaigns on a virtual clock, over the real decision code: campaign.Decide, the engine, the handlers
// of the bluegreen strategy, and the mysql driver's decision where a switch begins. The world is simulated: servers with
// read_only, terms and logs, replication, gateways with holds, records, clients that write and remember what was
// acknowledged.
//
// # Model
//
// One queue of events, one thread. Code that blocks, such as an engine's run, is a coroutine: it runs until it sleeps or calls,
// and then waits for its event. A call to the world takes effect in an event of its own, so that a caller that is killed, paused or
// timed out may still have acted. Everything random comes from one seed, which every failure prints.
//
// # What is modelled and not run
//
// The SQL of a switch can't run here. The simulated Switcher walks the same strides in the same order as the mysql
// driver, under the same names (a test compares them), and asks that driver's own Outset where a run begins. What
// each stride does to a server is this package's reading of it; the driver's own tests show it on real servers.
//
// # Invariants, looked at after every event or at the end
//
// Never two writable servers in a cluster. No acknowledged write lost. No more actions in a stage than the limit. At
// the end every cluster has one writable primary, gateways hold nothing, and the campaign has gone on or gone back.
package sim
