package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/windlass-db/windlass/internal/config"
)

// Feature is something that versions before a release do not understand: it stays shut until every node runs that release, and whoever uses it
// earlier is told of. One of Table, Column and Endpoint says by what a use of it is seen; without any, it is asked for by the supervisor's file.
type Feature struct {
	Name     string
	Since    string   // release
	Table    string   // of the product's database: every row of it is a use
	Column   string   // TABLE.COLUMN: every row in which it is one of Values, or, without them, is not the column's default, is a use
	Values   []string // as text
	Endpoint string   // path of a node: it is open if a GET of it is answered with success
	Source   string
}

// String names the feature, and what it is seen by.
func (f Feature) String() string {
	switch {
	case f.Table != "":
		return f.Name + " (rows of " + f.Table + ")"
	case len(f.Values) > 0:
		return f.Name + " (" + f.Column + " is " + strings.Join(f.Values, " or ") + ")"
	case f.Column != "":
		return f.Name + " (values of " + f.Column + ")"
	case f.Endpoint != "":
		return f.Name + " (" + f.Endpoint + ")"
	}
	return f.Name
}

// Between are the features of the releases behind that of the one version, up to that of the other: what opens when the last node has gone from
// the one to the other.
func (p *Product) Between(from, to string) ([]Feature, error) {
	old, err := p.Release(from)
	if err != nil {
		return nil, err
	}
	last, err := p.Release(to)
	if err != nil {
		return nil, err
	}
	var all []Feature
	for _, f := range p.Features {
		if at, err := p.Release(f.Since); err != nil {
			return nil, err
		} else if old < at && at <= last {
			all = append(all, f)
		}
	}
	return all, nil
}

// fileFeature is the shape of one of the key "features".
type fileFeature struct {
	Name     string   `yaml:"name" rule:"required name" doc:"the feature's name" example:"priorities"`
	Since    string   `yaml:"since" rule:"required nonempty" doc:"the release that has it first: it stays shut until every node runs that" example:"\"1.1\""`
	Table    string   `yaml:"table" rule:"nonempty" doc:"table, as the database's catalog writes it: each of its rows is a use of the feature" example:"batch"`
	Column   string   `yaml:"column" rule:"nonempty" doc:"column with its table: each row in which it is not the column's default, or is one of values, is a use of the feature" example:"job.priority"`
	Values   []string `yaml:"values" rule:"nonempty unique" doc:"values of the column that only the feature writes; absent: all but its default" example:"[paused]"`
	Endpoint string   `yaml:"endpoint" rule:"nonempty" doc:"path of a node that may be asked by GET without harm: it answers with success only where the feature is open" example:"/batches"`
	Source   string   `yaml:"source" rule:"required nonempty" doc:"where that is written" example:"the release notes"`
}

var (
	isTable    = regexp.MustCompile(`^[^\s.]+(\.[^\s.]+)?$`)
	isColumn   = regexp.MustCompile(`^[^\s.]+(\.[^\s.]+){1,2}$`)
	isEndpoint = regexp.MustCompile(`^/[^\s{}#]*$`)
)

// features reads the product's features.
func (p *Product) features(all []fileFeature, r *config.Report) {
	var names []string
	for i, f := range all {
		at := r.At("features", i)
		if f.Name != "" && slices.Contains(names, f.Name) {
			at.At("name").Problem(config.CodeDuplicate, fmt.Sprintf("there is a feature %q already", f.Name), "give each feature a name of its own")
		}
		names = append(names, f.Name)
		switch release := slices.IndexFunc(p.Releases, func(r Release) bool { return r.Name == f.Since }); {
		case f.Since == "" || len(p.Releases) == 0:
		case release < 0:
			var known []string
			for _, r := range p.Releases {
				known = append(known, r.Name)
			}
			at.At("since").Problem(config.CodeReference, fmt.Sprintf("there is no release %q", f.Since), config.Suggest(f.Since, known))
		case release == 0:
			at.At("since").Problem(config.CodeContradiction, f.Since+" is the oldest release: no upgrade to it would ever open the feature", "name the release that has it first, or leave the feature out")
		}
		f.seen(at)
		p.Features = append(p.Features, Feature(f))
	}
}

// seen looks at what a use of the feature is seen by.
func (f fileFeature) seen(at config.Spot) {
	n := 0
	for _, said := range []string{f.Table, f.Column, f.Endpoint} {
		if said != "" {
			n++
		}
	}
	if n > 1 {
		at.Problem(config.CodeContradiction, "a use of the feature is seen by several things", "keep one of table, column and endpoint, and make a feature of its own of each other")
	}
	if f.Table != "" && !isTable.MatchString(f.Table) {
		at.At("table").Problem(config.CodeValue, fmt.Sprintf("%q is no table", f.Table), "write TABLE, or SCHEMA.TABLE")
	}
	if f.Column != "" && !isColumn.MatchString(f.Column) {
		at.At("column").Problem(config.CodeValue, fmt.Sprintf("%q is no column of a table", f.Column), "write TABLE.COLUMN, or SCHEMA.TABLE.COLUMN")
	}
	if len(f.Values) > 0 && f.Column == "" {
		at.At("values").Problem(config.CodeContradiction, "nothing says which column has these values", "add \"column\", or leave the values out")
	}
	if f.Endpoint != "" && !isEndpoint.MatchString(f.Endpoint) {
		at.At("endpoint").Problem(config.CodeValue, fmt.Sprintf("%q is no path", f.Endpoint), "write a path that begins with a slash, such as \"/batches\"")
	}
}
