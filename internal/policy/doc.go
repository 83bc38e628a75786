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
// beside whatever the others have. Proving this one state proves them all, however many nodes there are.
//
// The bound: a hop of s steps over c components has 3s states, each of at most (2c)²/2 pairs, so it takes O(s·c²) looks at pairs, which is O(c³), for
// s is c and a few. But two components on two versions have O(c²) pairs in all: each is judged by the rules once in a hop, which a table finds by
// the pair, and looked up after that. What no plan means adds one component to a state, so it takes O(c) looks for each, O(c²) in a step. A path of
// h hops takes that h times; where a release may be followed by any later one, for each two of the releases at most. The proof that is kept has O(h·s)
// states with their pairs, which is what makes a large plan large; Lint keeps none.
//
// An order of the components within a hop exists exactly if the graph "a must go before b" has no cycle, where a must go before b
// if b's new version may not meet a's old one. So the search for it is a topological sort, and "no path" comes with the rules of the cycle.
//
// # Invariants
//
// A version that the product does not know is an error, never a guess. Every rule has a source.
package policy
