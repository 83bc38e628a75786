package config

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Scalar is implemented, with a pointer receiver, by types that are written as one word, such as Clock.
type Scalar interface {
	// Parse reads the text. Its error says in a few words what is wrong with it.
	Parse(text string) error
	// Wanted names what is read, for messages: "a time of day".
	Wanted() string
	// Form shows how to write it: "09:00".
	Form() string
}

// decode fills the shape from the document. The header was checked before.
func (d *document) decode(v reflect.Value) {
	d.mapping(v, d.root, nil, true)
}

// mapping decodes a struct.
func (d *document) mapping(v reflect.Value, n *node, path []any, top bool) {
	fields := fieldsOf(v.Type())
	var meant []string // keys that were misspelt: they are not missing too
	for _, e := range n.entries {
		if top && (e.key == "kind" || e.key == "version") || e.key == "<<" {
			continue
		}
		f := fieldOf(fields, e.key)
		if f == nil {
			meant = append(meant, d.unknown(e, fields, path, top))
			continue
		}
		d.value(v.FieldByIndex(f.index), f, e.value, sub(path, e.key))
	}
	for i := range fields {
		f := &fields[i]
		if _, ok := n.get(f.key); ok || !f.required {
			continue
		}
		p := sub(path, f.key)
		if d.bad[pathString(p)] || slices.Contains(meant, f.key) {
			continue
		}
		// A missing key is marked where its mapping begins.
		d.add(n.line, n.column, pathString(p), CodeMissing, fmt.Sprintf("the key %q is missing", f.key), add(f))
	}
}

func fieldOf(fields []field, key string) *field {
	for i := range fields {
		if fields[i].key == key {
			return &fields[i]
		}
	}
	return nil
}

// sub extends a path without sharing its storage with siblings.
func sub(path []any, step any) []any {
	return append(path[:len(path):len(path)], step)
}

// add says how to write a missing key.
func add(f *field) string {
	what := f.doc
	if what != "" {
		what = ": " + what
	}
	if f.example != "" {
		return fmt.Sprintf("add \"%s: %s\"%s", f.key, f.example, what)
	}
	return fmt.Sprintf("add %q with %s%s", f.key, typeName(f.typ), what)
}

// orRemove ends a hint where the key may be absent too.
func orRemove(f *field) string {
	if f.required || f.key == "-" {
		return ""
	}
	return ", or remove the key"
}

// like shows how the value is written.
func like(f *field, wanted string) string {
	if f.example != "" {
		return fmt.Sprintf("write %s, such as \"%s: %s\"", wanted, f.key, f.example)
	}
	return "write " + wanted
}

// unknown reports a key that is not there, and returns the one that was probably meant.
func (d *document) unknown(e entry, fields []field, path []any, top bool) (meant string) {
	var keys []string
	if top {
		keys = append(keys, "kind", "version")
	}
	for _, f := range fields {
		keys = append(keys, f.key)
	}
	hint := ""
	if meant = nearest(e.key, keys); meant != "" {
		hint = fmt.Sprintf("did you mean %q?", meant)
	} else {
		sort.Strings(keys)
		hint = "the keys here are " + strings.Join(keys, ", ")
	}
	d.add(e.line, e.column, pathString(sub(path, e.key)), CodeUnknownKey, fmt.Sprintf("there is no key %q here", e.key), hint)
	return meant
}

// value decodes one value and then applies the field's rules.
func (d *document) value(v reflect.Value, f *field, n *node, path []any) {
	if d.bad[pathString(path)] && n.form == formNull {
		return
	}
	t := v.Type()
	if t.Kind() == reflect.Pointer {
		p := reflect.New(t.Elem())
		d.value(p.Elem(), f, n, path)
		v.Set(p)
		return
	}
	if n.form == formNull {
		d.add(n.line, n.column, pathString(path), CodeType, fmt.Sprintf("the key %q has no value", f.key), like(f, typeName(t))+orRemove(f))
		return
	}
	switch {
	case isScalar(t):
		if !d.scalar(v, f, n, path) {
			return
		}
	case t.Kind() == reflect.Struct:
		if n.form != formMap {
			d.mismatch(f, n, path, t)
			return
		}
		d.mapping(v, n, path, false)
	case t.Kind() == reflect.Slice:
		if n.form != formList {
			d.mismatch(f, n, path, t)
			return
		}
		v.Set(reflect.MakeSlice(t, len(n.items), len(n.items)))
		element := field{key: "-", typ: t.Elem(), example: ""}
		for _, r := range f.rules {
			if r.each {
				element.rules = append(element.rules, r)
			}
		}
		for i, item := range n.items {
			e := v.Index(i)
			if def, ok := e.Addr().Interface().(interface{ Defaults() }); ok {
				def.Defaults()
			}
			d.value(e, &element, item, sub(path, i))
		}
	case t.Kind() == reflect.Map:
		if n.form != formMap {
			d.mismatch(f, n, path, t)
			return
		}
		if v.IsNil() {
			v.Set(reflect.MakeMapWithSize(t, len(n.entries)))
		}
		for _, entry := range n.entries {
			e := reflect.New(t.Elem()).Elem()
			element := field{key: entry.key, typ: t.Elem()}
			for _, r := range f.rules {
				if r.each {
					element.rules = append(element.rules, r)
				}
			}
			d.value(e, &element, entry.value, sub(path, entry.key))
			v.SetMapIndex(reflect.ValueOf(entry.key), e)
		}
	default:
		panic(fmt.Sprintf("config: key %s has the unsupported type %s", pathString(path), t))
	}
	each := t.Kind() == reflect.Slice || t.Kind() == reflect.Map
	for _, r := range f.rules {
		if r.each && each {
			continue
		}
		if r.unique {
			d.unique(v, path)
			continue
		}
		if message, hint := r.check(v); message != "" {
			if hint == "" {
				hint = like(f, r.wanted)
			}
			if !d.bad[pathString(path)] {
				line, column := n.line, n.column
				if each {
					line, column = d.place(path)
				}
				d.add(line, column, pathString(path), r.code, message, hint)
			}
			return
		}
	}
}

