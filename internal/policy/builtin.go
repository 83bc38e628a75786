package policy

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/products"
)

// Names are the names of the built-in products, in their order.
func Names() []string {
	files, err := products.Files.ReadDir(".")
	if err != nil {
		panic(err) // they are embedded
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), path.Ext(f.Name())))
	}
	slices.Sort(names)
	return names
}

// Builtin reads a built-in product, once for all callers: nobody changes a product.
func Builtin(name string) (*Product, error) {
	read, ok := builtins[name]
	if !ok {
		return nil, &UnknownProduct{name}
	}
	return read()
}

var builtins = func() map[string]func() (*Product, error) {
	all := map[string]func() (*Product, error){}
	for _, name := range Names() {
		all[name] = sync.OnceValues(func() (*Product, error) { return readBuiltin(name) })
	}
	return all
}()

func readBuiltin(name string) (*Product, error) {
	text, err := products.Files.ReadFile(name + ".yaml")
	if err != nil {
		return nil, err
	}
	return Parse(config.Source{Name: "products/" + name + ".yaml", Text: text})
}

// UnknownProduct is a product that is neither built in nor in a file that was given.
type UnknownProduct struct{ Name string }

// Error names it.
func (e *UnknownProduct) Error() string { return fmt.Sprintf("product %q is not known", e.Name) }

// ErrorHint lists those that are.
func (e *UnknownProduct) ErrorHint() string {
	return "built in are " + strings.Join(Names(), ", ") + "; give your own with --product-file FILE"
}
