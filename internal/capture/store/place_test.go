package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/windlass-db/windlass/internal/capture/store/name"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// api is an S3 API in memory, with faults.
type api struct {
	url      string
	requests atomic.Int64
	lists    atomic.Int64

	mu    sync.Mutex
	fault func(w http.ResponseWriter, r *http.Request) (handled bool)
}

// break1 sets what happens before a request is served; nil: nothing.
func (a *api) faulty(f func(w http.ResponseWriter, r *http.Request) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

func s3api(t *testing.T) *api {
	t.Helper()
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "user", "AWS_SECRET_ACCESS_KEY": "the-secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull} {
		t.Setenv(k, v)
	}
	backend := s3mem.New()
	if err := backend.CreateBucket("captures"); err != nil {
		t.Fatal(err)
	}
	served := gofakes3.New(backend).Server()
	a := &api{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		if r.URL.Query().Has("list-type") {
			a.lists.Add(1)
		}
		a.mu.Lock()
		f := a.fault
		a.mu.Unlock()
		if f == nil || !f(w, r) {
			served.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	a.url = "s3://captures/prod/a?region=us-east-1&use_path_style=true&endpoint=" + srv.URL
	return a
}

func open1(t *testing.T, url string) *Bucket {
	t.Helper()
	b, err := Create(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// places are both kinds of buckets.
func places(t *testing.T) map[string]*Bucket {
	return map[string]*Bucket{"folder": open1(t, "file://"+t.TempDir()), "s3": open1(t, s3api(t).url)}
}

func file(gateway string, run, index uint64, began time.Time) name.File {
	return name.File{Gateway: gateway, Run: run, Index: index, Began: began}
}

// content is a file's: a store does not look into it.
func content(f name.File) []byte {
	r := rand.New(rand.NewPCG(f.Run, f.Index))
	b := make([]byte, 1000+r.IntN(3000))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// spool writes files that have ended.
func spool(t *testing.T, dir string, files ...name.File) {
	t.Helper()
	for _, f := range files {
		write(t, filepath.Join(dir, f.Spool()), content(f))
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// some are a run's files, ten seconds each.
func some(gateway string, run uint64, n int) (files []name.File) {
	for i := range n {
		files = append(files, file(gateway, run, uint64(i+1), noon.Add(time.Duration(i)*10*time.Second)))
	}
	return files
}

func ship(t *testing.T, dir string, b *Bucket) {
	t.Helper()
	if err := Ship(context.Background(), ShipConfig{Spool: dir, To: b, Once: true}); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, b *Bucket, r Range) []Segment {
	t.Helper()
	all, err := b.Segments(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func short(all []Segment) string {
	var s []string
	for _, g := range all {
		s = append(s, fmt.Sprintf("%s/%d/%d", g.Gateway, g.Run, g.Index))
	}
	return strings.Join(s, " ")
}

// holds fails unless the bucket has exactly these files, whole.
func holds(t *testing.T, b *Bucket, files []name.File) {
	t.Helper()
	got := map[string]Segment{}
	for _, s := range list(t, b, Range{}) {
		got[s.Name] = s
	}
	if len(got) != len(files) {
		t.Errorf("the bucket has %d segments, want %d", len(got), len(files))
	}
	for _, f := range files {
		s, ok := got[f.Bucket()]
		if !ok {
			t.Errorf("%s is not there", f.Bucket())
			continue
		}
		r, err := b.Read(context.Background(), s)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(all, content(f)) || int64(len(all)) != s.Size {
			t.Errorf("%s: %d bytes of %d, %v", s.Name, len(all), s.Size, err)
		}
	}
}

// empty fails unless a spool has no file.
func empty(t *testing.T, dir string) {
	t.Helper()
	if left, growing, err := look(dir, time.Now()); err != nil || len(left) > 0 || growing > 0 {
		t.Errorf("the spool has %d files, %d that grow: %v", len(left), growing, err)
	}
}
