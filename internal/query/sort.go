package query

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// Sort is how a statement sorts the rows of its outermost level, and where it cuts them off.
type Sort struct {
	Keys     []SortKey
	ListEnd  int    // where the select list ends; 0: nothing can be added to it
	Limit    int    // where the numbers of LIMIT begin; they end the statement
	End      int    // where they end
	Count    uint64 // of LIMIT
	Offset   uint64 // 0: none
	Unknown  int    // how many of the two are placeholders, which are the last ones of the statement; they are zero here
	Reversed bool   // LIMIT offset, count
}

// SortKey is an expression that rows are sorted by.
type SortKey struct {
	Text   string   // as it stands there, without ASC and DESC
	Column int      // of a number: the column that it means, from 1
	Name   string   // of a name that stands alone: without its quotes, in lower case
	Names  []string // all names in it that nothing qualifies, the same way
	Params bool     // it has placeholders
}

// SortOf finds it. It is false if the statement has no LIMIT behind an ORDER BY at its outermost level, or is of a form that is not known for sure.
func SortOf(text []byte, m Mode) (out Sort, ok bool) {
	s := scanner{text: text, mode: m}
	const (
		before = iota
		keys
		limit
		over
	)
	state, depth := before, 0
	var last string // word at the outermost level, in lower case, if it was the token before
	var key sortKey
	var numbers []string
	add := func() {
		if k, ok := key.end(text); ok {
			out.Keys = append(out.Keys, k)
		}
		key = sortKey{}
	}
	for {
		k, from, to := s.next()
		w := ""
		if k == word {
			w = string(lower(nil, text[from:to]))
		}
		if k == end || k == semicolon {
			break
		}
		if k == version || k == versionEnd || state == over {
			return out, false
		}
		switch {
		case k == open:
			depth++
		case k == closing:
			depth--
		case depth != 0:
		case w == "union" || w == "intersect" || w == "except" || w == "distinct" || w == "distinctrow":
			out.ListEnd = -1
		case w == "from" && out.ListEnd == 0:
			out.ListEnd = from
		case w == "by" && last == "order":
			state, out.Keys = keys, nil
			last = ""
			continue
		case w == "limit" && state == keys:
			add()
			state, out.Limit = limit, to
			continue
		case w == "limit" || w == "fetch" || w == "into" || w == "for" || w == "lock" || w == "procedure":
			return out, false
		case state == keys && k == comma:
			add()
			continue
		}
		switch state {
		case keys:
			if depth > 0 || w != "offset" && w != "rows" {
				key.add(k, w, text, from, to)
			} else {
				return out, false
			}
		case limit:
			switch {
			case k == literal || k == placeholder:
				numbers = append(numbers, string(text[from:to]))
				if len(numbers) > 2 {
					return out, false
				}
			case k == comma && len(numbers) == 1:
				out.Reversed = true
			case w == "offset" && len(numbers) == 1:
			default:
				return out, false
			}
			out.End = to
		}
		last = w
	}
	if state != limit || len(numbers) == 0 || len(out.Keys) == 0 || depth != 0 {
		return out, false
	}
	out.ListEnd = max(out.ListEnd, 0)
	into := []*uint64{&out.Count, &out.Offset}
	if out.Reversed {
		slices.Reverse(into)
	}
	for i, n := range numbers {
		if n == "?" {
			out.Unknown++
			continue
		}
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil {
			return out, false
		}
		*into[i] = v
	}
	return out, out.Unknown == 0 || out.Unknown == len(numbers)
}

// sortKey gathers the tokens of one.
type sortKey struct {
	from, to int
	tokens   int
	out      SortKey
	dotted   bool
	name     string // the last token, if it is a name that nothing before it qualifies
}

func (k *sortKey) add(kd kind, w string, text []byte, from, to int) {
	if kd == word && (w == "asc" || w == "desc") {
		k.settle(false)
		return
	}
	if k.tokens == 0 {
		k.from = from
	}
	dot := kd == operator && to-from == 1 && text[from] == '.'
	k.settle(dot || kd == open) // what is followed by a dot qualifies, and by a bracket is a function
	k.tokens++
	k.to = to
	switch {
	case kd == placeholder:
		k.out.Params = true
	case kd == literal && k.tokens == 1:
		k.out.Column, _ = strconv.Atoi(string(text[from:to]))
	case (kd == word || kd == name) && !k.dotted:
		k.name = w
		if kd == name {
			q := string(text[from : from+1])
			k.name = strings.ToLower(strings.ReplaceAll(string(bytes.Trim(text[from:to], q)), q+q, q))
		}
	}
	k.dotted = dot
}

// settle takes in the name that was seen last, unless it is none by itself.
func (k *sortKey) settle(other bool) {
	if k.name != "" && !other {
		k.out.Names = append(k.out.Names, k.name)
	}
	k.name = ""
}

func (k *sortKey) end(text []byte) (SortKey, bool) {
	k.settle(false)
	if k.tokens == 0 {
		return SortKey{}, false
	}
	if k.tokens > 1 {
		k.out.Column = 0
	}
	if k.tokens == 1 && len(k.out.Names) == 1 {
		k.out.Name = k.out.Names[0]
	}
	k.out.Text = string(text[k.from:k.to])
	return k.out, true
}
