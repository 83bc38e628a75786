package inplace

import (
	"github.com/windlass-db/windlass/internal/engine"
	"github.com/windlass-db/windlass/internal/switchover"
)

// move is the switch of the primary: from the node that is left to those that are raised.
func (h handlers) move() switchover.Move {
	return switchover.Move{Storage: h.Storage, Switcher: h.Switcher, Ends: func(c *engine.Call) (switchover.Ends, error) {
		cell, raised, old, err := split(c)
		if err != nil {
			return switchover.Ends{}, err
		}
		return switchover.Ends{Old: switchover.Among(cell.Name, c.Campaign.From, old), New: switchover.Among(cell.Name, c.Campaign.To, raised...)}, nil
	}}
}
