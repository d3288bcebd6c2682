// Package autoresearchd holds the shipped configuration file, which go:embed
// can only reach from the module's root.
package autoresearchd

import _ "embed"

// ConfigText is autoresearch.toml as shipped: every key with its default.
//
//go:embed autoresearch.toml
var ConfigText string
