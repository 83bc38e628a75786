package sim

import "time"

// chaos hurts something at random, again and again while the campaign runs. What is hurt comes back.
func (r *runner) chaos() {
	d := time.Duration(r.s.rng.ExpFloat64() * float64(r.cfg.Chaos))
	r.s.in(d, func() {
		if r.over {
			return
		}
		r.w.hurt = true
		c := r.w.clusters[r.s.rng.IntN(len(r.w.clusters))]
		switch r.s.rng.IntN(6) {
		case 0, 1:
			r.hurtSupervisor(r.s.rng.IntN(2) == 0)
		case 2:
			r.report.Hit++
			r.killServer(time.Duration(r.s.rng.Int64N(int64(4 * time.Second))))
		case 3:
			g := c.gateways[r.s.rng.IntN(len(c.gateways))]
			r.report.Hit++
			g.crash(time.Duration(r.s.rng.Int64N(int64(4 * time.Second))))
		default:
			sv := c.order[r.s.rng.IntN(len(c.order))]
			r.report.Hit++
			sv.crash(time.Duration(r.s.rng.Int64N(int64(10 * time.Second))))
		}
		r.chaos()
	})
}

func (r *runner) hurtSupervisor(pause bool) {
	var alive []*proc
	for _, p := range r.procs {
		if !p.dead && len(p.name) > 10 && p.name[:10] == "supervisor" {
			alive = append(alive, p)
		}
	}
	if len(alive) == 0 {
		return
	}
	p := alive[r.s.rng.IntN(len(alive))]
	r.report.Hit++
	if pause {
		r.w.trace("CHAOS %s stands still", p.name)
		r.s.pause(p, time.Duration(r.s.rng.Int64N(int64(4*ttl))))
		return
	}
	r.w.trace("CHAOS %s is killed", p.name)
	r.s.kill(p)
}
