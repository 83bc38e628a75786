package campaign

import (
	"maps"
	"slices"

	"github.com/rickar/cal/v2"
	"github.com/rickar/cal/v2/at"
	"github.com/rickar/cal/v2/au"
	"github.com/rickar/cal/v2/be"
	"github.com/rickar/cal/v2/br"
	"github.com/rickar/cal/v2/ca"
	"github.com/rickar/cal/v2/ch"
	"github.com/rickar/cal/v2/cz"
	"github.com/rickar/cal/v2/de"
	"github.com/rickar/cal/v2/dk"
	"github.com/rickar/cal/v2/ecb"
	"github.com/rickar/cal/v2/es"
	"github.com/rickar/cal/v2/fr"
	"github.com/rickar/cal/v2/gb"
	"github.com/rickar/cal/v2/ie"
	"github.com/rickar/cal/v2/it"
	"github.com/rickar/cal/v2/jp"
	"github.com/rickar/cal/v2/nl"
	"github.com/rickar/cal/v2/no"
	"github.com/rickar/cal/v2/nz"
	"github.com/rickar/cal/v2/pl"
	"github.com/rickar/cal/v2/se"
	"github.com/rickar/cal/v2/us"
)

// calendars are the countries whose public holidays a campaign can name. What is off in one region alone belongs into
// the campaign's dates.
func calendars() map[string][]*cal.Holiday {
	return map[string][]*cal.Holiday{
		"at": at.Holidays, "au": au.HolidaysNSW, "be": be.Holidays, "br": br.Holidays, "ca": ca.Holidays, "ch": ch.Holidays,
		"cz": cz.Holidays, "de": de.Holidays, "dk": dk.Holidays, "ecb": ecb.Holidays, "es": es.Holidays, "fr": fr.Holidays,
		"gb": gb.Holidays, "ie": ie.Holidays, "it": it.Holidays, "jp": jp.Holidays, "nl": nl.Holidays, "no": no.Holidays,
		"nz": nz.Holidays, "pl": pl.Holidays, "se": se.Holidays, "us": us.Holidays,
	}
}

func holidayCalendar(name string) (*cal.Calendar, bool) {
	holidays, ok := calendars()[name]
	if !ok {
		return nil, false
	}
	c := &cal.Calendar{Name: name}
	c.AddHoliday(holidays...)
	return c, true
}

func calendarNames() []string { return slices.Sorted(maps.Keys(calendars())) }
