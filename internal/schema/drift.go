package schema

import "context"

// drift compares a live database with every state on the way between two folders: it must be one of them, or have more.
type drift struct {
	live  *state
	met   bool
	least int    // so much differs from the state that is nearest
	near  string // what differs from it
	lacks bool   // and it is not only more
}

func (d *drift) begin(ctx context.Context, c *checker) error {
	if d == nil {
		return nil
	}
	var err error
	if d.live, err = inspect(ctx, c.Dialect, c.live); err != nil {
		return &Error{Where: "--live", What: c.liveDSN.String() + " can't be read", Hint: "see the account's rights on the catalog", Err: c.liveDSN.clean(err)}
	}
	return nil
}

func (d *drift) compare(c *checker, s *state) error {
	if d == nil || d.met {
		return nil
	}
	all, err := s.diff(d.live, c.dev.drv)
	if err != nil {
		return c.dev.wrong("can't be compared", err)
	}
	all = withoutPartitions(withoutGrants(all))
	if all.empty() {
		d.met = true
		return nil
	}
	bad := withoutMore(all)
	lacks, shown := !bad.empty(), all
	if lacks {
		shown = bad
	}
	n := len(shown.changes) + len(shown.gone) + len(shown.came) + len(shown.other)
	if d.near == "" || d.lacks && !lacks || d.lacks == lacks && n <= d.least {
		d.least, d.near, d.lacks = n, shown.String(), lacks
	}
	return nil
}

func (d *drift) end(c *checker) {
	if d == nil || d.met {
		return
	}
	rule := "live-has-more"
	if d.lacks {
		rule = "live-differs"
	}
	c.report.Findings = append(c.report.Findings, Statement{}.finding(rule, "database "+c.liveDSN.String(), "", d.near))
}
