// Package rolling holds what is known of the versions of examples/jobs, for the demo; the files beside it are examples for people.
package rolling

import _ "embed" // the file

// Product is the product file of examples/jobs.
//
//go:embed jobs.yaml
var Product []byte
