package config

import (
	"reflect"
	"strings"
	"sync"
	"time"
)

// field is one key of a shape.
type field struct {
	key      string
	index    []int
	typ      reflect.Type
	required bool
	rules    []rule
	doc      string
	example  string
}

// shapes caches the fields of shape types, which are constant for the life of the program.
var shapes sync.Map // reflect.Type → []field

// fieldsOf reads the tags of a shape. A wrong tag is a mistake in the program: it panics, in the first test that reads anything.
func fieldsOf(t reflect.Type) []field {
	if known, ok := shapes.Load(t); ok {
		return known.([]field)
	}
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		key, ok := sf.Tag.Lookup("yaml")
		if !ok || key == "-" || !sf.IsExported() {
			continue
		}
		f := field{key: key, index: sf.Index, typ: sf.Type, doc: sf.Tag.Get("doc"), example: sf.Tag.Get("example")}
		for word := range strings.FieldsSeq(sf.Tag.Get("rule")) {
			if word == "required" {
				f.required = true
				continue
			}
			f.rules = append(f.rules, ruleOf(t, sf, word))
		}
		fields = append(fields, f)
	}
	shapes.Store(t, fields)
	return fields
}

// Key is one key that a kind of document may have.
type Key struct {
	Path     string // "environments[].clusters[].record"; "labels.*" for the keys of a mapping
	Type     string // "text", "a duration", …
	Required bool
	Doc      string
	Example  string
}

// Keys lists every key of the kind in the order of the shape, the header's first. Reference documentation and the tests that
// try every key are made from it.
func (k Kind) Keys() []Key {
	keys := []Key{
		{Path: "kind", Type: "text", Required: true, Doc: "what the document describes", Example: k.Name},
		{Path: "version", Type: "a whole number", Required: true, Doc: "version of the file format", Example: "1"},
	}
	return appendKeys(keys, "", k.shape)
}

func appendKeys(keys []Key, prefix string, t reflect.Type) []Key {
	for _, f := range fieldsOf(t) {
		path := f.key
		if prefix != "" {
			path = prefix + "." + f.key
		}
		keys = append(keys, Key{Path: path, Type: typeName(f.typ), Required: f.required, Doc: f.doc, Example: f.example})
		keys = below(keys, path, f.typ)
	}
	return keys
}

// below adds the keys inside a value of the type.
func below(keys []Key, path string, t reflect.Type) []Key {
	switch {
	case t.Kind() == reflect.Pointer:
		return below(keys, path, t.Elem())
	case isScalar(t):
		return keys
	case t.Kind() == reflect.Struct:
		return appendKeys(keys, path, t)
	case t.Kind() == reflect.Slice:
		return below(keys, path+"[]", t.Elem())
	case t.Kind() == reflect.Map:
		path += ".*"
		keys = append(keys, Key{Path: path, Type: typeName(t.Elem())})
		return below(keys, path, t.Elem())
	}
	return keys
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	scalarType   = reflect.TypeFor[Scalar]()
)

// isScalar reports whether values of the type are written as one word.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(scalarType) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Float64:
		return true
	}
	return false
}

// typeName says in a message what is wanted.
func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		return typeName(t.Elem())
	}
	if reflect.PointerTo(t).Implements(scalarType) {
		return reflect.New(t).Interface().(Scalar).Wanted()
	}
	switch {
	case t == durationType:
		return "a duration"
	case t.Kind() == reflect.Struct || t.Kind() == reflect.Map:
		return "a mapping"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int || t.Kind() == reflect.Int64:
		return "a whole number"
	case t.Kind() == reflect.Float64:
		return "a number"
	}
	return "text"
}
