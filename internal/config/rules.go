package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// rule is one word of a `rule` tag, applied to a value that could be read.
//
//	required          the key must be there
//	nonempty          the list, mapping or text is not empty
//	unique            no two elements of the list are the same
//	min=N max=N       of numbers and durations; the number of characters of text
//	oneof=a|b         the text is one of these
//	name              a-z, 0-9 and "-", begins with a letter, at most 63 characters
//	hostport          host:port, the host an address or a DNS name
//	host              an address or a DNS name
//	url               an absolute http or https URL
//	fqdn              a DNS name with its final dot
//	version           1 to 4 numbers with dots
//	glob              a pattern of path.Match
//	weekday           mon … sun
//	zone              an IANA time zone
//
// On a list or mapping of scalars, all but nonempty, unique, min and max apply to each element.
type rule struct {
	code   string
	wanted string // for the hint, with the key's example
	each   bool
	unique bool // no two elements of the list are the same
	check  func(v reflect.Value) (message, hint string)
}

var (
	namePattern    = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	labelPattern   = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)
	versionPattern = regexp.MustCompile(`^[0-9]{1,6}(\.[0-9]{1,6}){0,3}$`)
)

// ruleOf makes the rule of a tag's word, or panics: tags are part of the program.
func ruleOf(shape reflect.Type, sf reflect.StructField, word string) rule {
	name, arg, _ := strings.Cut(word, "=")
	text := func(wanted string, good func(s string) (bad, hint string)) rule {
		return rule{code: CodeValue, wanted: wanted, each: true, check: func(v reflect.Value) (string, string) {
			return good(v.String())
		}}
	}
	match := func(wanted string, ok func(s string) bool) rule {
		return text(wanted, func(s string) (string, string) {
			if ok(s) {
				return "", ""
			}
			return fmt.Sprintf("%s is not %s", quote(s), wanted), ""
		})
	}
	switch name {
	case "nonempty":
		return rule{code: CodeMissing, wanted: "at least one", check: func(v reflect.Value) (string, string) {
			if v.Kind() == reflect.String && strings.TrimSpace(v.String()) == "" {
				return "this is empty", "write something"
			}
			if v.Len() == 0 {
				return "this is empty", ""
			}
			return "", ""
		}}
	case "unique":
		return rule{code: CodeDuplicate, unique: true}
	case "min", "max":
		return bound(shape, sf, name, arg)
	case "oneof":
		words := strings.Split(arg, "|")
		return text(orList(words), func(s string) (string, string) {
			for _, w := range words {
				if s == w {
					return "", ""
				}
			}
			if near := nearest(s, words); near != "" {
				return fmt.Sprintf("%s is not one of %s", quote(s), strings.Join(words, ", ")), fmt.Sprintf("did you mean %q?", near)
			}
			return fmt.Sprintf("%s is not one of %s", quote(s), strings.Join(words, ", ")), "write " + orList(words)
		})
	case "name":
		return match("a name of a-z, 0-9 and \"-\" that begins with a letter, of at most 63 characters", namePattern.MatchString)
	case "hostport":
		return text("host:port", func(s string) (string, string) {
			if err := checkHostPort(s); err != nil {
				return fmt.Sprintf("%s is not host:port: %v", quote(s), err), ""
			}
			return "", ""
		})
	case "host":
		return match("an address or a DNS name", isHost)
	case "url":
		return text("an absolute URL", func(s string) (string, string) {
			u, err := url.Parse(s)
			switch {
			case err != nil:
				return fmt.Sprintf("%s is not a URL", quote(s)), ""
			case u.Scheme != "http" && u.Scheme != "https":
				return fmt.Sprintf("%s is not an http:// or https:// URL", quote(s)), ""
			case u.Hostname() == "" || !isHost(u.Hostname()):
				return fmt.Sprintf("the URL %s names no host", quote(s)), ""
			case u.User != nil:
				return "the URL holds a user or password", "leave it out: secrets are read from files"
			}
			return "", ""
		})
	case "fqdn":
		return text("a fully qualified DNS name with its final dot", func(s string) (string, string) {
			switch {
			case !isDNSName(s) || !strings.Contains(strings.TrimSuffix(s, "."), "."):
				return fmt.Sprintf("%s is not a fully qualified DNS name", quote(s)), ""
			case !strings.HasSuffix(s, "."):
				return fmt.Sprintf("%s is not fully qualified: the final dot is missing", quote(s)), fmt.Sprintf("write %q", s+".")
			}
			return "", ""
		})
	case "version":
		return match("a version: 1 to 4 numbers with dots", versionPattern.MatchString)
	case "glob":
		return match("a pattern", func(s string) bool {
			_, err := path.Match(s, "")
			return err == nil && s != ""
		})
	case "weekday":
		words := []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}
		return text(orList(words), func(s string) (string, string) {
			for _, w := range words {
				if s == w {
					return "", ""
				}
			}
			hint := "write " + orList(words)
			if len(s) >= 3 {
				for _, w := range words {
					if strings.EqualFold(s[:3], w) {
						hint = fmt.Sprintf("write %q", w)
					}
				}
			}
			return fmt.Sprintf("%s is no day of the week", quote(s)), hint
		})
	case "zone":
		return text("an IANA time zone", func(s string) (string, string) {
			if _, err := LoadZone(s); err != nil {
				return fmt.Sprintf("%s is no time zone: %v", quote(s), err), "write an IANA name, such as UTC, Europe/Berlin or America/New_York"
			}
			return "", ""
		})
	}
	panic(fmt.Sprintf("config: %s.%s has the unknown rule %q", shape, sf.Name, word))
}

