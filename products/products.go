// Package products holds the version policies of the products that Windlass knows, as data. docs/policy.md tells how to write one.
package products

import "embed"

// Files are the product files, by name: "vitess.yaml".
//
//go:embed *.yaml
var Files embed.FS
