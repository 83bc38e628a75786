package fleet

import (
	"bytes"
	"os"
	"reflect"
	"testing"

	"github.com/windlass-db/windlass/internal/config"
)

// What is written is read again as it was; what a file can't say is left out.
func TestWriteIsReadAgain(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Parse(config.Source{Name: example, Text: text})
	if err != nil {
		t.Fatal(err)
	}
	c := &want.Environments[0].Clusters[0]
	c.Cells = append(c.Cells, Cell{Name: "green", Version: "11.10", Owner: "windlass:qa/orders", Nodes: []Node{{Name: "orders-5", Address: "[::1]:3306"}}})
	c.Labels = map[string]string{"team": "no", "since": "2026-11-21", "on": "#1: \"x\"\nand more"}
	var out bytes.Buffer
	if err := want.Write(&out); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(config.Source{Name: "exported.yaml", Text: out.Bytes()})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v\n%s", got, want, &out)
	}
}