// unique reports the elements of a list that stand in it before.
func (d *document) unique(v reflect.Value, path []any) {
	first := map[any]int{}
	for i := range v.Len() {
		p := sub(path, i)
		if d.bad[pathString(p)] {
			continue
		}
		e := v.Index(i).Interface()
		if j, ok := first[e]; ok {
			d.report(p, CodeDuplicate, fmt.Sprintf("%s stands in this list twice; the first is in line %d", quote(fmt.Sprint(e)), d.line(sub(path, j))), "remove one of the two")
			continue
		}
		first[e] = i
	}
}

func (d *document) mismatch(f *field, n *node, path []any, t reflect.Type) {
	hint := like(f, typeName(t))
	if t.Kind() == reflect.Slice {
		hint = "write a list: begin each element with \"- \""
		if isScalar(t.Elem()) && n.form != formMap {
			hint = fmt.Sprintf("write a list, such as \"[%s]\"", n.text)
		}
	}
	d.add(n.line, n.column, pathString(path), CodeType, fmt.Sprintf("%s is wanted here, not %s", typeName(t), n.describe()), hint)
}

// scalar decodes one word and reports whether it could be read.
func (d *document) scalar(v reflect.Value, f *field, n *node, path []any) bool {
	t := v.Type()
	if n.form == formList || n.form == formMap {
		d.mismatch(f, n, path, t)
		return false
	}
	if s, ok := v.Addr().Interface().(Scalar); ok {
		if err := s.Parse(strings.TrimSpace(n.text)); err != nil {
			d.add(n.line, n.column, pathString(path), CodeValue, fmt.Sprintf("%s is not %s: %v", n.describe(), s.Wanted(), err), fmt.Sprintf("write it like %s", s.Form()))
			return false
		}
		return true
	}
	wrong := func(code, hint string) bool {
		if hint == "" {
			hint = like(f, typeName(t))
		}
		d.add(n.line, n.column, pathString(path), code, fmt.Sprintf("%s is wanted here, not %s", typeName(t), n.describe()), hint)
		return false
	}
	switch {
	case t == durationType:
		duration, err := ParseDuration(n.text)
		if err != nil {
			d.add(n.line, n.column, pathString(path), CodeValue, fmt.Sprintf("%s is not a duration: %v", n.describe(), err), "write a number with its unit: 500ms, 30s, 15m, 4h, 2d, 1w, or several of them (1h30m)")
			return false
		}
		v.SetInt(int64(duration))
	case t.Kind() == reflect.String:
		if n.form == formBool {
			return wrong(CodeType, fmt.Sprintf("put it into quotes if it is meant as text: %q", n.text))
		}
		v.SetString(n.text)
	case t.Kind() == reflect.Bool:
		if n.form != formBool {
			return wrong(CodeType, "write true or false, without quotes")
		}
		b, err := strconv.ParseBool(n.text)
		if err != nil {
			return wrong(CodeType, "write true or false")
		}
		v.SetBool(b)
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		i, err := strconv.ParseInt(strings.ReplaceAll(n.text, "_", ""), 10, 64)
		if err != nil || n.form != formNumber {
			return wrong(CodeType, "")
		}
		v.SetInt(i)
	case t.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(n.text, 64)
		if err != nil || n.form != formNumber || x != x {
			return wrong(CodeType, "")
		}
		v.SetFloat(x)
	}
	return true
}
