package compare

import (
	"github.com/windlass-db/windlass/internal/query"
	"github.com/windlass-db/windlass/internal/wire"
)

// aspects are the parts of two answers that can be compared.
type aspects uint8

const (
	rows aspects = 1 << iota
	content
	order
	columns
	warnings
	affected
)

// aspectsOf are those that mean something for a statement with these traits. Errors always do.
func aspectsOf(t query.Traits) aspects {
	switch {
	case t.Any(query.OwnServer | query.OwnSession | query.Multi):
		return 0 // @@hostname and LAST_INSERT_ID differ by nature
	case t.Any(query.Volatile):
		return columns
	case t.Any(query.LimitAlone):
		return rows | columns // any rows may be the first
	case t.Any(query.Writes | query.Defines):
		return rows | content | order | columns | warnings | affected // RETURNING gives rows
	}
	return rows | content | order | columns | warnings
}

// ErrorsOnly reports whether of a statement with these traits nothing but its errors, and for volatile ones its columns, means anything.
func ErrorsOnly(t query.Traits) bool { return aspectsOf(t)&^columns == 0 }

// seen are the aspects that an answer tells of.
func (a Answer) seen() aspects {
	all := rows | content | order | columns | warnings | affected
	for _, l := range []struct {
		lacks Lacks
		loses aspects
	}{{LacksRows, rows}, {LacksContent, content | order}, {LacksColumns, columns}, {LacksWarnings, warnings}, {LacksAffected, affected}} {
		if a.Lacks&l.lacks != 0 {
			all &^= l.loses
		}
	}
	return all
}

// complete reports whether an answer tells of all that matters. Where there was an error there is nothing else to tell.
func (a Answer) complete(of aspects) bool {
	return a.Lacks&LacksError == 0 && (classOf(a) != fine || of&^a.seen() == 0)
}

// Difference is the first kind in which the new answer to such a statement differs from the old one; "" if in none. It takes both as they are: where data
// moves, Decide is the one to ask.
func Difference(t query.Traits, old, new Answer) Kind { return difference(old, new, aspectsOf(t)) }

// difference is the first kind in which the new side differs from the old one, cheapest first; "" if in none that both tell of and that matters.
func difference(old, new Answer, of aspects) Kind {
	lacks := (old.Lacks | new.Lacks)
	if lacks&LacksError == 0 {
		if k := errorKind(old, new); k != "" {
			return k
		}
	}
	if classOf(old) != fine || classOf(new) != fine { // of a side that does not tell its errors it may be the same
		return ""
	}
	if lacks != 0 {
		of &= old.seen() & new.seen()
	}
	switch {
	case of&rows != 0 && old.Rows != new.Rows:
		return Rows
	case of&affected != 0 && old.Affected != new.Affected:
		return Affected
	case of&order != 0 && old.Ordered == new.Ordered: // and so the content
	case of&content != 0 && old.Multiset != new.Multiset:
		if old.Typed != nil && new.Typed != nil && old.Typed.Rounded == new.Typed.Rounded {
			return Float
		}
		return Content
	case of&order != 0:
		return Order
	}
	switch {
	case of&columns != 0 && old.Columns != new.Columns:
		return Columns
	case of&warnings != 0 && old.Warnings != new.Warnings:
		return Warnings
	}
	return ""
}

// Covers reports whether a difference of the old version from itself explains one of the kind k between the versions: who gives other rows
// each time may give them in another number or order, but has no reason to fail.
func Covers(noise, k Kind) bool {
	if noise == "" || k == "" {
		return false
	}
	return noise == k || level(noise) < level(k) && level(noise) != 0 && k != Columns
}

// level orders the kinds by how much they explain; 0 explains all.
func level(k Kind) int {
	switch k {
	case Rows, Affected:
		return 2
	case Content:
		return 3
	case Order, Float:
		return 4
	case Warnings:
		return 5
	case Columns:
		return 6
	}
	return 0
}

// WorsePlan reports whether the new answer's flags tell of an index that is not used, or is no good one, and the old one's do not.
func WorsePlan(old, new Answer) bool {
	const flags = uint16(wire.StatusNoIndex | wire.StatusNoGoodIndex)
	return (old.Lacks|new.Lacks)&LacksStatus == 0 && classOf(old) == fine && classOf(new) == fine && new.Status&^old.Status&flags != 0
}

// isError reports whether the kind is about errors.
func (k Kind) isError() bool {
	switch k {
	case Syntax, Conflict, Timeout, Error, ErrorGone, ErrorOther:
		return true
	}
	return false
}
