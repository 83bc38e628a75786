package policy

import (
	"os"
	"regexp"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
	"github.com/windlass-db/windlass/internal/config/configtest"
)

func TestEveryKeyWrong(t *testing.T) {
	t.Run("product", func(t *testing.T) { configtest.EveryKeyWrong(t, "testdata/product", Kind()) })
	t.Run("bridge", func(t *testing.T) { configtest.EveryKeyWrong(t, "testdata/bridge", BridgeKind()) })
}

func TestEveryKeyMisspelt(t *testing.T) {
	t.Run("product", func(t *testing.T) { configtest.EveryKeyMisspelt(t, "testdata/product/valid.yaml", Kind()) })
	t.Run("bridge", func(t *testing.T) { configtest.EveryKeyMisspelt(t, "testdata/bridge/valid.yaml", BridgeKind()) })
}

// Several things that are wrong at once, and what concerns several values.
func TestContradictions(t *testing.T) {
	text, err := os.ReadFile("testdata/product/also-contradictions.bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, ps := config.Read([]config.Source{{Name: "x.yaml", Text: text}}, Kind()); len(ps) < 5 {
		t.Errorf("only these were found:\n%v", ps)
	}
}

// The file that the document shows can be read, and nothing is found in it.
func TestTheDocumentsProduct(t *testing.T) {
	doc, err := os.ReadFile("../../docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```yaml\n(kind: Product.*?)```").FindSubmatch(doc)
	if text == nil {
		t.Fatal("the document shows no product")
	}
	p, err := Parse(config.Source{Name: "policy.md", Text: text[1]})
	if err != nil {
		t.Fatal(err)
	}
	if found := p.Lint(); len(found) > 0 {
		t.Errorf("%v", found)
	}
}
