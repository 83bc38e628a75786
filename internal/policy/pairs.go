package policy

import (
	"cmp"
	"slices"
)

// pairs are the judgements of every two that can meet during one hop. Each is made once: a hop's states have the same pairs in them over and over.
type pairs struct {
	look  *rules
	kinds []placed // each component on both versions, in the order of Check
	at    map[Present]int
	made  int
	memo  [2][]*judgement // without and with the window open; by the two kinds, nil until it is made
}

type judgement struct {
	ok  []Pair
	bad []Violation
}

func (p *Product) pairs(from, to string) (*pairs, error) {
	var all []Present
	for _, c := range p.Components {
		all = append(all, Present{Component: c.Name, Version: from}, Present{Component: c.Name, Version: to})
	}
	kinds, err := p.resolve(all)
	if err != nil {
		return nil, err
	}
	q := &pairs{p.rules(), kinds, map[Present]int{}, 0, [2][]*judgement{}}
	for i := range q.memo {
		q.memo[i] = make([]*judgement, len(kinds)*len(kinds))
	}
	for i, k := range kinds {
		q.at[k.Present] = i
	}
	return q, nil
}

// meet judges two that are among the kinds.
func (q *pairs) meet(a, b Present, window bool) *judgement {
	return q.judge(min(q.at[a], q.at[b]), max(q.at[a], q.at[b]), window)
}

func (q *pairs) judge(a, b int, window bool) *judgement {
	memo := q.memo[0]
	if window {
		memo = q.memo[1]
	}
	m := &memo[a*len(q.kinds)+b]
	if *m == nil {
		ok, bad := q.look.meet(q.kinds[a], q.kinds[b], window)
		if v, mixed := q.look.p.mixed(q.kinds[a], q.kinds[b]); mixed {
			bad = slices.Insert(bad, 0, v)
		}
		*m = &judgement{ok, bad}
		q.made++
	}
	return *m
}

// check is Check, with the proof only if it is wanted.
func (q *pairs) check(s State, proof bool) (ok []Pair, bad []Violation) {
	present := q.present(s)
	for i, a := range present {
		for _, b := range present[i:] {
			m := q.judge(a, b, s.Window)
			bad = append(bad, m.bad...)
			if proof {
				ok = append(ok, m.ok...)
			}
		}
	}
	return ok, bad
}

// with is what one more would make illegal in a state that is legal: only the pairs that it is in are looked at.
func (q *pairs) with(s State, more Present) (bad []Violation) {
	for _, i := range q.present(s) {
		bad = append(bad, q.meet(q.kinds[i].Present, more, s.Window).bad...)
	}
	return bad
}

func (q *pairs) present(s State) []int {
	all := make([]int, len(s.Present))
	for i, x := range s.Present {
		all[i] = q.at[x]
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}
