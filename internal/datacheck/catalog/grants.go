package catalog

import (
	"context"
	"regexp"
	"strings"

	"github.com/windlass-db/windlass/internal/datacheck/node"
)

// ReadGrants lists an account's grants as statements. Where the server repeats the account's password in them, it is
// taken out: the account itself carries it.
func ReadGrants(ctx context.Context, c *node.Conn, a Account) ([]string, error) {
	rs, err := c.Rows(ctx, "SHOW GRANTS FOR "+a.Quoted())
	if node.Number(err) == node.ErrNonexistingGrant {
		return nil, nil // a role that nothing was granted to
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range rs {
		for _, v := range r {
			out = append(out, withoutSecret(v))
		}
	}
	return out, nil
}

var identified = regexp.MustCompile(` IDENTIFIED (BY PASSWORD|VIA|WITH) .*?( REQUIRE | WITH |$)`)

// withoutSecret also writes the quotes of a proxy's grant as both versions take them: newer ones print others.
func withoutSecret(grant string) string {
	if strings.HasPrefix(grant, "GRANT PROXY ") {
		return strings.ReplaceAll(grant, "'", "`")
	}
	return identified.ReplaceAllString(grant, "$2")
}

// SystemAccount tells whether an account belongs to the server itself: every version makes its own. A root for any host is
// none of them: somebody has made it.
func SystemAccount(a Account) bool {
	switch strings.ToLower(a.User) {
	case "root":
		return !strings.Contains(a.Host, "%")
	case "mariadb.sys", "mysql", "mysql.sys", "mysql.session", "mysql.infoschema":
		return true
	}
	return false
}
