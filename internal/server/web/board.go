package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/windlass-db/windlass/internal/campaign"
)

// perPage is how many clusters of an environment a page shows.
const perPage = 50

// boardQuery is what the reader of the overview wants to see, as it stands in the page's address. Empty fields want everything.
type boardQuery struct {
	Campaign string
	Env      string
	Stage    string // that the cluster is in, or that comes next for it
	State    State
	Hold     string // the code of its first reason
	Name     string // a part of the cluster's name
	Page     int    // from 1; of the environment that Env names
}

func boardQueryOf(v url.Values) boardQuery {
	q := boardQuery{Campaign: v.Get("campaign"), Env: v.Get("env"), Stage: v.Get("stage"), State: State(v.Get("state")), Hold: v.Get("hold"), Name: strings.TrimSpace(v.Get("name")), Page: 1}
	if n, err := strconv.Atoi(v.Get("page")); err == nil && n > 1 {
		q.Page = n
	}
	return q
}

// URL is the overview's address with these wishes.
func (q boardQuery) URL() string {
	v := url.Values{}
	for name, value := range map[string]string{"campaign": q.Campaign, "env": q.Env, "stage": q.Stage, "state": string(q.State), "hold": q.Hold, "name": q.Name} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Page > 1 {
		v.Set("page", strconv.Itoa(q.Page))
	}
	if len(v) == 0 {
		return "/"
	}
	return "/?" + v.Encode()
}

// Filtered tells whether clusters are left out by more than their environment.
func (q boardQuery) Filtered() bool {
	return q.Stage != "" || q.State != "" || q.Hold != "" || q.Name != ""
}

// Clear is the address without the wishes but the campaign.
func (q boardQuery) Clear() string { return boardQuery{Campaign: q.Campaign}.URL() }

func (q boardQuery) wants(r Row, stages []StageHead) bool {
	at, box := r.Now()
	return (q.Stage == "" || at < len(stages) && stages[at].Name == q.Stage) && (q.State == "" || box.State == q.State) && (q.Hold == "" || box.State == StateHeld && box.Text == q.Hold) &&
		(q.Name == "" || strings.Contains(strings.ToLower(r.Ref.Name), strings.ToLower(q.Name)))
}

// StateArrived is where a cluster is that has every stage behind it.
const StateArrived State = "arrived"

// states are those that a cluster can be in, what needs somebody first.
var states = []State{StateFailed, StateBack, StateWaiting, StateRunning, StateNext, StateHeld, StateArrived}

// chip is a count, and the link that shows what was counted.
type chip struct {
	Name  string
	N     int
	State State // for its colour; "" if it has none
	URL   string
	On    bool // it is what is shown; the link shows everything again
}

// boardPage is one environment as it is shown: counts of all its clusters, and a page of those that are wanted.
type boardPage struct {
	Board
	States, AtStages, Holds []chip
	Shown                   []Row
	Matching                int // clusters that are wanted
	Page, Pages             int
	Previous, Next          string // addresses; "" if there is none
}

// overviewPage is the overview as it is shown.
type overviewPage struct {
	Overview
	Query  boardQuery
	Boards []boardPage
	// What can be chosen.
	EnvNames  []string
	AllStates []State
	AllHolds  []string
}

func newOverviewPage(o Overview, q boardQuery) overviewPage {
	p := overviewPage{Overview: o, Query: q, AllStates: states}
	holds := map[string]bool{}
	for _, b := range o.Envs {
		p.EnvNames = append(p.EnvNames, b.Env)
		if q.Env == "" || q.Env == b.Env {
			p.Boards = append(p.Boards, q.board(b, o.Stages))
		}
		for _, r := range b.Rows {
			if _, box := r.Now(); box.State == StateHeld {
				holds[box.Text] = true
			}
		}
	}
	holds[q.Hold] = q.Hold != ""
	for _, code := range campaign.Codes() {
		if holds[code] {
			p.AllHolds = append(p.AllHolds, code)
		}
	}
	return p
}

// board counts an environment's clusters, and cuts the page out of those that are wanted.
func (q boardQuery) board(b Board, stages []StageHead) boardPage {
	p := boardPage{Board: b, Page: 1}
	byState, byStage, byHold := map[State]int{}, map[int]int{}, map[string]int{}
	var wanted []Row
	for _, r := range b.Rows {
		at, box := r.Now()
		byState[box.State]++
		byStage[at]++
		if box.State == StateHeld {
			byHold[box.Text]++
		}
		if q.wants(r, stages) {
			wanted = append(wanted, r)
		}
	}
	at := boardQuery{Campaign: q.Campaign, Env: b.Env, Name: q.Name, Stage: q.Stage, State: q.State, Hold: q.Hold}
	for _, s := range states {
		to := at
		if to.State, to.Hold = s, ""; q.State == s {
			to.State = ""
		}
		p.States = chips(p.States, chip{Name: string(s), State: s, N: byState[s], URL: to.URL(), On: q.State == s})
	}
	for i, s := range stages {
		to := at
		if to.Stage = s.Name; q.Stage == s.Name {
			to.Stage = ""
		}
		p.AtStages = chips(p.AtStages, chip{Name: s.Name, N: byStage[i], URL: to.URL(), On: q.Stage == s.Name})
	}
	for _, code := range campaign.Codes() {
		to := at
		if to.Hold, to.State = code, ""; q.Hold == code {
			to.Hold = ""
		}
		p.Holds = chips(p.Holds, chip{Name: code, N: byHold[code], URL: to.URL(), On: q.Hold == code})
	}
	p.Matching = len(wanted)
	p.Pages = max(1, (len(wanted)+perPage-1)/perPage)
	if q.Env == b.Env {
		p.Page = min(q.Page, p.Pages)
	}
	first := (p.Page - 1) * perPage
	p.Shown = wanted[first:min(first+perPage, len(wanted))]
	if p.Page > 1 {
		at.Page = p.Page - 1
		p.Previous = at.URL()
	}
	if p.Page < p.Pages {
		at.Page = p.Page + 1
		p.Next = at.URL()
	}
	return p
}

// chips appends one that counts something, or that is chosen.
func chips(to []chip, c chip) []chip {
	if c.N == 0 && !c.On {
		return to
	}
	return append(to, c)
}

// First and Last number the clusters that are shown, among those that are wanted.
func (p boardPage) First() int { return min((p.Page-1)*perPage+1, p.Matching) }

// Last is the number of the last cluster that is shown.
func (p boardPage) Last() int { return min(p.Page*perPage, p.Matching) }

// Big tells whether counts help, because not every cluster is shown or would be seen at a glance.
func (p boardPage) Big() bool { return p.Total > 12 }

func (h *Handler) overview(w http.ResponseWriter, r *http.Request) {
	q := boardQueryOf(r.URL.Query())
	o, err := h.cfg.Source.Overview(r.Context(), q.Campaign)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if q.Env != "" && !slices.ContainsFunc(o.Envs, func(b Board) bool { return b.Env == q.Env }) {
		h.fail(w, r, ErrNotFound)
		return
	}
	h.render(w, r, http.StatusOK, "overview", page{Title: "Fleet", Nav: "fleet", Live: true, Data: newOverviewPage(o, q)})
}
