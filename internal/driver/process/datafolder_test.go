package process

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/windlass-db/windlass/internal/builds"
)

// Templates that nobody used for long go when a new one comes; those in use, other builds' and half-made ones stay.
func TestTemplatesDoNotPileUp(t *testing.T) {
	cache := t.TempDir()
	b := builds.Build{Name: "mariadb-11.8", Root: filepath.Join(cache, "builds", "mariadb-11.8.0")}
	dir := filepath.Join(cache, "templates")
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	use := func(key string) {
		t.Helper()
		err := fromTemplate(t.Context(), b, key, filepath.Join(t.TempDir(), "data"), func(_ context.Context, data string) error { return os.Mkdir(data, 0o700) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, other := range []string{"mariadb-10.11-k0", "mariadb-11.8-k99.making"} {
		if err := os.MkdirAll(filepath.Join(dir, other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for i := range keptTemplates {
		key := fmt.Sprintf("k%d", i)
		use(key)
		old := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(filepath.Join(dir, b.Name+"-"+key), old, old); err != nil {
			t.Fatal(err)
		}
	}
	use("k0") // again
	unlock, err := builds.TryLock(filepath.Join(dir, b.Name+"-k1.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	use("new1")
	use("new2")
	use("new3")
	for name, want := range map[string]bool{"k0": true, "k1": true, "k2": false, "k3": false, "k4": true, "new1": true, "new3": true} {
		if has(b.Name+"-"+name) != want {
			t.Errorf("%s is there: %v, want %v", name, !want, want)
		}
	}
	if !has("mariadb-10.11-k0") || !has("mariadb-11.8-k99.making") {
		t.Error("what is another build's, or is being made, was swept")
	}
}
