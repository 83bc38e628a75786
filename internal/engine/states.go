package engine

import "slices"

// Transition is one legal change of a step's phase. docs/states.md shows this table.
type Transition struct {
	From, To Phase
	When     string
}

// Transitions is every change of phase that the engine writes. A journal may refuse any other.
func Transitions() []Transition { return slices.Clone(transitions) }

var transitions = []Transition{
	{Pending, Intent, "the outcome is not there, and an act is about to begin"},
	{Pending, Waiting, "the outcome is not there and the step only looks, or it can't be observed"},
	{Pending, Done, "the outcome is there already, or there is nothing to undo on the way back"},
	{Pending, Failed, "a person stops an action that can't turn round"},
	{Intent, Intent, "the act saves how far it is, or is tried again after a kill"},
	{Intent, Waiting, "the act can't go on yet, has failed, or its outcome is not seen yet"},
	{Intent, Done, "the outcome was seen after the act"},
	{Intent, Undoing, "the action has turned round, and an undo is about to begin or can't be judged yet"},
	{Intent, Undone, "the action has turned round, and there is nothing to undo"},
	{Intent, Failed, "a person stops an action that can't turn round"},
	{Waiting, Waiting, "it still can't go on; what it waits for has changed"},
	{Waiting, Intent, "an act is about to be tried again"},
	{Waiting, Done, "the outcome was seen"},
	{Waiting, Undoing, "the action has turned round, and an undo is about to begin or can't be judged yet"},
	{Waiting, Undone, "the action has turned round, and there is nothing to undo"},
	{Waiting, Failed, "refused, or past its deadline, in an action that can't turn round"},
	{Done, Undoing, "the action has turned round, and an undo is about to begin or can't be judged yet"},
	{Done, Undone, "the action has turned round, and there is nothing to undo"},
	{Undoing, Undoing, "the undo goes on, waits, or is tried again"},
	{Undoing, Undone, "what the step did was seen to be undone"},
	{Undoing, Failed, "the undo was refused, or is past its deadline: a person is needed"},
}

// Legal tells whether a step's phase may change so. Writing the same row again always may: its answer was lost.
func Legal(from, to Phase) bool {
	return from == to || slices.ContainsFunc(transitions, func(t Transition) bool { return t.From == from && t.To == to })
}