// bound makes a min or max rule.
func bound(shape reflect.Type, sf reflect.StructField, name, arg string) rule {
	bad := func(v float64, limit float64) bool { return name == "min" && v < limit || name == "max" && v > limit }
	words := map[string]string{"min": "at least", "max": "at most"}
	t := sf.Type
	each := false
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if (t.Kind() == reflect.Map || t.Kind() == reflect.Slice) && isScalar(t.Elem()) && t.Elem().Kind() != reflect.String {
		t, each = t.Elem(), true
	}
	var limit float64
	var err error
	shown := arg
	if t == durationType {
		var d time.Duration
		d, err = ParseDuration(arg)
		limit, shown = float64(d), FormatDuration(d)
	} else {
		limit, err = strconv.ParseFloat(arg, 64)
	}
	if err != nil {
		panic(fmt.Sprintf("config: %s.%s has the wrong bound %q", shape, sf.Name, arg))
	}
	return rule{code: CodeRange, each: each, wanted: words[name] + " " + shown, check: func(v reflect.Value) (string, string) {
		var got float64
		said := ""
		switch {
		case v.Type() == durationType:
			got, said = float64(v.Int()), FormatDuration(time.Duration(v.Int()))
		case v.CanInt():
			got, said = float64(v.Int()), strconv.FormatInt(v.Int(), 10)
		case v.CanFloat():
			got, said = v.Float(), strconv.FormatFloat(v.Float(), 'g', -1, 64)
		default:
			n := v.Len()
			if v.Kind() == reflect.String {
				n = utf8.RuneCountInString(v.String())
			}
			got, said = float64(n), fmt.Sprintf("a length of %d", n)
		}
		if bad(got, limit) {
			size := map[string]string{"min": "small", "max": "large"}[name]
			return fmt.Sprintf("%s is too %s", said, size), fmt.Sprintf("write %s %s", words[name], shown)
		}
		return "", ""
	}}
}

func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if !strings.Contains(s, ":") {
			return fmt.Errorf("the port is missing")
		}
		return fmt.Errorf("it can't be divided at a colon")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("the port %s is not a number from 1 to 65535", quote(port))
	}
	if !isHost(host) {
		return fmt.Errorf("the host %s is neither an address nor a DNS name", quote(host))
	}
	return nil
}

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	// What looks like an IPv4 address and is none would be looked up as a name, and not found.
	if last := s[strings.LastIndexByte(s, '.')+1:]; last != "" && strings.Trim(last, "0123456789") == "" {
		return false
	}
	return isDNSName(s)
}

func isDNSName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !labelPattern.MatchString(label) {
			return false
		}
	}
	return true
}
