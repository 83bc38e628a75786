package source

import (
	"encoding/hex"
	"regexp"
	"strings"
	"unicode/utf8"
)

// variable is a bind variable as a log shows it.
type variable struct {
	kind   string
	value  string
	values []variable // of a list
	none   bool       // the log has its length alone
}

// bind puts the values of bind variables into a statement, :name and ::name, as vtgate itself does it before a server sees it. It gives a reason if one is lacking.
func bind(sql, binds string) (text []byte, reason string) {
	var vars map[string]variable
	at := 0
	for {
		from, to, list := hole(sql, at)
		if from < 0 {
			return append(text, sql[at:]...), ""
		}
		if vars == nil {
			var ok bool
			if vars, ok = variables(binds); !ok {
				return nil, DroppedValues
			}
		}
		v, ok := vars[strings.TrimLeft(sql[from:to], ":")]
		text = append(text, sql[at:from]...)
		if text, ok = v.literal(text, list, ok); !ok {
			return nil, DroppedValues
		}
		at = to
	}
}

// holds reports whether a statement has bind variables.
func holds(sql string) bool {
	from, _, _ := hole(sql, 0)
	return from >= 0
}

// hole finds the next bind variable, outside of texts, names in quotes and comments; -1 if there is none.
func hole(sql string, at int) (from, to int, list bool) {
	for i := at; i < len(sql); {
		switch c := sql[i]; {
		case c == '\'' || c == '"' || c == '`':
			i = closed(sql, i)
		case c == '/' && strings.HasPrefix(sql[i:], "/*") && !strings.HasPrefix(sql[i:], "/*!"):
			i = behind(sql, i+2, "*/")
		case c == '#' || c == '-' && strings.HasPrefix(sql[i:], "-- "):
			i = behind(sql, i, "\n")
		case c == ':':
			from, list = i, strings.HasPrefix(sql[i:], "::")
			if i++; list {
				i++
			}
			if i < len(sql) && starts(sql[i]) {
				for i < len(sql) && (starts(sql[i]) || sql[i] >= '0' && sql[i] <= '9' || sql[i] == '.') {
					i++
				}
				return from, i, list
			}
		default:
			i++
		}
	}
	return -1, -1, false
}

func starts(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

func behind(s string, from int, end string) int {
	if from > len(s) {
		return len(s)
	}
	if i := strings.Index(s[from:], end); i >= 0 {
		return from + i + len(end)
	}
	return len(s)
}

// closed is the place behind the quote that ends what begins at i.
func closed(s string, i int) int {
	q := s[i]
	for i++; i < len(s); i++ {
		switch {
		case s[i] == '\\' && q != '`':
			i++
		case s[i] == q:
			return i + 1
		}
	}
	return len(s)
}

// variables reads the field: nearly JSON, or a map as Go prints it, of older releases.
func variables(s string) (map[string]variable, bool) {
	if strings.HasPrefix(s, "map[") {
		return printed(s)
	}
	vars := map[string]variable{}
	ok := object(s, func(key, value string) bool {
		var v variable
		ok := object(value, func(key, value string) bool {
			text, quoted := unquoted(value)
			if !quoted {
				text = value
			}
			switch key {
			case "type":
				v.kind = text
			case "value":
				v.value = text
				v.none = quoted && (v.kind == "TUPLE" || lengthOnly.MatchString(text))
			}
			return true
		})
		vars[key] = v
		return ok
	})
	return vars, ok
}

// lengthOnly is what stands for a value where the log was not asked for whole ones.
var lengthOnly = regexp.MustCompile(`^\d+ (bytes|items)$`)

// printed reads `map[id:type:INT64 value:"1" ids:type:TUPLE values:{type:INT64 value:"1"}]`, in which a value has the escapes of protobuf's text form.
func printed(s string) (map[string]variable, bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "map["), "]")
	vars := map[string]variable{}
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return vars, true
		}
		key, rest, ok := strings.Cut(s, ":")
		if !ok {
			return nil, false
		}
		if vars[key], s, ok = printedVariable(rest); !ok {
			return nil, false
		}
	}
}

func printedVariable(s string) (v variable, rest string, ok bool) {
	for {
		s = strings.TrimLeft(s, " ")
		switch {
		case strings.HasPrefix(s, "type:"):
			if v.kind != "" {
				return v, s, true
			}
			n := strings.IndexAny(s, " >}]")
			if n < 0 {
				n = len(s)
			}
			v.kind, s = s[5:n], s[n:]
		case strings.HasPrefix(s, "value:"):
			if v.value, s, ok = quotedString(s[6:]); !ok {
				return v, s, false
			}
			v.none = lengthOnly.MatchString(v.value)
		case strings.HasPrefix(s, "values:"):
			var one variable
			s = strings.TrimLeft(s[7:], "<{")
			if one, s, ok = printedVariable(s); !ok {
				return v, s, false
			}
			s = strings.TrimLeft(s, " ")
			if s == "" || s[0] != '>' && s[0] != '}' {
				return v, s, false
			}
			s = s[1:]
			v.values = append(v.values, one)
		default:
			return v, s, v.kind != ""
		}
	}
}

var numeric = regexp.MustCompile(`^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$`)

var bits = regexp.MustCompile(`^(0[xXbB][0-9a-fA-F]+|[xXbB]'[0-9a-fA-F]*')$`)

// literal adds the value as SQL has it.
func (v variable) literal(b []byte, list, ok bool) ([]byte, bool) {
	if !ok || v.none {
		return b, false
	}
	switch {
	case list != (v.kind == "TUPLE"):
		return b, false
	case list:
		if len(v.values) == 0 {
			return b, false
		}
		b = append(b, '(')
		for i, one := range v.values {
			if i > 0 {
				b = append(b, ", "...)
			}
			if b, ok = one.literal(b, false, true); !ok {
				return b, false
			}
		}
		return append(b, ')'), true
	case v.kind == "NULL_TYPE":
		return append(b, "NULL"...), true
	case number(v.kind) && numeric.MatchString(v.value), (v.kind == "HEXNUM" || v.kind == "HEXVAL" || v.kind == "BITNUM") && bits.MatchString(v.value):
		return append(b, v.value...), true
	case v.kind == "":
		return b, false
	case !utf8.ValidString(v.value):
		b = append(b, "x'"...)
		b = hex.AppendEncode(b, []byte(v.value))
		return append(b, '\''), true
	}
	b = append(b, '\'')
	for i := range len(v.value) {
		switch c := v.value[i]; c {
		case '\'', '\\':
			b = append(b, '\\', c)
		case 0:
			b = append(b, `\0`...)
		default:
			b = append(b, c)
		}
	}
	return append(b, '\''), true
}

func number(kind string) bool {
	for _, k := range []string{"INT", "UINT", "FLOAT", "DECIMAL", "YEAR"} {
		if strings.HasPrefix(kind, k) {
			return true
		}
	}
	return false
}
