package fleet

import (
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/windlass-db/windlass/internal/config"
)

// Write writes the fleet as a file that Parse reads: the inventory as it is now, for those whose file is older. Applied, it changes
// nothing.
func (f Fleet) Write(w io.Writer) error {
	out := append(yaml.MapSlice{{Key: "kind", Value: "Fleet"}, {Key: "version", Value: config.FormatVersion}}, written(reflect.ValueOf(f)).(yaml.MapSlice)...)
	text, err := yaml.MarshalWithOptions(out, yaml.Indent(2), yaml.IndentSequence(true))
	if err != nil {
		return fmt.Errorf("write the fleet %s: %w", f.Name, err)
	}
	var head strings.Builder
	for _, s := range f.Seen {
		fmt.Fprintf(&head, "# %s\n", s)
	}
	_, err = io.WriteString(w, head.String()+string(text))
	return err
}

// written is a value with the keys that a file has for it, in their order. What a file can't say is left out, and what it need not say if
// there is nothing to say.
func written(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Pointer:
		return written(v.Elem())
	case reflect.Slice:
		all := make([]any, v.Len())
		for i := range all {
			all[i] = written(v.Index(i))
		}
		return all
	case reflect.Struct:
		var out yaml.MapSlice
		for i := range v.NumField() {
			key, ok := v.Type().Field(i).Tag.Lookup("yaml")
			required := strings.Contains(v.Type().Field(i).Tag.Get("rule"), "required")
			if ok && (required || !v.Field(i).IsZero()) {
				out = append(out, yaml.MapItem{Key: key, Value: written(v.Field(i))})
			}
		}
		return out
	}
	return v.Interface()
}
