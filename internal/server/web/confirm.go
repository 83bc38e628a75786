package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/windlass-db/windlass/internal/fleet"
)

// Operation is what an operator asks for on a page.
type Operation struct {
	Verb     string           // "pause", "resume", "abort", "rollback", "thaw" or "end-override"
	Campaign string           // always set
	Ref      fleet.ClusterRef // empty: the whole campaign
	Envs     []string         // thaw: the freeze's environments; none: all
	Rule     string           // end-override: the rule that it lets pass
	Stage    string           // pause, resume, end-override: the stage; "" is every one
	To       string           // rollback: the stage to be back at; "" is the beginning
	Who      string
	Why      string
}

// verbs says of each operation what it does, for the page that asks.
var verbs = map[string]struct{ title, effect, button string }{
	"pause":        {"Pause", "Nothing new starts. Actions that run go on to their end.", "Pause"},
	"thaw":         {"Thaw", "The freeze ends now. The launcher may start stages again, within all other rules.", "End the freeze"},
	"end-override": {"End the override", "The rule holds again from now on. What has started meanwhile goes on.", "End it"},
	"resume":       {"Resume", "The launcher may start the next stage again, within all other rules.", "Resume"},
	"abort":        {"Abort", "Actions that run turn round and are undone, and nothing starts again in this campaign.", "Abort the campaign"},
	"rollback":     {"Roll back", "Each completed stage is undone in reverse order. Writes made on the new version are kept: the old version replicates them. The cluster then stays until you resume it.", "Roll back"},
}

type confirmView struct {
	Operation
	Title, Effect, Button string
	Scope                 string
	Error, Hint           string
	Back                  string
}

// operationOf reads the operation from a form or a query; false if it makes no sense.
func operationOf(v url.Values) (Operation, bool) {
	op := Operation{Verb: v.Get("verb"), Campaign: v.Get("campaign"), To: v.Get("to"), Why: strings.TrimSpace(v.Get("why"))}
	op.Ref = fleet.ClusterRef{Env: v.Get("env"), Name: v.Get("cluster")}
	op.Envs, op.Rule, op.Stage = v["freeze"], v.Get("rule"), v.Get("stage")
	_, known := verbs[op.Verb]
	whole := op.Ref == fleet.ClusterRef{}
	switch {
	case !known, op.Campaign == "":
		return op, false
	case op.Verb == "rollback" && (whole || op.Ref.Name == ""), op.Verb == "abort" && !whole && (op.Ref.Env == "" || op.Ref.Name == ""), op.Verb == "thaw" && !whole, op.Verb == "end-override" && op.Rule == "":
		return op, false
	}
	return op, true
}

func (op Operation) scope() string {
	switch {
	case op.Verb == "thaw" && len(op.Envs) > 0:
		return "environment " + strings.Join(op.Envs, " and ")
	case op.Verb == "end-override":
		return "of " + op.Rule + " for " + Operation{Campaign: op.Campaign, Ref: op.Ref, Stage: op.Stage}.scope()
	case op.Stage != "":
		return "stage " + op.Stage + " in " + Operation{Campaign: op.Campaign, Ref: op.Ref}.scope()
	case op.Ref.Name != "":
		return "cluster " + op.Ref.String()
	case op.Ref.Env != "":
		return "environment " + op.Ref.Env
	}
	return "the whole campaign " + op.Campaign
}

func (op Operation) page() string {
	if op.Ref.Name != "" && op.Verb != "end-override" && op.Stage == "" { // overrides and stages are on the campaign's page
		return "/clusters/" + url.PathEscape(op.Ref.Env) + "/" + url.PathEscape(op.Ref.Name)
	}
	return "/campaigns/" + url.PathEscape(op.Campaign)
}

// askFor asks, and says after a refusal what it was and what to do about it.
func (h *Handler) askFor(w http.ResponseWriter, r *http.Request, op Operation, status int, problem, hint string) {
	v := verbs[op.Verb]
	if op.Verb == "abort" && op.Ref.Name != "" {
		v.effect, v.button = "The action that runs turns round and is undone. The cluster then stays until you resume it; the campaign goes on without it.", "Abort what runs"
	}
	h.render(w, r, status, "confirm", page{Title: v.title, Data: confirmView{Operation: op, Title: v.title, Effect: v.effect, Button: v.button, Scope: op.scope(), Error: problem, Hint: hint, Back: op.page()}})
}

func (h *Handler) confirm(w http.ResponseWriter, r *http.Request) {
	op, ok := operationOf(r.URL.Query())
	if !ok {
		h.fail(w, r, ErrNotFound)
		return
	}
	h.askFor(w, r, op, http.StatusOK, "", "")
}

func (h *Handler) perform(w http.ResponseWriter, r *http.Request) {
	op, ok := operationOf(r.PostForm)
	if !ok {
		h.fail(w, r, ErrNotFound)
		return
	}
	if op.Why == "" {
		h.askFor(w, r, op, http.StatusUnprocessableEntity, "Say why: it is kept with the event.", "")
		return
	}
	s, _ := h.session(r)
	op.Who = s.name
	if err := h.cfg.Operator.Operate(r.Context(), op); err != nil {
		h.cfg.Log.Warn("operation refused", "verb", op.Verb, "campaign", op.Campaign, "cluster", op.Ref.String(), "err", err)
		hint := ""
		if knows := (interface{ ErrorHint() string })(nil); errors.As(err, &knows) {
			hint = knows.ErrorHint()
		}
		h.askFor(w, r, op, http.StatusConflict, fmt.Sprintf("Refused: %v", err), hint)
		return
	}
	http.Redirect(w, r, op.page(), http.StatusSeeOther)
}

func escapePath(p string) string { return url.QueryEscape(p) }
