package config

import (
	"log/slog"

	"github.com/poise-lb/poise/discovery"
)

// A SourceKind makes the sources of one kind: those that say one certain key of Source.
// Package poise/sources has one for each registry. A program names in Config.Sources those
// that it uses, and links only their clients. A program's own source needs no kind: it is
// Source.Custom.
//
// Methods may be called from any goroutine.
type SourceKind interface {
	// Kind is the key of Source that it is for, as in "etcd".
	Kind() string
	// Open returns the source that c describes. It is called by New and Apply for every
	// service that has such a source, and for each service that Discover finds, also if the
	// source is not run afterwards, so it must not connect yet. path is the place of c in the
	// configuration: the log of the source and its errors name it. Errors have Problems.
	Open(path string, c Source, log *slog.Logger) (discovery.Source, error)
}
