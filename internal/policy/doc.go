// Package policy says which versions of a product's components may meet, and proves that an upgrade's path passes through such
// states alone.
//
// # Model
//
// A product is data: components, the calls between them, a line of releases, and rules. Every rule speaks of a pair: a component on
// a version that meets a component on a version. A state, which is a multiset of versions for each component, is legal if every pair
// of versions that are present in it is legal. So it matters which versions are present, not on how many nodes: a part of a
// legal state is legal.
//
// # Proof
//
// A step of a plan replaces one version of a component by another, node by node, in any order, with nodes that fail and come
// back. All the states that it can produce are parts of one: the one in which both versions of that component are present
// beside whatever the others have. Proving this one state proves them all. A plan of s steps over c components takes
// O(s·c) looks at pairs, however many nodes there are.
//
// An order of the components within a hop exists exactly if the graph "a must go before b" has no cycle, where a must go before b
// if b's new version may not meet a's old one. So the search for it is a topological sort, and "no path" comes with the rules of the cycle.
//
// # Invariants
//
// A version that the product does not know is an error, never a guess. Every rule has a source.
package policy
